//! `ringwall guard bench`: recall, false positives and latency for each source of labelled rows.
//!
//! Everything is counted from what `guard score` says of each row. Thresholds belong to a channel:
//! a tool's answer and a user's question are not held to the same one. Texts *about* attacks,
//! which quote them, choose no threshold; their rate stands apart.

use crate::base::numbers::{to_f64, to_u64};
use crate::cli::corpus::{self, Row};
use crate::cli::guard::with_name;
use crate::cli::guard_entities::{Entities, OwnRules};
use crate::cli::guard_score::{Scored, Scorer};
use crate::cli::measure::{auc, f_measure, quantile, ratio, threshold};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The kind of texts about attacks.
const MENTION: &str = "benign_mention";

/// What all corpora gave.
#[derive(Debug, Serialize)]
pub struct Report {
    tasks: Vec<Task>,
}

/// What one corpus gave.
#[derive(Debug, Serialize)]
struct Task {
    name: String,
    rows: u64,
    /// Nothing scores this task.
    is_unscored: bool,
    sources: Vec<Line>,
    /// By channel, where there are several.
    channels: Vec<Line>,
    /// Of the rows that are labelled 0.
    benign_kinds: Vec<Line>,
    entities: Option<Entities>,
    own_rules: Option<OwnRules>,
}

/// What rows with something in common gave; rates are from 0 to 1, times in microseconds.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    rows: u64,
    positives: u64,
    negatives: u64,
    /// Of its positives against all negatives of their channel.
    auc: Option<f64>,
    /// At the score that 1 % of the channel's negatives reach.
    recall_at_1: Option<f64>,
    /// At the score that 5 % of them reach.
    recall_at_5: Option<f64>,
    /// Negatives of these rows at the first of those scores.
    fpr_at_1: Option<f64>,
    /// Positives in which a rule hits.
    flagged: Option<f64>,
    /// Negatives in which a rule hits.
    flagged_wrongly: Option<f64>,
    /// Of the rules' hits.
    f2: Option<f64>,
    us_per_kb: f64,
    us_p50: f64,
    us_p99: f64,
}

/// One row, as far as it counts.
struct Sample {
    source: String,
    kind: String,
    channel: &'static str,
    is_positive: Option<bool>,
    score: Option<f64>,
    is_flagged: bool,
    cost_ns: u64,
    bytes: u64,
}

/// The negatives of one channel, and the scores that so many of them reach.
struct Negatives {
    channel: &'static str,
    scores: Vec<f64>,
    at_1: f64,
    at_5: f64,
}

/// Scores every row of the files and counts.
pub fn measure(scorer: &mut Scorer, files: &[PathBuf], task: Option<&str>) -> io::Result<Report> {
    let mut tasks = Vec::with_capacity(files.len());
    for file in files {
        let named = task.map_or_else(|| task_of(file), str::to_owned);
        tasks.push(count(scorer, file, named).map_err(|error| with_name(file, error))?);
    }
    Ok(Report { tasks })
}

/// `dev/injection.jsonl.gz` holds injections.
fn task_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// The score that speaks of a task.
fn score_of(task: &str) -> &str {
    match task {
        "pii_validators" => "pii",
        own => own,
    }
}

fn count(scorer: &mut Scorer, file: &Path, task: String) -> io::Result<Task> {
    let (mut samples, mut entities) = (Vec::new(), Entities::default());
    let mut own_rules = OwnRules::default();
    let score = score_of(&task).to_owned();
    corpus::rows(file, |row| {
        let scored = scorer.score(&row);
        entities.count(&row, &scored);
        own_rules.count(&row, &scored, scorer.rules());
        samples.push(sample(&row, &scored, &score));
        Ok(())
    })?;
    let negatives = negatives(&samples);
    let lines = |key: fn(&Sample) -> &str, of: fn(&&Sample) -> bool| -> Vec<Line> {
        let mut names: Vec<&str> = samples.iter().filter(of).map(key).collect();
        names.sort_unstable();
        names.dedup();
        let own = |name: &str| -> Vec<&Sample> {
            samples.iter().filter(of).filter(|one| key(one) == name).collect()
        };
        names.iter().map(|name| line(name, &own(name), &negatives)).collect()
    };
    let mut sources = lines(|one| &one.source, |_| true);
    if sources.len() > 1 {
        sources.push(line("all", &samples.iter().collect::<Vec<_>>(), &negatives));
    }
    let mut channels = lines(|one| one.channel, |_| true);
    channels.retain(|_| negatives.len() > 1);
    let mut benign_kinds = lines(|one| &one.kind, |one| one.is_positive == Some(false));
    benign_kinds.retain(|kind| kind.name.starts_with("benign"));
    Ok(Task {
        name: task,
        rows: to_u64(samples.len()),
        is_unscored: samples.iter().all(|one| one.score.is_none()),
        sources,
        channels,
        benign_kinds,
        entities: entities.into_some(),
        own_rules: own_rules.into_some(),
    })
}

fn sample(row: &Row, scored: &Scored, task: &str) -> Sample {
    Sample {
        source: row.source.clone(),
        kind: row.kind.clone(),
        channel: row.channel().name(),
        is_positive: row.is_positive(),
        score: scored.scores.get(task).copied(),
        is_flagged: scored.flags.contains(&task),
        cost_ns: scored.cost_ns,
        bytes: to_u64(row.text.len().max(row.turns_bytes())),
    }
}

