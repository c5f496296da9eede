//! What `ringwall scan` says of a data set, for people and for programs.

use crate::base::hit::Action;
use crate::cli::scan::is_masked;
use crate::supply::poison::Signs;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// So many records are named for each rule.
const EXAMPLES_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Records that were looked at.
    pub records: u64,
    /// Of those, the ones that are not in the form of the file.
    pub unreadable_records: u64,
    /// Records that are not in the masked copy, since a rule blocks them.
    pub dropped: u64,
    /// What is suspicious over many records.
    pub signs: Signs,
    rules: BTreeMap<String, Hits>,
}

#[derive(Debug, Default)]
struct Hits {
    count: u64,
    records: u64,
    last: u64,
    examples: Vec<u64>,
    is_masked: bool,
}

impl Report {
    /// A rule hits in that record, counted from one.
    pub fn note(&mut self, rule: &str, action: Action, record: u64) {
        let found = self.rules.entry(rule.to_owned()).or_default();
        found.count += 1;
        found.is_masked |= is_masked(action);
        if found.last != record {
            found.last = record;
            found.records += 1;
            if found.examples.len() < EXAMPLES_MAX {
                found.examples.push(record);
            }
        }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        let signs = &self.signs;
        let unsuspicious = signs.triggers.is_empty() && signs.floods.is_empty();
        self.rules.is_empty() && unsuspicious && signs.flips.is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).unwrap_or_default();
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} records", self.records)?;
        if self.unreadable_records > 0 {
            writeln!(out, "{} are not in the form of the file", self.unreadable_records)?;
        }
        if self.dropped > 0 {
            writeln!(out, "{} are blocked and not in the masked copy", self.dropped)?;
        }
        for (rule, found) in &self.rules {
            let masked = if found.is_masked { ", masked" } else { "" };
            let at = list(&found.examples);
            let (hits, records) = (found.count, found.records);
            writeln!(out, "  {rule:<32} {hits} in {records} records{masked}; first in {at}")?;
        }
        for one in &self.signs.triggers {
            let (word, label, records) = (&one.word, &one.label, one.records);
            writeln!(
                out,
                "  possible trigger `{}`: in {records} records, all labelled `{}`; first in {}",
                word.escape_debug(),
                label.escape_debug(),
                one.first_record
            )?;
        }
        for one in &self.signs.floods {
            let (records, first) = (one.records, one.first_record);
            writeln!(out, "  flood: {records} records are nearly the same as {first}")?;
        }
        for one in &self.signs.flips {
            let others = list(&one.others);
            writeln!(
                out,
                "  label flip: {others} say what {} says, labelled otherwise",
                one.first_record
            )?;
        }
        if self.signs.is_partial {
            writeln!(out, "There was more than could be remembered: signs may be missing.")?;
        }
        if self.is_clean() {
            writeln!(out, "Nothing was found.")?;
        }
        Ok(())
    }

    /// For programs.
    pub fn json(&self) -> String {
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|(rule, found)| {
                json!({"rule": rule, "hits": found.count, "records": found.records,
                   "masked": found.is_masked, "first_records": found.examples})
            })
            .collect();
        let signs = &self.signs;
        let triggers: Vec<_> = signs
            .triggers
            .iter()
            .map(|one| {
                json!({"word": one.word, "label": one.label, "records": one.records,
                   "first_record": one.first_record})
            })
            .collect();
        let floods: Vec<_> = signs
            .floods
            .iter()
            .map(|one| json!({"records": one.records, "first_record": one.first_record}))
            .collect();
        let flips: Vec<_> = signs
            .flips
            .iter()
            .map(|one| json!({"first_record": one.first_record, "others": one.others}))
            .collect();
        let report = json!({
            "records": self.records, "unreadable_records": self.unreadable_records,
            "dropped": self.dropped, "rules": rules, "triggers": triggers, "floods": floods,
            "flips": flips, "partial": signs.is_partial,
        });
        format!("{report:#}\n")
    }
}

fn list(records: &[u64]) -> String {
    records.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
