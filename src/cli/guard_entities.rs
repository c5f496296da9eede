//! How well values are found: by entity, span for span, and by the rule that a row was made for.

use crate::cli::corpus::Row;
use crate::cli::guard_bench::shown;
use crate::cli::guard_score::{Found, Scored};
use crate::cli::measure::{f_measure, ratio};
use crate::guard::rules::Rules;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Spans by entity. A span is found if a hit of its entity overlaps it.
#[derive(Debug, Default, Serialize)]
pub struct Entities {
    by_entity: BTreeMap<String, Spans>,
    /// Hits that overlap no labelled span at all, and speak of no labelled entity.
    strays: BTreeMap<String, u64>,
    #[serde(skip)]
    is_labelled: bool,
}

#[derive(Debug, Default, Serialize)]
struct Spans {
    labelled: u64,
    found: u64,
    /// Found with just these bounds.
    exact: u64,
    hits: u64,
    /// Hits that overlap a span of this entity.
    right: u64,
}

impl Entities {
    /// Counts a row, if its spans are labelled.
    pub fn count(&mut self, row: &Row, scored: &Scored) {
        let Some(spans) = &row.spans else { return };
        self.is_labelled = true;
        let overlaps = |hit: &Found, start, end| hit.start < end && start < hit.end;
        for span in spans {
            let of = |hit: &&Found| hit.entity == span.entity;
            let mut own = scored.hits.iter().filter(of);
            let counted = self.by_entity.entry(span.entity.clone()).or_default();
            counted.labelled += 1;
            counted.found += u64::from(own.clone().any(|hit| overlaps(hit, span.start, span.end)));
            counted.exact +=
                u64::from(own.any(|hit| hit.start == span.start && hit.end == span.end));
        }
        for hit in &scored.hits {
            let mut over = spans.iter().filter(|span| overlaps(hit, span.start, span.end));
            let counted = self.by_entity.entry(hit.entity.clone()).or_default();
            counted.hits += 1;
            counted.right += u64::from(over.clone().any(|span| span.entity == hit.entity));
            if over.next().is_none() {
                *self.strays.entry(hit.rule.clone()).or_default() += 1;
            }
        }
    }

    /// Nothing, if no row had labelled spans.
    pub fn into_some(self) -> Option<Self> {
        self.is_labelled.then_some(self)
    }

    /// A table, in Markdown. Of entities that no rule looks for only the number is told.
    pub fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n| entity | spans | recall | exact | hits | precision | F2 |\n\
             |---|--:|--:|--:|--:|--:|--:|"
        )?;
        let (mut all, mut unsought) = (Spans::default(), Vec::new());
        for (entity, spans) in &self.by_entity {
            if spans.hits == 0 {
                unsought.push(format!("{entity} ({})", spans.labelled));
                continue;
            }
            spans.write(entity, out)?;
            if spans.labelled > 0 {
                all.add(spans);
            }
        }
        all.write("all of these that are labelled", out)?;
        let strays: Vec<String> =
            self.strays.iter().map(|(rule, hits)| format!("{rule} {hits}")).collect();
        let or_none = |list: &[String]| {
            if list.is_empty() { "none".to_owned() } else { list.join(", ") }
        };
        writeln!(out, "\nLabelled, and no rule hit: {}.", or_none(&unsought))?;
        writeln!(out, "Hits where nothing is labelled: {}.", or_none(&strays))
    }
}

impl Spans {
    const fn add(&mut self, other: &Self) {
        self.labelled += other.labelled;
        self.found += other.found;
        self.exact += other.exact;
        self.hits += other.hits;
        self.right += other.right;
    }

    fn write(&self, name: &str, out: &mut String) -> std::fmt::Result {
        let (recall, precision) = (ratio(self.found, self.labelled), ratio(self.right, self.hits));
        let f2 = recall.zip(precision).map(|(recall, precision)| f_measure(precision, recall, 2.0));
        writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            self.labelled,
            shown(recall),
            shown(ratio(self.exact, self.labelled)),
            self.hits,
            shown(precision),
            shown(f2)
        )
    }
}

/// Rows that were made for one rule: whether that one finds them, and it alone.
#[derive(Debug, Default, Serialize)]
pub struct OwnRules {
    positives: u64,
    /// Positives in which any secret rule hits.
    found: u64,
    /// Positives whose rule is there by that name.
    known: u64,
    /// Those of them in which it hits.
    found_by_own: u64,
    negatives: u64,
    /// Negatives in which their own rule hits.
    wrong_by_own: u64,
    /// Negatives in which any secret rule hits.
    wrong_by_any: u64,
    /// Rules that miss positives of their own, with how many.
    misses: BTreeMap<String, u64>,
    /// Rules that hit negatives of their own, with how many.
    wrong: BTreeMap<String, u64>,
    /// Rules that are not there, with how many positives they have.
    unknown: BTreeMap<String, u64>,
}

impl OwnRules {
    /// Counts a row, if it was made for a rule.
    pub fn count(&mut self, row: &Row, scored: &Scored, rules: &Rules) {
        let Some(wanted) = row.rule.as_deref() else { return };
        let is_own = |rule: &str| own_name(rule).is_some_and(|own| own == wanted);
        let by_own = scored.hits.iter().any(|hit| is_own(&hit.rule));
        let by_any = scored.flags.contains(&"secrets");
        if row.is_positive() == Some(false) {
            self.negatives += 1;
            self.wrong_by_own += u64::from(by_own);
            self.wrong_by_any += u64::from(by_any);
            if by_own {
                *self.wrong.entry(wanted.to_owned()).or_default() += 1;
            }
            return;
        }
        self.positives += 1;
        self.found += u64::from(by_any);
        if !rules.names().any(|rule| is_own(rule)) {
            *self.unknown.entry(wanted.to_owned()).or_default() += 1;
            return;
        }
        self.known += 1;
        self.found_by_own += u64::from(by_own);
        if !by_own {
            *self.misses.entry(wanted.to_owned()).or_default() += 1;
        }
    }

    /// Nothing, if no row was made for a rule.
    pub fn into_some(self) -> Option<Self> {
        (self.positives + self.negatives > 0).then_some(self)
    }

    /// A few lines, in Markdown.
    pub fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n| rows made for a rule | rows | by any rule | by their own |\n|---|--:|--:|--:|\n\
             | positive | {} | {} | {} of {} whose rule is there |\n\
             | negative | {} | {} | {} |",
            self.positives,
            shown(ratio(self.found, self.positives)),
            shown(ratio(self.found_by_own, self.known)),
            self.known,
            self.negatives,
            shown(ratio(self.wrong_by_any, self.negatives)),
            shown(ratio(self.wrong_by_own, self.negatives)),
        )?;
        let lists = [
            ("Misses by their own rule", &self.misses),
            ("Hits of their own rule in negatives", &self.wrong),
            ("Rules that are not there", &self.unknown),
        ];
        for (what, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let shown: Vec<String> =
                list.iter().map(|(rule, rows)| format!("{rule} {rows}")).collect();
            writeln!(out, "\n{what}: {}.", shown.join(", "))?;
        }
        Ok(())
    }
}

/// `secret.github_pat` is `github-pat` elsewhere.
fn own_name(rule: &str) -> Option<String> {
    let (pack, name) = rule.split_once('.')?;
    pack.starts_with("secret").then(|| name.replace('_', "-"))
}
