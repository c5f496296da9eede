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
    drop(monoio::spawn(async move {
        // On the heap, so that what a panic left behind can be dropped under guard too.
        let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
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
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
