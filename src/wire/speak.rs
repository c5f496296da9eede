//! Says things to a peer: within a time limit, or for as long as the peer keeps a pace.
//!
//! A client that reads a few bytes a second holds a connection and all that its answer needs. A
//! limit for each write would not end it, since every write gets somewhere; so what is taken is
//! counted over the time in which something waited to be taken, however many writes that was.

use crate::base::clock::Mono;
use crate::base::numbers::to_u64;
use crate::wire::error::WireError;
#[cfg(test)]
use crate::wire::fault::{self, Fault, Operation};
use crate::wire::stream::{Raw, Stream};
use crate::wire::tls::{Session, TlsFault};
use crate::wire::watch::{Fired, Manner, Seat};
use monoio::buf::IoBuf;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// What the kernel keeps unsent of a client's answer before a write waits. So a write waits as soon
/// as its reader does, and not after megabytes; more would only hide how slow the reader is.
pub const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// How slowly a peer may take what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second, at least; 0: any.
    pub rate: u64,
    /// Measured over so much waiting. A single write that gets nowhere for so long has failed.
    pub window: Duration,
}

/// What a peer took of what waited for it since the last reckoning, and in what time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    waited: Duration,
    taken: u64,
}

/// How long saying something may take.
pub(crate) enum Term<'a> {
    /// Until then, all of it.
    By(Mono),
    /// As long as the peer keeps that pace.
    Paced(Pace, &'a mut Tally),
}

/// Lets the kernel keep little of a client's answer, and end the connection of a client that does
/// not take even that within `window`, also after we are done with it.
///
/// The peer of a Unix socket is a neighbour, whose kernel buffer is small and whose end is seen.
pub fn suit(stream: &Raw, window: Duration) -> io::Result<()> {
    let Raw::Tcp(stream) = stream else { return Ok(()) };
    let socket = SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_user_timeout(Some(window))
}

impl Tally {
    /// Notes what one write did. False: a window is over and the peer was too slow in it.
    fn note(&mut self, pace: Pace, waited: Duration, taken: usize) -> bool {
        self.waited += waited;
        self.taken = self.taken.saturating_add(to_u64(taken));
        if self.waited < pace.window {
            return true;
        }
        let due = u128::from(pace.rate) * self.waited.as_millis() / 1000;
        let kept = u128::from(self.taken) >= due;
        *self = Self::default();
        kept
    }
}

