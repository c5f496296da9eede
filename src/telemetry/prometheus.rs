//! The counts as Prometheus reads them: text exposition format 0.0.4.

use crate::telemetry::latency::Latency;
use crate::telemetry::meters::{Merged, UpstreamTimes};
use std::fmt::{self, Write};
use std::time::Duration;

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of what takes microseconds: the gates.
const SHORT: [Duration; 14] = [
    Duration::from_micros(1),
    Duration::from_nanos(2_500),
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Bounds of what waits for an upstream.
const LONG: [Duration; 17] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(5),
];

/// Writes all counts.
pub fn write(merged: &Merged, out: &mut String) {
    let mut page = Page(out);
    // Writing into a `String` cannot fail.
    let written = exchanges(merged, &mut page)
        .and_then(|()| traffic(merged, &mut page))
        .and_then(|()| timings(merged, &mut page))
        .and_then(|()| process(merged, &mut page));
    debug_assert!(written.is_ok(), "a string takes any text");
}

fn exchanges(merged: &Merged, page: &mut Page<'_>) -> fmt::Result {
    page.family("ringwall_requests_total", "counter", "Exchanges that ended.")?;
    for ((kind, status), count) in &merged.requests {
        page.sample("ringwall_requests_total", &[("kind", kind), ("status", status)], *count)?;
    }
    page.family("ringwall_refusals_total", "counter", "Exchanges that a gate refused.")?;
    for ((gate, code), count) in &merged.refusals {
        page.sample("ringwall_refusals_total", &[("gate", gate), ("code", code)], *count)?;
    }
    let name = "ringwall_refusals_by_rule_total";
    page.family(name, "counter", "Exchanges that a rule of the configuration refused.")?;
    for ((gate, rule), count) in &merged.refused_by_rule {
        page.sample(name, &[("gate", gate), ("rule", rule)], *count)?;
    }
    let shadow = "Findings of guards in shadow, by what would have been done.";
    for (name, about, hits) in [
        ("ringwall_guard_hits_total", "Findings of guards.", &merged.hits),
        ("ringwall_guard_shadow_hits_total", shadow, &merged.shadow_hits),
    ] {
        page.family(name, "counter", about)?;
        for ((rule, action, direction), count) in hits {
            let labels = [("rule", &**rule), ("action", action), ("direction", direction)];
            page.sample(name, &labels, *count)?;
        }
    }
    page.family("ringwall_tokens_total", "counter", "Tokens, in the providers' numbers.")?;
    for (model, usage) in &merged.tokens {
        let input = [("model", &**model), ("direction", "input")];
        page.sample("ringwall_tokens_total", &input, usage.input_tokens)?;
        let output = [("model", &**model), ("direction", "output")];
        page.sample("ringwall_tokens_total", &output, usage.output_tokens)?;
    }
    Ok(())
}

fn traffic(merged: &Merged, page: &mut Page<'_>) -> fmt::Result {
    let counts = &merged.counts;
    page.gauge("ringwall_connections", "Client connections that are open.", counts.connections)?;
    page.counter("ringwall_accepted_total", "Client connections accepted.", counts.accepted)?;
    let help = "Client connections closed at a bound.";
    page.counter("ringwall_turned_away_total", help, counts.turned_away)?;
    page.gauge("ringwall_streams", "Streams that run.", counts.streams)?;
    page.gauge("ringwall_in_flight", "Requests that hold a lease.", merged.control.in_flight)?;
    page.family("ringwall_bytes_total", "counter", "Body bytes from and to clients.")?;
    page.sample("ringwall_bytes_total", &[("direction", "in")], counts.bytes_in)?;
    page.sample("ringwall_bytes_total", &[("direction", "out")], counts.bytes_out)?;
    let help = "Exchanges that a fault of the gateway ended.";
    page.counter("ringwall_panics_total", help, counts.panics)
}

