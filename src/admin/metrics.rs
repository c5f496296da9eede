//! The page of metrics: the workers' counts, merged, and what the control thread knows itself.

use crate::base::numbers::to_u64;
use crate::coordinator::control::Control;
use crate::telemetry::meters::Control as Known;
use crate::telemetry::prometheus;
use std::sync::atomic::Ordering;

/// Writes the page, in the Prometheus text format.
pub async fn page(control: &Control) -> String {
    let mut merged = control.meters().await;
    let orders: usize = control.order_depths().iter().sum();
    merged.control = Known {
        queues: vec![
            ("orders", to_u64(orders)),
            ("notes", to_u64(control.notes.depth())),
            ("batches", to_u64(control.batches.depth())),
        ],
        audit_records: control.archive.records.load(Ordering::Relaxed),
        audit_is_down: control.archive.is_down.load(Ordering::Acquire),
        last_reload_successful: control.last_reload_ok.get(),
        in_flight: control.plan.borrow().ledger.live(),
        workers: to_u64(control.worker_count()),
        resident_bytes: control.plan.borrow().pressure.resident(),
        memory_is_short: control.plan.borrow().pressure.is_high(),
    };
    let mut page = String::with_capacity(16 * 1024);
    prometheus::write(&merged, &mut page);
    page
}
