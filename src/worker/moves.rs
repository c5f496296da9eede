//! For tests: an upstream whose name fails, hangs and moves, through the whole gateway.
//!
//! The control thread, a worker and the audit log run as they do in a process; only the clock and
//! the answers about names are the test's.

#[cfg(test)]
mod tests {
    use crate::audit::file::Archive;
    use crate::base::clock::Clock;
    use crate::config::load;
    use crate::config::model::Config;
    use crate::coordinator::addresses::{Resolve, look_up};
    use crate::coordinator::archive;
    use crate::coordinator::control::Phase;
    use crate::coordinator::run::{Inbox, LOOK_UP_EVERY, Setup, run};
    use crate::gateway::mail::{Mailbox, Note};
    use crate::gateway::plan::Plan;
    use crate::mcp::session::Seal;
    use crate::wire::listen::Door;
    use crate::wire::runtime::{self, sleep};
    use crate::worker::start::{self, Setup as WorkerSetup};
    use crossbeam::atomic::AtomicCell;
    use std::cell::RefCell;
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread::{Builder, JoinHandle};
    use std::time::Duration;

    const CONFIG: &str = include_str!("../../tests/clients/gateway.toml.in");
    const NAME: &str = "model.test";
    const PATIENCE: Duration = Duration::from_secs(20);
    /// How long a model thinks: two chats that begin at once need two connections.
    const THOUGHT: Duration = Duration::from_millis(40);