fn timings(merged: &Merged, page: &mut Page<'_>) -> fmt::Result {
    let name = "ringwall_gate_duration_seconds";
    page.family(name, "histogram", "How long a gate took.")?;
    for (gate, latency) in &merged.gates {
        page.histogram(name, Some(("gate", gate)), latency, &SHORT)?;
    }
    let name = "ringwall_request_duration_seconds";
    page.family(name, "histogram", "From the first byte of a request to the last of its answer.")?;
    page.histogram(name, None, &merged.whole, &LONG)?;
    upstream(merged, page, "ringwall_upstream_connect_seconds", "Connecting.", |it| &it.connect)?;
    let help = "From the request to the first byte of the answer.";
    upstream(merged, page, "ringwall_upstream_first_byte_seconds", help, |it| &it.first_byte)?;
    let help = "From the request to the last byte of the answer.";
    upstream(merged, page, "ringwall_upstream_duration_seconds", help, |it| &it.total)?;
    let name = "ringwall_upstream_failures_total";
    page.family(name, "counter", "Attempts at an upstream that failed.")?;
    for (target, times) in &merged.upstreams {
        page.sample(name, &[("upstream", target)], times.failures)?;
    }
    Ok(())
}

fn upstream(
    merged: &Merged,
    page: &mut Page<'_>,
    name: &str,
    help: &str,
    step: impl Fn(&UpstreamTimes) -> &Latency,
) -> fmt::Result {
    page.family(name, "histogram", help)?;
    for (target, times) in &merged.upstreams {
        if step(times).count() > 0 {
            page.histogram(name, Some(("upstream", target)), step(times), &LONG)?;
        }
    }
    Ok(())
}

fn process(merged: &Merged, page: &mut Page<'_>) -> fmt::Result {
    let control = &merged.control;
    page.family("ringwall_queue_depth", "gauge", "What waits between threads.")?;
    let queued = [("worker_records", merged.counts.records_queued)];
    for (queue, depth) in control.queues.iter().chain(&queued) {
        page.sample("ringwall_queue_depth", &[("queue", queue)], *depth)?;
    }
    let help = "Records in the audit log.";
    page.counter("ringwall_audit_records_total", help, control.audit_records)?;
    let help = "Whether the audit log cannot be written.";
    page.gauge("ringwall_audit_down", help, u64::from(control.audit_is_down))?;
    let help = "Records that were lost because a queue was full.";
    page.counter("ringwall_dropped_total", help, merged.counts.dropped)?;
    let help = "Whether the configuration that was read last is the one that runs.";
    let reloaded = u64::from(control.last_reload_successful);
    page.gauge("ringwall_config_last_reload_successful", help, reloaded)?;
    let help = "Whether new requests are refused for want of memory.";
    page.gauge("ringwall_memory_pressure", help, u64::from(control.memory_is_short))?;
    page.gauge("ringwall_resident_bytes", "Resident memory.", control.resident_bytes)?;
    page.gauge("ringwall_workers", "Threads that serve.", control.workers)?;
    page.family("ringwall_build_info", "gauge", "Always 1; the version is a label.")?;
    page.sample("ringwall_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)
}

/// A page in the making.
struct Page<'a>(&'a mut String);

type Label<'a> = (&'a str, &'a str);