fn negatives(samples: &[Sample]) -> Vec<Negatives> {
    let mut all: Vec<Negatives> = Vec::new();
    for one in samples {
        let at = all.iter().position(|known| known.channel == one.channel).unwrap_or(all.len());
        if at == all.len() {
            let scores = Vec::new();
            all.push(Negatives { channel: one.channel, scores, at_1: 0.0, at_5: 0.0 });
        }
        if one.is_positive == Some(false) && one.kind != MENTION {
            let known = all.get_mut(at).into_iter().zip(one.score);
            known.for_each(|(known, score)| known.scores.push(score));
        }
    }
    for one in &mut all {
        one.at_1 = threshold(&one.scores, 0.01);
        one.at_5 = threshold(&one.scores, 0.05);
    }
    all
}

fn line(name: &str, samples: &[&Sample], negatives: &[Negatives]) -> Line {
    let of = |wanted: bool| samples.iter().filter(move |one| one.is_positive == Some(wanted));
    let number = |wanted: bool| to_u64(of(wanted).count());
    let flagged = |wanted: bool| to_u64(of(wanted).filter(|one| one.is_flagged).count());
    let over = |wanted: bool, at: fn(&Negatives) -> f64| {
        let over = |known: &Negatives| {
            let own = of(wanted).filter(|one| one.channel == known.channel);
            own.filter(|one| one.score.is_some_and(|score| score >= at(known))).count()
        };
        ratio(to_u64(negatives.iter().map(over).sum()), number(wanted))
    };
    // Where there is nothing to be wrong about, a threshold says nothing.
    let is_held = negatives.iter().any(|known| !known.scores.is_empty());
    let (hit, wrong) = (flagged(true), flagged(false));
    let (recall, precision) = (ratio(hit, number(true)), ratio(hit, hit + wrong));
    let mut costs: Vec<u64> = samples.iter().map(|one| one.cost_ns).collect();
    costs.sort_unstable();
    let bytes: u64 = samples.iter().map(|one| one.bytes).sum();
    let micros = |nanos: u64| to_f64(nanos) / 1000.0;
    Line {
        name: name.to_owned(),
        rows: to_u64(samples.len()),
        positives: number(true),
        negatives: number(false),
        auc: area(samples, negatives),
        recall_at_1: over(true, |known| known.at_1).filter(|_| is_held),
        recall_at_5: over(true, |known| known.at_5).filter(|_| is_held),
        fpr_at_1: over(false, |known| known.at_1).filter(|_| is_held),
        flagged: recall,
        flagged_wrongly: ratio(wrong, number(false)),
        f2: (number(false) > 0)
            .then(|| recall.map(|recall| f_measure(precision.unwrap_or_default(), recall, 2.0)))
            .flatten(),
        us_per_kb: micros(costs.iter().sum()) / (to_f64(bytes) / 1024.0).max(f64::MIN_POSITIVE),
        us_p50: micros(quantile(&costs, 50)),
        us_p99: micros(quantile(&costs, 99)),
    }
}

/// The area under the curve, each channel's positives against its negatives, weighed by positives.
fn area(samples: &[&Sample], negatives: &[Negatives]) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for known in negatives {
        let own = samples.iter().filter(|one| one.channel == known.channel);
        let positives = own.filter(|one| one.is_positive == Some(true));
        let positives: Vec<f64> = positives.filter_map(|one| one.score).collect();
        if let Some(area) = auc(&positives, &known.scores) {
            let count = to_f64(to_u64(positives.len()));
            sum += area * count;
            weight += count;
        }
    }
    (weight > 0.0).then(|| sum / weight)
}

impl Report {
    /// For programs.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.unwrap_or_default() + "\n"
    }

    /// For people, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for task in &self.tasks {
            task.write(&mut out).unwrap_or_default();
        }
        out
    }
}

impl Task {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## {}\n\n{} rows.", self.name, self.rows)?;
        if self.is_unscored {
            writeln!(out, "Nothing scores this task: the times are all that is told.")?;
        }
        let lists = [
            ("source", &self.sources),
            ("channel", &self.channels),
            ("benign, by kind", &self.benign_kinds),
        ];
        for (what, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(
                out,
                "\n| {what} | rows | + | - | AUC | R@1% | R@5% | FPR@1% | rules: recall | FPR \
                 | F2 | us/KB | p50 us | p99 us |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:\
                 |--:|--:|"
            )?;
            for line in lines {
                line.write(out)?;
            }
        }
        if let Some(entities) = &self.entities {
            entities.write(out)?;
        }
        if let Some(own) = &self.own_rules {
            own.write(out)?;
        }
        writeln!(out)
    }
}

impl Line {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        write!(out, "| {} | {} | {} | {} |", self.name, self.rows, self.positives, self.negatives)?;
        let rates = [
            self.auc,
            self.recall_at_1,
            self.recall_at_5,
            self.fpr_at_1,
            self.flagged,
            self.flagged_wrongly,
            self.f2,
        ];
        for rate in rates {
            write!(out, " {} |", shown(rate))?;
        }
        writeln!(out, " {:.1} | {:.1} | {:.1} |", self.us_per_kb, self.us_p50, self.us_p99)
    }
}

/// A rate with three digits, or a dash.
pub fn shown(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.3}"))
}
