//! Serves one connection: TLS if its listener has it, then request after request.

use crate::gateway::client::{Client, Next};
use crate::gateway::loads::Counted;
use crate::gateway::mail::{Accepted, Note};
use crate::gateway::way::{After, turn_away, walk};
use crate::wire::error::WireError;
use crate::wire::proxied;
use crate::wire::runtime::{Either, race, sleep, spawn};
use crate::wire::socket::Socket;
use crate::wire::speak::suit;
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
        let mut counted = counted;
        // A connection that breaks is the client's affair; there is nobody to tell.
        serve(&floor, accepted, &mut counted).await.unwrap_or_default();
        drop(counted);
    };
    spawn(task, move || {
        let what = format!("worker {}: a connection's task panicked and was ended", shard.worker);
        // A full mailbox means that the control thread has other worries.
        drop(shard.tell(Note::Log(what)));
    });
}

/// What comes before the first request: the PROXY header and the TLS handshake, as the listener has
/// them by the plan of this moment. From the header on the client counts for its own address.
async fn greet(
    floor: &Floor,
    accepted: Accepted,
    counted: &mut Counted,
) -> Result<Client, WireError> {
    let shard = &floor.shard;
    let plan = Arc::clone(&shard.deployed().plan);
    suit(&accepted.stream, plan.config.deadlines.write)?;
    let mut socket = Socket::adopt(accepted.stream, &shard.watch)?;
    let mut peer = accepted.peer;
    let limit = plan.config.deadlines.head;
    let listener = plan.config.listeners.get(accepted.listener);
    if let Some(proxies) = listener.and_then(|listener| listener.proxy.as_ref()) {
        // Whoever is not listed could claim any address.
        if !proxies.trusts(peer.map(|peer| peer.ip())) {
            shard.meters.borrow_mut().counts().turned_away += 1;
            return Err(WireError::Refused);
        }
        peer = proxied::accept(&mut socket, &shard.watch, limit).await?;
        counted.name(peer.map(|peer| peer.ip()));
        if !counted.fits(&plan.config.bounds) {
            shard.meters.borrow_mut().counts().turned_away += 1;
            return Err(WireError::Refused);
        }
    }
    if let Some(Some(tls)) = plan.listener_tls.get(accepted.listener) {
        socket = socket.accept_tls(Arc::clone(tls), limit).await?;
    }
    Ok(Client::new(socket, peer, shard.clock.clone()).through(accepted.listener))
}

async fn serve(floor: &Floor, accepted: Accepted, counted: &mut Counted) -> Result<(), WireError> {
    let shard = &floor.shard;
    let mut client = greet(floor, accepted, counted).await?;
    let mut patience = shard.deployed().plan.config.deadlines.first_request;
    loop {
        let plan = Arc::clone(&shard.deployed().plan);
        let deadlines = &plan.config.deadlines;
        if !asks(floor, &mut client, patience).await {
            break;
        }
        patience = deadlines.idle;
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
        match after {
            After::KeepAlive => {}
            After::Close => break,
            After::Break => {
                client.abort();
                return Ok(());
            }
        }
    }
    client.close().await;
    Ok(())
}

/// Waits for the next request. While the worker drains, only for one that is on its way: who was
/// let in a moment ago, or just read an answer, has hardly had the time to ask.
async fn asks(floor: &Floor, client: &mut Client, patience: Duration) -> bool {
    let mut wait = pin!(client.wait(patience));
    match race(wait.as_mut(), floor.drain.wait()).await {
        Either::First(came) => came,
        Either::Second(()) => {
            matches!(race(wait, sleep(DRAIN_GRACE)).await, Either::First(true))
        }
    }
}
