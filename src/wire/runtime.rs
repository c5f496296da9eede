//! The loop of a worker: `io_uring` where the kernel allows it, epoll elsewhere.
//!
//! Tasks are spawned here and nowhere else, each behind a guard: in monoio a panic would unwind
//! through the loop and take the whole worker with it.

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// Entries of the ring: with fewer, a burst of operations would flush it early.
const RING_ENTRIES: u32 = 4096;

/// What waits for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// epoll and one system call for each operation.
    Epoll,
    /// `io_uring`.
    IoUring,
}

/// The first of two futures that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first was.
    First(A),
    /// The second was.
    Second(B),
}

/// Runs `entry`'s future on a new loop of this thread until it is done.
///
/// Without a preference `io_uring` is tried, and epoll taken where the kernel or a sandbox does
/// not allow it; `entry` is told which, and should warn of the second. With one, nothing else is
/// tried. Any other failure to set up the ring, such as too few file descriptors, is returned.
pub fn run<F, T>(prefer: Option<Driver>, entry: impl FnOnce(Driver) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let allowed = prefer == Some(Driver::IoUring) || monoio::utils::detect_uring();
    if prefer == Some(Driver::Epoll) || !allowed {
        return run_epoll(entry);
    }
    let ring = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).enable_timer();
    match ring.build() {
        Ok(mut runtime) => Ok(runtime.block_on(async { entry(Driver::IoUring).await })),
        Err(error) if prefer.is_none() && is_forbidden(&error) => run_epoll(entry),
        Err(error) => Err(error),
    }
}

fn run_epoll<F, T>(entry: impl FnOnce(Driver) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(async { entry(Driver::Epoll).await }))
}

/// Not compiled in, switched off, or more locked memory than this user may have.
fn is_forbidden(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::NOSYS, rustix::io::Errno::PERM, rustix::io::Errno::ACCESS]
        .into_iter()
        .chain([rustix::io::Errno::NOMEM, rustix::io::Errno::OPNOTSUPP])
        .any(|errno| code == Some(errno.raw_os_error()))
}

/// Runs a future as a task of this worker. A panic ends that task only, and `on_panic` is called.
pub fn spawn(future: impl Future<Output = ()> + 'static, on_panic: impl FnOnce() + 'static) {
    // On the heap, so that what a panic left behind can be dropped under guard too; and before the
    // task is made, which would keep room for it as well.
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
    drop(monoio::spawn(async move {
        let calm = poll_fn(|context| guarded(future.as_mut(), context)).await;
        let tidy = catch_unwind(AssertUnwindSafe(move || drop(future)));
        if !calm || tidy.is_err() {
            // Whatever the callback does, the worker lives.
            drop(catch_unwind(AssertUnwindSafe(on_panic)));
        }
    }));
}

/// Ready with whether the future ended without a panic.
fn guarded(future: Pin<&mut dyn Future<Output = ()>>, context: &mut Context<'_>) -> Poll<bool> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
        Ok(polled) => polled.map(|()| true),
        Err(_) => Poll::Ready(false),
    }
}

/// Waits that long; rounded up to a millisecond.
pub async fn sleep(time: Duration) {
    monoio::time::sleep(time).await;
}

/// Lets every other task run once, and the kernel's answers in.
///
/// An empty task behind all others is waited for: a future that only wakes itself would be polled
/// again at once where it is the loop's own.
pub async fn yield_now() {
    monoio::spawn(async {}).await;
}

/// Waits for the first of two futures and drops the other; if both are done, `first` counts.
pub async fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(done) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(done));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::{Driver, Either, race, run, sleep, spawn, yield_now};
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Duration;

    #[test]
    fn the_driver_is_told() {
        for driver in [Driver::Epoll, Driver::IoUring] {
            assert_eq!(run(Some(driver), async |given| given).unwrap(), driver);
        }
        run(None, async |_| ()).unwrap();
    }

    #[test]
    fn a_panic_ends_its_task_and_nothing_else() {
        for driver in [Driver::Epoll, Driver::IoUring] {
            assert_eq!(run(Some(driver), async |_| panics().await).unwrap(), 111);
        }
    }

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    /// Spawns tasks that panic in every way; the sum of the callbacks that were called.
    async fn panics() -> u32 {
        let told = Rc::new(Cell::new(0));
        let count = |by| {
            let told = Rc::clone(&told);
            move || told.set(told.get() + by)
        };
        spawn(async { panic!("at once") }, count(1));
        let later = async {
            sleep(Duration::from_millis(1)).await;
            panic!("later");
        };
        spawn(later, count(10));
        let bomb = Bomb;
        spawn(async move { drop(bomb) }, count(100));
        spawn(async {}, count(1000));
        spawn(async { panic!("twice") }, || panic!("in the callback"));
        let mut tries = 0;
        while told.get() < 111 && tries < 500 {
            sleep(Duration::from_millis(1)).await;
            tries += 1;
        }
        told.get()
    }

    #[test]
    fn a_yield_lets_others_run() {
        let order = run(None, async |_| {
            let order = Rc::new(RefCell::new(Vec::new()));
            let theirs = Rc::clone(&order);
            spawn(async move { theirs.borrow_mut().push("task") }, || {});
            yield_now().await;
            order.borrow_mut().push("main");
            order.take()
        });
        assert_eq!(order.unwrap(), ["task", "main"]);
    }

    #[test]
    fn a_race_has_the_first_for_a_winner() {
        let won = run(None, async |_| {
            let both = race(async { 1 }, async { 2 }).await;
            let later = race(sleep(Duration::from_secs(9)), async { 2 }).await;
            (both, later)
        });
        assert_eq!(won.unwrap(), (Either::First(1), Either::Second(2)));
    }
}
