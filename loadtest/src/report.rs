//! What a run found, for people and as JSON. Metrics have `AIPerf`'s names and meanings.

use crate::plan::{Plan, Work};
use crate::tally::Tally;
use hdrhistogram::Histogram;
use ringwall::wire::runtime::Driver;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// The form of the JSON; it changes when a name in it does.
const FORMAT: u32 = 1;

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The counts and times.
    pub tally: Tally,
    /// From the first request to the end of the last answer.
    pub duration: Duration,
    title: String,
    scenario: Value,
    rate: Option<u32>,
}

/// One time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// The mean.
    pub avg: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The standard deviation.
    pub std: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are not above.
    pub p90: f64,
    /// 95 of a hundred are not above.
    pub p95: f64,
    /// 99 of a hundred are not above.
    pub p99: f64,
    /// 999 of a thousand are not above.
    pub p99_9: f64,
}

impl Stats {
    /// Of a histogram of nanoseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        Some(Self {
            avg: histogram.mean() / 1e6,
            min: millis(histogram.min()),
            max: millis(histogram.max()),
            std: histogram.stdev() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
        })
    }

    fn json(&self) -> Value {
        json!({
            "unit": "ms",
            "avg": self.avg, "min": self.min, "max": self.max, "std": self.std,
            "p50": self.p50, "p90": self.p90, "p95": self.p95, "p99": self.p99,
            "p99_9": self.p99_9,
        })
    }
}

impl Report {
    /// Of a plan and what came of it.
    pub fn new(plan: &Plan, driver: Driver, duration: Duration, tally: Tally) -> Self {
        let scenario = scenario(plan, driver);
        Self { tally, duration, title: title(plan), scenario, rate: plan.rate }
    }

    /// Whether something was answered, and nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.tally.mistaken() == 0 && self.tally.sound > 0
    }

    /// Sound answers each second.
    pub fn throughput(&self) -> f64 {
        let seconds = self.duration.as_secs_f64();
        if seconds > 0.0 { number(self.tally.sound) / seconds } else { 0.0 }
    }

    /// The times that were measured, by name.
    pub fn times(&self) -> Vec<(&'static str, Stats)> {
        let tally = &self.tally;
        [
            ("request_latency", &tally.request_latency),
            ("time_to_first_token", &tally.time_to_first_token),
            ("start_delay", &tally.start_delay),
        ]
        .into_iter()
        .filter_map(|(name, histogram)| Some((name, Stats::of(histogram)?)))
        .collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let tally = &self.tally;
        let count = |value: u64| json!({"unit": "requests", "avg": value});
        let errors: Map<String, Value> = tally
            .mistakes
            .iter()
            .map(|(mistake, times)| (mistake.to_string(), Value::from(*times)))
            .collect();
        let mut all = json!({
            "format": FORMAT,
            "generator": concat!("ringwall-load ", env!("CARGO_PKG_VERSION")),
            "scenario": self.scenario,
            "benchmark_duration": {"unit": "sec", "avg": self.duration.as_secs_f64()},
            "request_throughput": {"unit": "requests/sec", "avg": self.throughput()},
            "request_count": count(tally.sound),
            "error_request_count": count(tally.mistaken()),
            "echoes_checked": count(tally.echoes),
            "cards_planted": count(tally.cards),
            "errors": errors,
        });
        if let Some(all) = all.as_object_mut() {
            all.extend(self.times().into_iter().map(|(name, s)| (name.to_owned(), s.json())));
        }
        all
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [self.avg, self.p50, self.p90, self.p95, self.p99, self.p99_9, self.max];
        columns.into_iter().try_for_each(|value| write!(out, " {value:>9.3}"))
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let asked = self.rate.map_or_else(String::new, |rate| format!(", {rate} asked for"));
        out.write_str(&self.title)?;
        writeln!(out, "request_throughput   {:.1} requests/sec{asked}", self.throughput())?;
        writeln!(out, "benchmark_duration   {:.2} sec", self.duration.as_secs_f64())?;
        writeln!(out, "request_count        {}", tally.sound)?;
        writeln!(out, "error_request_count  {}", tally.mistaken())?;
        writeln!(out, "echoes_checked       {}", tally.echoes)?;
        writeln!(out, "cards_planted        {}", tally.cards)?;
        let times = self.times();
        if !times.is_empty() {
            out.write_str(HEADER)?;
        }
        for (name, stats) in times {
            writeln!(out, "{name:<20}{stats}")?;
        }
        if tally.mistaken() > 0 {
            out.write_str("\nerrors\n")?;
        }
        for (mistake, times) in &tally.mistakes {
            writeln!(out, "  {:<18} {times}", mistake.to_string())?;
        }
        if tally.sound == 0 {
            out.write_str("\nNo request was answered.\n")?;
        }
        Ok(())
    }
}