/// Sends all of `bytes`.
pub(crate) async fn say(
    stream: &mut Stream,
    seat: &Seat,
    mut bytes: Vec<u8>,
    term: &mut Term<'_>,
) -> Result<Vec<u8>, WireError> {
    #[cfg(test)]
    let struck = fault::strike(Operation::Write);
    #[cfg(test)]
    match struck {
        None => {}
        Some(Fault::Error(error)) => return Err(error),
        Some(Fault::End | Fault::Panic) => bytes.truncate(bytes.len() / 2),
    }
    let mut at = 0;
    while at < bytes.len() {
        let operation = stream.write(bytes.slice(at..));
        let (result, slice) = match term {
            Term::By(deadline) => seat.guard(Manner::Speak, *deadline, operation).await?,
            Term::Paced(pace, tally) => paced(seat, operation, *pace, tally).await?,
        };
        bytes = slice.into_inner();
        match result {
            Ok(0) => return Err(WireError::Closed),
            Ok(sent) => {
                at += sent;
                if let Term::Paced(pace, tally) = term
                    && !tally.note(*pace, Duration::ZERO, sent)
                {
                    return Err(WireError::Deadline);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    #[cfg(test)]
    if struck.is_some() {
        return Err(WireError::Closed);
    }
    Ok(bytes)
}

/// Waits for one write as long as the peer keeps its pace; what it took is not noted yet.
async fn paced<T>(
    seat: &Seat,
    operation: impl Future<Output = T>,
    pace: Pace,
    tally: &mut Tally,
) -> Result<T, WireError> {
    let mut operation = std::pin::pin!(operation);
    let began = seat.now();
    let mut from = began;
    loop {
        let left = pace.window.saturating_sub(tally.waited);
        let deadline = from.plus(left).min(began.plus(pace.window));
        let done = seat.guard(Manner::Speak, deadline, operation.as_mut()).await;
        let now = seat.now();
        let waited = now.since(from);
        match done {
            Ok(done) => {
                // Reckoned with what it took, right after.
                tally.waited += waited;
                return Ok(done);
            }
            Err(Fired::Stopped) => return Err(WireError::Stopped),
            Err(Fired::Deadline) => {
                if now.since(began) >= pace.window || !tally.note(pace, waited, 0) {
                    return Err(WireError::Deadline);
                }
                from = now;
            }
        }
    }
}

/// Sends all that a session has to say.
pub(crate) async fn flush(
    stream: &mut Stream,
    seat: &Seat,
    session: &mut Session,
    term: &mut Term<'_>,
) -> Result<(), WireError> {
    while let Some(output) = session.take_output() {
        let output = say(stream, seat, output, term).await?;
        session.give_output(output);
    }
    Ok(())
}

/// Lets a session take in what came, and sends what that calls for: an alert where it failed.
pub(crate) async fn feed(
    stream: &mut Stream,
    seat: &Seat,
    session: &mut Session,
    deadline: Mono,
) -> Result<(), WireError> {
    let fed: Result<(), TlsFault> = session.feed();
    let flushed = flush(stream, seat, session, &mut Term::By(deadline)).await;
    // The fault is the reason; that its alert could not be sent is not.
    fed.map_err(WireError::Tls)?;
    flushed
}

#[cfg(test)]
mod tests {
    use super::{Pace, Tally, Term, UNSENT_BYTES_MAX, say, suit};
    use crate::base::clock::Clock;
    use crate::wire::error::WireError;
    use crate::wire::runtime::{self, Driver, sleep, spawn};
    use crate::wire::stream::{Raw, Stream};
    use crate::wire::watch::Watch;
    use socket2::SockRef;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream as StdStream};
    use std::time::Duration;

    const MILLI: Duration = Duration::from_millis(1);
    const PACE: Pace = Pace { rate: 1000, window: Duration::from_secs(20) };

    #[test]
    fn a_pace_is_reckoned_over_its_window_and_then_anew() {
        let mut tally = Tally::default();
        assert!(tally.note(PACE, Duration::from_secs(19), 10));
        assert!(tally.note(PACE, Duration::ZERO, 19_989));
        assert!(!tally.note(PACE, Duration::from_secs(1), 0), "19,999 bytes in twenty seconds");
        assert!(tally.note(PACE, Duration::from_secs(20), 20_000));
        assert!(!tally.note(PACE, Duration::from_secs(20), 19_999), "the window began anew");
        let any = Pace { rate: 0, ..PACE };
        assert!(tally.note(any, Duration::from_secs(20), 0));
    }

    /// Says a megabyte and a half to a reader that takes `step` bytes every ten milliseconds; the
    /// end of it, and after how long.
    fn tell(driver: Driver, step: usize, rate: u64) -> (Option<WireError>, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&near).set_recv_buffer_size(64 << 10).unwrap();
        let (far, _) = listener.accept().unwrap();
        let far = Raw::Tcp(far);
        suit(&far, Duration::from_secs(20)).unwrap();
        let reader = std::thread::Builder::new().spawn(move || {
            let mut block = vec![0; step.max(1)];
            while step > 0 && (&near).read(&mut block).is_ok_and(|read| read > 0) {
                std::thread::sleep(MILLI * 10);
            }
            near
        });
        let ended = runtime::run(Some(driver), async move |_| {
            let clock = Clock::machine();
            let watch = Watch::new(clock.clone());
            spawn(watch.clone().keep(), || {});
            let mut far = Stream::adopt(far).unwrap();
            let (seat, mut tally) = (watch.sit(), Tally::default());
            let pace = Pace { rate, window: MILLI * 400 };
            let began = clock.mono();
            let mut term = Term::Paced(pace, &mut tally);
            let said = say(&mut far, &seat, vec![7; 1_500_000], &mut term).await;
            sleep(MILLI).await;
            (said.err(), clock.mono().since(began))
        });
        drop(reader);
        ended.unwrap()
    }

    #[test]
    fn a_steady_reader_gets_all_and_slow_and_silent_ones_are_given_up() {
        for driver in [Driver::Epoll, Driver::IoUring] {
            let (fast, took) = tell(driver, 16 << 10, 50_000);
            assert_eq!(fast, None, "{driver:?}");
            assert!(took > MILLI * 400, "it took a window at least: {took:?}");
            // At most 100,000 bytes a second where a million is due.
            let (slow, took) = tell(driver, 1000, 1_000_000);
            assert_eq!(slow, Some(WireError::Deadline), "{driver:?}");
            assert!(took < MILLI * 1500, "{took:?}");
            let (silent, took) = tell(driver, 0, 0);
            assert_eq!(silent, Some(WireError::Deadline), "{driver:?}");
            assert!(took < MILLI * 1500, "{took:?}");
        }
    }

    #[test]
    fn little_is_kept_unsent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = Raw::Tcp(near);
        suit(&near, MILLI * 700).unwrap();
        let Raw::Tcp(near) = &near else { panic!("it is over TCP") };
        let socket = SockRef::from(near);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(MILLI * 700));
    }
}
