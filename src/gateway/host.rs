//! Where a model of the user's own runs: a thread of its own with a bounded queue, so that no
//! worker waits for it and a flood of questions cannot pile up.

use crate::config::judges::LocalModel;
use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The score is not there yet.
const OPEN: u32 = u32::MAX;
/// There is none.
const FAILED: u32 = u32::MAX - 1;
/// Nobody waits for it any more.
const GIVEN_UP: u32 = u32::MAX - 2;

/// A model's thread, as workers see it. It ends when the last plan that has it is gone.
pub struct Host {
    queue: Arc<ArrayQueue<Job>>,
    unparker: Unparker,
    ended: Arc<AtomicBool>,
}

struct Job {
    text: Box<str>,
    score: Arc<AtomicU32>,
}

/// A score that is waited for; giving up on it spares the model the work.
#[derive(Debug)]
pub struct Ticket(Arc<AtomicU32>);

/// What became of a question so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no score, and there will be none.
    Failed,
    /// It is not there yet.
    Open,
    /// The score, in thousandths.
    Scored(u32),
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Host").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Host {
    /// Loads a model and starts its thread. The error is for the operator.
    pub fn start(name: &str, model: &LocalModel) -> Result<Self, String> {
        let score = load(model)?;
        let queue = Arc::new(ArrayQueue::new(model.queue.max(1)));
        let ended = Arc::<AtomicBool>::default();
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let (jobs, over) = (Arc::clone(&queue), Arc::clone(&ended));
        let serve = move || work(score, &jobs, &over, &parker);
        let thread = std::thread::Builder::new().name(format!("model-{name}"));
        thread.spawn(serve).map_err(|error| format!("no thread for it: {}", error.kind()))?;
        Ok(Self { queue, unparker, ended })
    }

    /// Puts a question in; none where too many wait already.
    pub fn ask(&self, text: &str) -> Option<Ticket> {
        let score = Arc::new(AtomicU32::new(OPEN));
        let job = Job { text: text.into(), score: Arc::clone(&score) };
        self.queue.push(job).ok()?;
        self.unparker.unpark();
        Some(Ticket(score))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.unparker.unpark();
    }
}

impl Ticket {
    /// What became of it so far.
    pub fn look(&self) -> Standing {
        match self.0.load(Ordering::Acquire) {
            OPEN | GIVEN_UP => Standing::Open,
            FAILED => Standing::Failed,
            score => Standing::Scored(score),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Where the score is there already, nobody reads this.
        self.0.store(GIVEN_UP, Ordering::Release);
    }
}

/// Scores a text; is asked now and then whether to go on.
type Score = Box<dyn FnMut(&str, &dyn Fn() -> bool) -> Option<u32> + Send>;

fn work(mut score: Score, jobs: &ArrayQueue<Job>, ended: &AtomicBool, parker: &Parker) {
    while !ended.load(Ordering::Acquire) {
        let Some(job) = jobs.pop() else {
            parker.park();
            continue;
        };
        let given_up = || job.score.load(Ordering::Acquire) == GIVEN_UP;
        if !given_up() {
            let scored = score(&job.text, &given_up).unwrap_or(FAILED);
            // Else nobody waits for it.
            job.score
                .compare_exchange(OPEN, scored, Ordering::AcqRel, Ordering::Acquire)
                .unwrap_or_default();
        }
    }
}

#[cfg(feature = "onnx")]
fn load(model: &LocalModel) -> Result<Score, String> {
    use crate::guard::encoder::{Encoder, thousandths};
    let loaded = Encoder::load(&model.library, &model.model, &model.tokenizer, model.label);
    let mut encoder = loaded.map_err(|fault| fault.to_string())?;
    // A model that cannot run is told now and not by the first request.
    encoder.score("ready?", &|| false).map_err(|fault| fault.to_string())?;
    Ok(Box::new(move |text, given_up| encoder.score(text, given_up).ok().map(thousandths)))
}

#[cfg(not(feature = "onnx"))]
fn load(_model: &LocalModel) -> Result<Score, String> {
    Err("this binary was built without it: cargo build --release --features onnx".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Host, Job, Score, Standing, work};
    use crossbeam::queue::ArrayQueue;
    use crossbeam::sync::Parker;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::Builder;

    /// A host of a model that scores by length.
    fn host(queue: usize) -> Host {
        let score: Score =
            Box::new(|text, _| u32::try_from(text.len()).ok().filter(|length| *length < 1000));
        let jobs: Arc<ArrayQueue<Job>> = Arc::new(ArrayQueue::new(queue));
        let (parker, ended) = (Parker::new(), Arc::<AtomicBool>::default());
        let unparker = parker.unparker().clone();
        let host = Host { queue: Arc::clone(&jobs), unparker, ended: Arc::clone(&ended) };
        Builder::new().spawn(move || work(score, &jobs, &ended, &parker)).unwrap();
        host
    }

    #[test]
    fn a_question_is_scored_on_the_models_thread() {
        let host = host(4);
        let (short, long) = (host.ask("four").unwrap(), host.ask(&"x".repeat(2000)).unwrap());
        while short.look() == Standing::Open || long.look() == Standing::Open {
            std::thread::yield_now();
        }
        assert_eq!((short.look(), long.look()), (Standing::Scored(4), Standing::Failed));
    }

    #[test]
    fn a_full_queue_takes_no_more_and_what_is_given_up_is_not_scored() {
        let queue: Arc<ArrayQueue<Job>> = Arc::new(ArrayQueue::new(2));
        let (parker, ended) = (Parker::new(), Arc::<AtomicBool>::default());
        let unparker = parker.unparker().clone();
        let host = Host { queue: Arc::clone(&queue), unparker, ended: Arc::clone(&ended) };
        let (first, second) = (host.ask("first").unwrap(), host.ask("second").unwrap());
        assert!(host.ask("third").is_none());
        drop(first);
        let over = Arc::clone(&ended);
        let score: Score = Box::new(move |text, _| {
            over.store(true, Ordering::Release);
            u32::try_from(text.len()).ok()
        });
        work(score, &queue, &ended, &parker);
        assert_eq!(second.look(), Standing::Scored(6), "the first one cost nothing");
    }
}