impl Page<'_> {
    fn family(&mut self, name: &str, sort: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# HELP {name} {help}")?;
        writeln!(self.0, "# TYPE {name} {sort}")
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.family(name, "counter", help)?;
        self.sample(name, &[], count)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, "gauge", help)?;
        self.sample(name, &[], value)
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: u64) -> fmt::Result {
        self.0.push_str(name);
        self.labels(labels)?;
        writeln!(self.0, " {value}")
    }

    fn labels(&mut self, labels: &[Label<'_>]) -> fmt::Result {
        if labels.is_empty() {
            return Ok(());
        }
        for (order, (name, value)) in labels.iter().enumerate() {
            self.0.push(if order == 0 { '{' } else { ',' });
            write!(self.0, "{name}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        self.0.push('}');
        Ok(())
    }

    /// The classic form: cumulative buckets, sum and count.
    fn histogram(
        &mut self,
        name: &str,
        label: Option<Label<'_>>,
        latency: &Latency,
        bounds: &[Duration],
    ) -> fmt::Result {
        let bucket = format!("{name}_bucket");
        for (bound, count) in bounds.iter().zip(latency.cumulative(bounds)) {
            let bound = bound.as_secs_f64().to_string();
            let labels: Vec<Label<'_>> = label.into_iter().chain([("le", &*bound)]).collect();
            self.sample(&bucket, &labels, count)?;
        }
        let all: Vec<Label<'_>> = label.into_iter().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &all, latency.count())?;
        let own: Vec<Label<'_>> = label.into_iter().collect();
        self.0.push_str(name);
        self.0.push_str("_sum");
        self.labels(&own)?;
        writeln!(self.0, " {}", latency.sum().as_secs_f64())?;
        self.sample(&format!("{name}_count"), &own, latency.count())
    }
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::base::hit::{Action, Direction};
    use crate::base::usage::Usage;
    use crate::telemetry::labels::{Labels, Names};
    use crate::telemetry::meters::{Merged, Meters, UpstreamStep};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    fn page() -> String {
        let names = |name: &str| Names::new([Arc::from(name)]);
        let labels = Labels {
            models: names("a \"quoted\"\\ model\nof two lines"),
            rules: names("pii.card"),
            targets: vec![Arc::from("openai")],
        };
        let mut meters = Meters::new(Arc::new(labels));
        meters.request("chat", Some(200), Duration::from_millis(30));
        meters.request("mcp", Some(429), Duration::from_micros(20));
        meters.refusal("lease", "rate_limited", None);
        meters.refusal("permit", "denied", Some("pii.card"));
        meters.hit("pii.card", Action::Mask, Direction::Response);
        let usage = Usage { input_tokens: 7, output_tokens: 3, cached_tokens: 0 };
        meters.tokens("a \"quoted\"\\ model\nof two lines", &usage);
        meters.gate("caller", Duration::from_micros(3));
        meters.upstream(0, UpstreamStep::FirstByte, Duration::from_millis(20));
        meters.counts().bytes_in = 11;
        let mut merged = Merged::default();
        merged.absorb(&meters);
        merged.control.queues = vec![("archive", 4)];
        merged.control.last_reload_successful = true;
        let mut out = String::new();
        write(&merged, &mut out);
        out
    }

    #[test]
    fn the_page_says_what_was_counted() {
        let page = page();
        for line in [
            "ringwall_requests_total{kind=\"chat\",status=\"2xx\"} 1",
            "ringwall_requests_total{kind=\"mcp\",status=\"4xx\"} 1",
            "ringwall_refusals_total{gate=\"lease\",code=\"rate_limited\"} 1",
            "ringwall_refusals_by_rule_total{gate=\"permit\",rule=\"pii.card\"} 1",
            "ringwall_guard_hits_total{rule=\"pii.card\",action=\"mask\",direction=\"response\"} 1",
            concat!(
                r#"ringwall_tokens_total{model="a \"quoted\"\\ model\nof two lines","#,
                r#"direction="input"} 7"#
            ),
            "ringwall_gate_duration_seconds_bucket{gate=\"caller\",le=\"0.0000025\"} 0",
            "ringwall_gate_duration_seconds_bucket{gate=\"caller\",le=\"0.000005\"} 1",
            "ringwall_gate_duration_seconds_sum{gate=\"caller\"} 0.000003",
            "ringwall_upstream_first_byte_seconds_count{upstream=\"openai\"} 1",
            "ringwall_request_duration_seconds_bucket{le=\"0.0005\"} 1",
            "ringwall_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "ringwall_request_duration_seconds_count 2",
            "ringwall_queue_depth{queue=\"archive\"} 4",
            "ringwall_config_last_reload_successful 1",
            "ringwall_bytes_total{direction=\"in\"} 11",
            "ringwall_dropped_total 0",
        ] {
            assert!(page.lines().any(|own| own == line), "{line} in\n{page}");
        }
    }

    /// The rules of the exposition format: a family's lines stand together, after its one HELP and
    /// TYPE; no series is named twice; the page ends with a newline.
    #[test]
    fn the_page_keeps_the_format() {
        let page = page();
        assert!(page.ends_with('\n'));
        let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
        let (mut helped, mut family) = ("", "");
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split(' ').next().unwrap();
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                family = kind.split(' ').next().unwrap();
                assert!(helped == family && families.insert(family), "{line}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let base = name.split('{').next().unwrap();
            let suffix = base.strip_prefix(family).unwrap_or("another family");
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line} in {family}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name), "{line}");
        }
        assert!(families.len() > 15);
    }
}
