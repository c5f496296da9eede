//! For tests: makes the n-th operation of this thread's sockets fail as a test says.
//!
//! No part of the gateway: a build without tests has neither this file nor a call of it.

use crate::wire::error::WireError;
use std::cell::Cell;

/// What is done to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Connecting to an upstream.
    Connect,
    /// One receive.
    Read,
    /// One send of a buffer.
    Write,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With this error, before a byte is moved.
    Error(WireError),
    /// The peer ends: a read finds the end, a write loses its second half.
    End,
    /// The code around it panics.
    Panic,
}

#[derive(Clone, Copy)]
struct Plan {
    /// Operations until the one that fails.
    left: u32,
    fault: Fault,
}

thread_local! {
    static PLAN: Cell<Option<Plan>> = const { Cell::new(None) };
}

/// Lets the `nth` operation from now on, counted from one, fail. Only one fails.
pub(crate) fn arm(nth: u32, fault: Fault) {
    PLAN.set(Some(Plan { left: nth, fault }));
}

/// Lets all operations be; whether one failed.
pub(crate) fn disarm() -> bool {
    PLAN.take().is_none()
}

/// What becomes of an operation that begins.
pub(crate) fn strike(operation: Operation) -> Option<Fault> {
    let mut plan = PLAN.get()?;
    plan.left -= 1;
    if plan.left > 0 {
        PLAN.set(Some(plan));
        return None;
    }
    PLAN.set(None);
    match plan.fault {
        Fault::Panic => panic!("on purpose, at a {operation:?}"),
        Fault::End if operation == Operation::Connect => Some(Fault::Error(WireError::Refused)),
        Fault::End | Fault::Error(_) => Some(plan.fault),
    }
}