    /// What is known of the name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Says {
        /// There is no such name.
        Nothing,
        /// Nothing yet, and for as long as it stays so.
        NotYet,
        At(SocketAddr),
    }

    /// A resolver that says this, and counts how often it was asked for the name.
    fn resolver(says: &Arc<AtomicCell<Says>>, asked: &Arc<AtomicUsize>) -> Resolve {
        let (says, asked) = (Arc::clone(says), Arc::clone(asked));
        Arc::new(move |host, _port| {
            if host != NAME {
                return Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))]);
            }
            asked.fetch_add(1, Ordering::AcqRel);
            loop {
                match says.load() {
                    Says::Nothing => return Err(io::ErrorKind::NotFound.into()),
                    Says::At(address) => return Ok(vec![address]),
                    Says::NotYet => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        })
    }

    /// A model that says its own name, keeps its connections, and counts them.
    struct Model {
        address: SocketAddr,
        connections: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
    }

    impl Model {
        fn start(name: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (connections, ended) = (Arc::<AtomicUsize>::default(), Arc::default());
            let (count, end) = (Arc::clone(&connections), Arc::<AtomicUsize>::clone(&ended));
            let accept = move || {
                for stream in listener.incoming().flatten() {
                    count.fetch_add(1, Ordering::AcqRel);
                    // The gateway may leave at any time.
                    let end = Counted(Arc::clone(&end));
                    Builder::new().spawn(move || drop((talk(stream, name), end))).unwrap();
                }
            };
            Builder::new().spawn(accept).unwrap();
            Self { address, connections, ended }
        }

        fn connections(&self) -> usize {
            self.connections.load(Ordering::Acquire)
        }

        fn kept(&self) -> usize {
            self.connections() - self.ended.load(Ordering::Acquire)
        }
    }

    /// Counts when it is dropped.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn talk(mut stream: TcpStream, name: &str) -> io::Result<()> {
        let mut block = [0; 4096];
        let mut said = Vec::new();
        loop {
            let count = stream.read(&mut block)?;
            if count == 0 {
                return Ok(());
            }
            said.extend_from_slice(&block[..count]);
            if !said.ends_with(b"]}") {
                continue;
            }
            said.clear();
            std::thread::sleep(THOUGHT);
            let message = format!("{{\"role\":\"assistant\",\"content\":\"from {name}\"}}");
            let body = format!(
                "{{\"id\":\"c\",\"object\":\"chat.completion\",\"choices\":[{{\"index\":0,\
                 \"message\":{message},\"finish_reason\":\"stop\"}}]}}"
            );
            let length = body.len();
            let fields = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").as_bytes())?;
        }
    }

    /// The answer to a chat, once it is there.
    fn chat(gateway: SocketAddr) -> JoinHandle<String> {
        let ask = move || {
            let mut stream = TcpStream::connect(gateway).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let body =
                r#"{"model":"demo-model","messages":[{"role":"user","content":"who is there?"}]}"#;
            let length = body.len();
            let head = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\
                 authorization: Bearer suite-key\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            String::from_utf8(heard).unwrap()
        };
        Builder::new().spawn(ask).unwrap()
    }

    async fn answer(gateway: SocketAddr) -> String {
        let asked = chat(gateway);
        while !asked.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        asked.join().unwrap()
    }

    /// Two chats that begin at once.
    async fn answers(gateway: SocketAddr) -> String {
        let other = chat(gateway);
        let one = answer(gateway).await;
        one + &other.join().unwrap()
    }

    async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
        for _ in 0..1000 {
            if is_so().await {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("it does not come to that");
    }

    fn config(folder: &Path) -> Config {
        let digest = |key: &str| {
            let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
            data_encoding::HEXLOWER.encode(digest.as_ref())
        };
        let text = CONFIG
            .replace("%GATEWAY%", "127.0.0.1:0")
            .replace("%ADMIN%", "127.0.0.1:2")
            .replace("%AUDIT%", &folder.join("audit").display().to_string())
            .replace("%MODEL%", &format!("{NAME}:80"))
            .replace("%EVERYTHING%", "127.0.0.1:1")
            .replace("%MCP%", "127.0.0.1:1")
            .replace("%SUITE_DIGEST%", &digest("suite-key"))
            .replace("%LIMITED_DIGEST%", &digest("limited-key"));
        let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let config = load::parse("moves.toml", &text, &[], &|_| None, &nothing);
        config.unwrap_or_else(|faults| panic!("{:?}", faults.list))
    }

    /// What the gateway said to its operator.
    type Said = Rc<RefCell<Vec<String>>>;

    /// The gateway with that resolver; `play` is given the address it listens on.
    fn with_gateway<F: Future<Output = ()> + 'static>(
        clock: &Clock,
        resolve: Resolve,
        said: Said,
        play: impl FnOnce(SocketAddr) -> F,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let log = Archive::open(&config.audit, clock.clone()).unwrap();
        let (link, thread) = archive::start(log).unwrap();
        let plan = Arc::new(Plan::compile(config, Arc::new(Seal::new([7; 32])), None).unwrap());
        let addresses = Arc::new(look_up(&plan.config, None, &resolve));
        let setup = Setup {
            clock: clock.clone(),
            plan: Arc::clone(&plan),
            addresses: Arc::clone(&addresses),
            archive: link,
            reread: Arc::new(|| Err("not here".into())),
            resolve,
            say: Box::new(move |line| said.borrow_mut().push(line.to_owned())),
        };
        let listener = &plan.config.listeners[0];
        let (door, held) = Door::open(&listener.address, listener.mode).unwrap();
        let address = held.as_ref().unwrap().local();
        drop(held);
        let notes = std::cell::OnceCell::new();
        let start = |inbox: Inbox| {
            notes.set(inbox.notes.clone()).unwrap();
            let setup = WorkerSetup {
                clock: clock.clone(),
                plan: Arc::clone(&plan),
                addresses,
                listen: vec![door],
                driver: None,
                notes: inbox.notes,
                batches: inbox.batches,
            };
            Ok(start::start(&setup)?.orders)
        };
        let play = play(address);
        let played = Arc::<AtomicBool>::default();
        let ran = runtime::run(None, |_| {
            run(setup, start, |control| {
                let end = End(notes.get().unwrap().clone(), Arc::clone(&played));
                async move {
                    // The clock may not move before it is ready: a start has a limit.
                    until(async || control.phase.get() == Phase::Ready).await;
                    play.await;
                    end.1.store(true, Ordering::Release);
                }
            })
        });
        assert!(!ran.unwrap().unwrap(), "it ends by the failure that the test made up");
        thread.join().unwrap();
        assert!(played.load(Ordering::Acquire), "it did not play to its end");
    }

    /// Ends the gateway with the play, also where that panics; and whether it came to its end.
    struct End(Mailbox<Note>, Arc<AtomicBool>);

    impl Drop for End {
        fn drop(&mut self) {
            drop(self.0.post(Note::Broken(0, "the test")));
        }
    }

    #[test]
    fn a_name_that_fails_hangs_or_moves_is_followed_and_nothing_is_left_behind() {
        let (old, new) = (Model::start("the old place"), Model::start("the new place"));
        let says = Arc::new(AtomicCell::new(Says::Nothing));
        let asked = Arc::<AtomicUsize>::default();
        let clock = Clock::simulated();
        let resolve = resolver(&says, &asked);
        let own = clock.clone();
        let said = Said::default();
        with_gateway(&clock, resolve, Rc::clone(&said), async move |gateway| {
            let clock = own;
            let is_said = |line: &str| said.borrow().iter().any(|own| own.contains(line));
            let is_so = |text: &str, words: &str| text.contains(words);
            until(async || TcpStream::connect(gateway).is_ok()).await;
            // There is no such name: refused at once, and the gateway serves.
            let refused = answer(gateway).await;
            assert!(is_so(&refused, "HTTP/1.1 503 "), "{refused}");
            assert!(is_said("names: `model.test` cannot be found"));
            // There is one now.
            says.store(Says::At(old.address));
            clock.advance(LOOK_UP_EVERY);
            until(async || is_so(&answer(gateway).await, "from the old place")).await;
            assert!(is_said("names: `model.test` is found again"));
            // The next look hangs, and then fails: what was known stays.
            says.store(Says::NotYet);
            let before = asked.load(Ordering::Acquire);
            clock.advance(LOOK_UP_EVERY);
            until(async || asked.load(Ordering::Acquire) > before).await;
            assert!(is_so(&answer(gateway).await, "from the old place"));
            says.store(Says::Nothing);
            until(async || is_said("cannot be found: entity not found; the addresses")).await;
            assert!(is_so(&answer(gateway).await, "from the old place"));
            // It moves: the connections that idle are closed, and the busy ones when they idle.
            until(async || {
                answers(gateway).await;
                old.kept() == 2
            })
            .await;
            says.store(Says::At(new.address));
            clock.advance(LOOK_UP_EVERY);
            until(async || !is_so(&answers(gateway).await, "from the old place")).await;
            let connections = old.connections();
            for _ in 0..3 {
                let both = answers(gateway).await;
                assert_eq!(both.matches("from the new place").count(), 2, "{both}");
            }
            assert_eq!(old.connections(), connections, "a new connection to the old place");
            until(async || old.kept() == 0).await;
            assert!(new.kept() > 0);
        });
    }
}
