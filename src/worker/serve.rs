//! Serves one connection: TLS if its listener has it, then request after request.

use crate::gateway::client::{Client, Next};
use crate::gateway::loads::Counted;
use crate::gateway::mail::{Accepted, Note};
use crate::gateway::way::{After, turn_away, walk};
use crate::wire::error::WireError;
use crate::wire::runtime::{Either, race, sleep, spawn};
use crate::wire::socket::Socket;
use crate::worker::accept::Floor;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a draining worker waits for a request that is on its way.
const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// Serves a connection as a task of its own. A panic in it ends it alone: its exchange leaves a
/// record, and the worker goes on.
pub fn start(floor: Rc<Floor>, accepted: Accepted, counted: Counted) {
    let shard = Rc::clone(&floor.shard);
    let task = async move {
        let counted = counted;
        // A connection that breaks is the client's affair; there is nobody to tell.
        serve(&floor, accepted).await.unwrap_or_default();
        drop(counted);
    };
    spawn(task, move || {
        let what = format!("worker {}: a connection's task panicked and was ended", shard.worker);
        // A full mailbox means that the control thread has other worries.
        drop(shard.tell(Note::Log(what)));
    });
}

async fn serve(floor: &Floor, accepted: Accepted) -> Result<(), WireError> {
    let shard = &floor.shard;
    let mut socket = Socket::adopt(accepted.stream, &shard.watch)?;
    let plan = Arc::clone(&shard.deployed().plan);
    if let Some(Some(tls)) = plan.listener_tls.get(accepted.listener) {
        socket = socket.accept_tls(Arc::clone(tls), plan.config.deadlines.head).await?;
    }
    let mut client = Client::new(socket, accepted.peer, shard.clock.clone());
    loop {
        let plan = Arc::clone(&shard.deployed().plan);
        let deadlines = &plan.config.deadlines;
        if !asks(floor, &mut client, deadlines.idle).await {
            break;
        }
        let next = client.next(&plan.config.bounds, deadlines).await;
        if !shard.can_refuse() {
            shard.meters.borrow_mut().counts().turned_away += 1;
            break;
        }
        let after = match next {
            Next::Nothing => break,
            Next::Refused(refusal) => turn_away(shard, &mut client, refusal).await,
            Next::Request(head) => walk(shard, &mut client, &head).await,
        };
        if after == After::Close {
            break;
        }
    }
    client.close().await;
    Ok(())
}

/// Waits for the next request. While the worker drains, only for one that is on its way: who was
/// let in a moment ago, or just read an answer, has hardly had the time to ask.
async fn asks(floor: &Floor, client: &mut Client, idle: Duration) -> bool {
    let mut wait = pin!(client.wait(idle));
    match race(wait.as_mut(), floor.drain.wait()).await {
        Either::First(came) => came,
        Either::Second(()) => {
            matches!(race(wait, sleep(DRAIN_GRACE)).await, Either::First(true))
        }
    }
}