fn title(plan: &Plan) -> String {
    let (what, url) = (what(plan), url(plan));
    let (connections, bytes) = (plan.connections, plan.prompt_bytes);
    let pace = match plan.rate {
        Some(rate) => {
            format!("open loop, {rate} requests/sec: times count from when a request was due")
        }
        None => "closed loop: times count from sending, so a server that stalls is asked less \
                 (coordinated omission: yes)"
            .to_owned(),
    };
    format!("{what} at {url}\n{pace}\n{connections} connections, prompts of {bytes} bytes\n\n")
}

fn what(plan: &Plan) -> String {
    match &plan.work {
        Work::Chat { model, is_stream: true } => format!("chat streams of {model}"),
        Work::Chat { model, is_stream: false } => format!("chat completions of {model}"),
        Work::Mcp { tool } => format!("calls of the tool {tool}"),
    }
}

fn url(plan: &Plan) -> String {
    format!("http://{}{}", plan.target.host, plan.target.path)
}

fn scenario(plan: &Plan, driver: Driver) -> Value {
    json!({
        "what": what(plan),
        "url": url(plan),
        "loop": if plan.rate.is_some() { "open" } else { "closed" },
        "coordinated_omission": plan.rate.is_none(),
        "rate": plan.rate,
        "connections": plan.connections,
        "requests_max": plan.requests,
        "duration_max_sec": plan.duration.as_secs_f64(),
        "prompt_bytes": plan.prompt_bytes,
        "card_every": plan.card_every,
        "driver": match driver {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        },
    })
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e3
}

/// Exact: a run has far fewer requests than this holds.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

const HEADER: &str = "
ms                         avg       p50       p90       p95       p99     p99.9       max
";

#[cfg(test)]
mod tests {
    use super::{Report, Stats};
    use crate::mistake::Mistake;
    use crate::plan::{Plan, Work};
    use crate::tally::{Sound, Tally};
    use crate::target::Target;
    use ringwall::base::clock::Mono;
    use ringwall::base::secret::Secret;
    use ringwall::wire::runtime::Driver;
    use std::time::Duration;

    fn plan() -> Plan {
        Plan {
            target: Target::parse("http://127.0.0.1:1/x").unwrap(),
            work: Work::Chat { model: "m".to_owned(), is_stream: true },
            key: Some(Secret::new("do-not-show")),
            connections: 2,
            requests: 1000,
            duration: Duration::from_secs(10),
            rate: Some(500),
            prompt_bytes: 2048,
            card_every: None,
            expect_echo: false,
        }
    }

    /// A thousand answers that took 1, 2, … 1000 ms.
    fn report() -> Report {
        let mut tally = Tally::new().unwrap();
        let at = |millis: u64| Mono(millis * 1_000_000);
        for millis in 1..=1000 {
            tally.sound(Sound {
                from: at(5),
                first: Some(at(6)),
                to: at(5 + millis),
                is_echo: true,
            });
        }
        tally.mistake(Mistake::Status(503), 2);
        Report::new(&plan(), Driver::Epoll, Duration::from_secs(4), tally)
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= expected * 0.001, "{value} is not {expected}");
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let stats = Stats::of(&report().tally.request_latency).unwrap();
        near(stats.avg, 500.5);
        near(stats.min, 1.0);
        near(stats.p50, 500.0);
        near(stats.p90, 900.0);
        near(stats.p95, 950.0);
        near(stats.p99, 990.0);
        near(stats.p99_9, 999.0);
        near(stats.max, 1000.0);
        assert_eq!(Stats::of(&Tally::new().unwrap().start_delay), None);
    }

    #[test]
    fn the_json_has_every_number_and_no_key() {
        let json = report().json();
        assert_eq!(json["request_count"]["avg"], 1000);
        assert_eq!(json["error_request_count"]["avg"], 2);
        assert_eq!(json["errors"]["status_503"], 2);
        assert_eq!(json["request_throughput"]["avg"], 250.0);
        near(json["time_to_first_token"]["p50"].as_f64().unwrap(), 1.0);
        assert_eq!(json["scenario"]["coordinated_omission"], false);
        assert!(json.get("start_delay").is_none(), "nothing was measured");
        assert!(!json.to_string().contains("do-not-show"));
    }

    #[test]
    fn the_text_has_the_errors_and_is_not_clean() {
        let report = report();
        let text = report.to_string();
        assert!(text.contains("250.0 requests/sec, 500 asked for"), "{text}");
        assert!(text.contains("status_503         2"), "{text}");
        assert!(!report.is_clean());
        assert!(!text.contains("do-not-show"));
    }
}
