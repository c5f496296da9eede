//! The admin listener: `/healthz`, `/readyz`, `/metrics`, and the names that users of `LiteLLM`
//! know.

use crate::admin::metrics;
use crate::base::numbers::to_u64;
use crate::coordinator::control::{Control, Phase};
use crate::gateway::client::{Client, Next};
use crate::http::encode::response_head;
use crate::http::head::BodyLength;
use crate::http::request::RequestHead;
use crate::wire::listen::Listener;
use crate::wire::runtime::{sleep, spawn};
use crate::wire::socket::Socket;
use crate::wire::watch::Watch;
use http::{Method, StatusCode};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections at the same time; probes and scrapers are few.
const CONNECTIONS_MAX: usize = 64;
/// A request body is read up to this, and ignored.
const BODY_BYTES_MAX: usize = 64 * 1024;
const SHORTAGE_REST: Duration = Duration::from_millis(100);

/// What a request for a page is answered.
struct Page {
    status: StatusCode,
    media_type: &'static str,
    body: String,
}

/// Serves operators until the process ends.
#[expect(clippy::infinite_loop, reason = "it ends with the runtime that it runs on")]
pub async fn serve(control: Rc<Control>, listener: Listener) {
    let watch = Watch::new(control.clock.clone());
    spawn(watch.clone().keep(), || {});
    let open = Rc::new(Cell::new(0_usize));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(SHORTAGE_REST).await;
            continue;
        };
        if open.get() >= CONNECTIONS_MAX {
            continue;
        }
        let Ok(socket) = Socket::adopt(stream, &watch) else { continue };
        let client = Client::new(socket, peer, control.clock.clone());
        open.set(open.get() + 1);
        let (control, counted) = (Rc::clone(&control), Rc::clone(&open));
        let ended = Rc::clone(&open);
        let task = async move {
            answer_all(&control, client).await;
            counted.set(counted.get().saturating_sub(1));
        };
        spawn(task, move || ended.set(ended.get().saturating_sub(1)));
    }
}

async fn answer_all(control: &Control, mut client: Client) {
    let (bounds, deadlines) = {
        let plan = control.plan.borrow();
        (plan.config.bounds, plan.config.deadlines)
    };
    while client.wait(deadlines.idle).await {
        let Next::Request(head) = client.next(&bounds, &deadlines).await else { break };
        if client.body(&head, BODY_BYTES_MAX, deadlines.body).await.is_err() {
            break;
        }
        let page = page(control, &head).await;
        let fields = [("content-type", page.media_type.as_bytes())];
        let length = BodyLength::Exact(to_u64(page.body.len()));
        let mut out = Vec::with_capacity(page.body.len() + 256);
        let written =
            response_head(&mut out, page.status, fields.into_iter(), length, head.keep_alive);
        if written.is_err() {
            break;
        }
        if head.method != Method::HEAD {
            out.extend_from_slice(page.body.as_bytes());
        }
        if client.send(out, deadlines.write).await.is_err() || !head.keep_alive {
            break;
        }
    }
    client.close().await;
}

async fn page(control: &Control, head: &RequestHead) -> Page {
    if head.method != Method::GET && head.method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken here\n");
    }
    match &*head.path {
        "/healthz" | "/health/liveliness" => text(StatusCode::OK, "alive\n"),
        "/readyz" | "/health/readiness" => readiness(control),
        "/metrics" => Page {
            status: StatusCode::OK,
            media_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics::page(control).await,
        },
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n"),
    }
}

fn readiness(control: &Control) -> Page {
    let down = control.archive.is_down.load(Ordering::Acquire);
    match control.phase.get() {
        Phase::Ready if down => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the audit log cannot be written\n")
        }
        Phase::Ready => text(StatusCode::OK, "ready\n"),
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining | Phase::Stopping | Phase::Ended => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
    }
}

fn text(status: StatusCode, body: &str) -> Page {
    Page { status, media_type: "text/plain; charset=utf-8", body: body.to_owned() }
}
