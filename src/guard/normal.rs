//! Text as a reader sees it: escapes undone, look-alikes plain, what is not seen gone; with the way
//! back to the text as it stands.
//!
//! Folding and unescaping take turns a bounded number of times, so that an escape of an escape and
//! full-width digits inside one come out the same. It works character by character and holds no
//! more than some unfinished escapes.

use crate::base::text::Text;
use crate::guard::arguments::Unit;
use crate::guard::fold::{Fold, fold};
use crate::guard::unescape::{GONE, Unescape, is_opener};
use std::ops::Range;

/// How many layers of escapes are undone.
const LAYERS: usize = 3;

/// Makes text normal, character by character.
#[derive(Debug, Default)]
pub struct Normalizer {
    layers: [Unescape; LAYERS],
    buffer: Vec<Unit>,
    is_folded: bool,
}

/// The way back from normal text.
#[derive(Debug, Default)]
pub struct Way {
    /// Where the two differ, in order.
    steps: Vec<Step>,
    normal: usize,
    plain: usize,
    /// Where the latest letter begins in both.
    latest: (usize, usize),
}

/// Some letters that stand for others, or for nothing.
#[derive(Clone, Debug)]
struct Step {
    normal: Range<usize>,
    plain: Range<usize>,
}

/// All text of a body, normal: what phrases and detectors look at.
#[derive(Debug, Default)]
pub struct Normal {
    joined: String,
    segments: Vec<Range<usize>>,
    ways: Vec<Option<Way>>,
}

/// Whether a character may stand for another one, or begin to.
pub fn is_odd(letter: char) -> bool {
    if letter.is_ascii() {
        return is_suspect(u8::try_from(letter).unwrap_or(0));
    }
    fold(letter) != Fold::Same
}

/// The first place at or after `from` where text may not be as it is read.
pub fn next_odd(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += plain_blocks(bytes.get(at..)?);
        at += bytes.get(at..)?.iter().position(|byte| is_suspect(*byte))?;
        // Letters of other scripts come in rows.
        for (index, letter) in text.get(at..)?.char_indices() {
            let here = at + index;
            if !letter.is_ascii() {
                if fold(letter) != Fold::Same {
                    return Some(here);
                }
            } else if is_suspect(u8::try_from(letter).unwrap_or(0)) {
                if is_odd_here(letter, bytes.get(here + 1).copied()) {
                    return Some(here);
                }
            } else {
                at = here;
                break;
            }
            if here + letter.len_utf8() == bytes.len() {
                return None;
            }
        }
    }
}

/// How far a text goes on in whole blocks that need no look.
fn plain_blocks(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    // Without an early exit, so that the compiler makes vector code of it.
    let is_plain = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_suspect(*byte));
    bytes.chunks_exact(BLOCK).take_while(is_plain).count() * BLOCK
}

/// Whether a byte is worth a look.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte would cost vector code")]
const fn is_suspect(byte: u8) -> bool {
    let is_control = (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    let is_opener = (byte == b'%') | (byte == b'&') | (byte == b'\\');
    is_control | (byte >= 0x7f) | is_opener
}

/// As [`is_odd`], with a look at what follows an opener: most are none.
fn is_odd_here(letter: char, next: Option<u8>) -> bool {
    // The text may go on in another piece.
    let Some(next) = next else { return true };
    let is_covered = is_suspect(next);
    match letter {
        '%' => next.is_ascii_hexdigit() || matches!(next, b'u' | b'U') || is_covered,
        '&' => next.is_ascii_alphabetic() || next == b'#' || is_covered,
        '\\' => !matches!(next, b' ' | b'\n' | b'\r' | b'\t'),
        _ => true,
    }
}

impl Normalizer {
    /// Whether nothing is held.
    pub fn is_idle(&self) -> bool {
        self.layers.iter().all(Unescape::is_idle)
    }

    /// Whether anything came out other than it went in.
    pub fn is_changed(&self) -> bool {
        self.is_folded || self.layers.iter().any(|layer| layer.is_changed)
    }

    /// Begins anew; only when idle.
    pub fn reset(&mut self) {
        self.is_folded = false;
        self.layers.iter_mut().for_each(|layer| layer.is_changed = false);
    }

    /// Takes the next character and adds what is complete to `out`. What is not seen comes as
    /// [`GONE`]; of letters that stand for one together, all but the first have no raw bytes.
    pub fn take(&mut self, unit: Unit, out: &mut Vec<Unit>) {
        self.fold_into(0, unit, out);
    }

    /// The text has ended.
    pub fn finish(&mut self, out: &mut Vec<Unit>) {
        for layer in 0..LAYERS {
            let mut left = Vec::new();
            if let Some(layer) = self.layers.get_mut(layer) {
                layer.finish(&mut left);
            }
            for unit in left {
                self.fold_into(layer + 1, unit, out);
            }
        }
    }

    fn fold_into(&mut self, layer: usize, unit: Unit, out: &mut Vec<Unit>) {
        let with = |letter, raw| Unit { letter, raw, ..unit };
        // What is gone already stays so.
        let folded = if unit.letter == GONE && layer > 0 { Fold::Same } else { fold(unit.letter) };
        self.is_folded |= folded != Fold::Same;
        match folded {
            Fold::Same => self.unescape(layer, unit, out),
            Fold::Gone => self.unescape(layer, with(GONE, unit.raw), out),
            Fold::One(letter) => self.unescape(layer, with(letter, unit.raw), out),
            Fold::Many(letters) => {
                for (index, letter) in letters.iter().enumerate() {
                    let raw = if index == 0 { unit.raw } else { 0 };
                    self.unescape(layer, with(*letter, raw), out);
                }
            }
        }
    }

    fn unescape(&mut self, layer: usize, unit: Unit, out: &mut Vec<Unit>) {
        // What begins no escape where none is open is the same for all layers that are left.
        let left = self.layers.get(layer..).unwrap_or_default();
        if (unit.bare || !is_opener(unit.letter)) && left.iter().all(Unescape::is_idle) {
            out.push(unit);
            return;
        }
        let mut done = std::mem::take(&mut self.buffer);
        match self.layers.get_mut(layer) {
            Some(layer) => layer.take(unit, &mut done),
            None => out.push(unit),
        }
        for unit in done.drain(..) {
            self.fold_into(layer + 1, unit, out);
        }
        self.buffer = done;
    }
}

impl Way {
    /// Begins where both are at this offset.
    pub fn reset(&mut self, at: usize) {
        self.steps.clear();
        (self.normal, self.plain) = (at, at);
    }

    /// A character of the normal text follows.
    pub fn push(&mut self, unit: Unit) {
        let (normal, plain) = (self.normal, self.plain);
        if unit.letter != GONE {
            self.normal += unit.letter.len_utf8();
        }
        self.plain += unit.raw;
        if unit.raw == 0 {
            // It belongs to the letter before it.
            match self.steps.last_mut() {
                Some(last) if last.normal.end == normal => last.normal.end = self.normal,
                _ => {
                    let (first, from) = self.latest;
                    self.steps.push(Step { normal: first..self.normal, plain: from..plain });
                }
            }
            return;
        }
        self.latest = (normal, plain);
        if self.normal - normal != unit.raw {
            self.steps.push(Step { normal: normal..self.normal, plain: plain..self.plain });
        }
    }

    /// The span of the plain text that this span of the normal one stands for, in whole.
    pub fn plain(&self, normal: &Range<usize>) -> Range<usize> {
        self.start(normal.start)..self.end(normal.end)
    }

    /// Where the letter at this offset begins.
    fn start(&self, normal: usize) -> usize {
        let after = self.steps.partition_point(|step| step.normal.start <= normal);
        match after.checked_sub(1).and_then(|index| self.steps.get(index)) {
            None => normal,
            Some(step) if normal < step.normal.end => step.plain.start,
            Some(step) => step.plain.end + (normal - step.normal.end),
        }
    }

    /// Where the letter before this offset ends.
    fn end(&self, normal: usize) -> usize {
        let after = self.steps.partition_point(|step| step.normal.start < normal);
        match after.checked_sub(1).and_then(|index| self.steps.get(index)) {
            None => normal,
            Some(step) if normal <= step.normal.end && !step.normal.is_empty() => step.plain.end,
            Some(step) => step.plain.end + (normal - step.normal.end),
        }
    }

    /// Up to where the plain text is done with when the normal one is up to this offset: a letter
    /// of which only a part is done is not.
    pub fn done(&self, normal: usize) -> usize {
        let after = self.steps.partition_point(|step| step.normal.start < normal);
        match after.checked_sub(1).and_then(|index| self.steps.get(index)) {
            Some(step) if normal < step.normal.end => step.plain.start,
            Some(_) | None => self.end(normal),
        }
    }

    /// Offsets below this one of the normal text are not asked for any more.
    pub fn forget(&mut self, normal: usize) {
        let after = self.steps.partition_point(|step| step.normal.start < normal);
        self.steps.drain(..after.saturating_sub(1));
    }

    /// The offset in the plain text of the letter that comes next.
    pub const fn taken(&self) -> usize {
        self.plain
    }
}

impl Normal {
    /// The text of a body, normal; `None` where it is so already.
    pub fn of(text: &Text) -> Option<Self> {
        next_odd_said(text)?;
        let mut normal = Self::default();
        let mut units = Vec::new();
        for segment in text.segments() {
            if !normal.segments.is_empty() {
                normal.joined.push(Text::SEPARATOR);
            }
            let start = normal.joined.len();
            let said = text.joined().get(segment.at.clone()).unwrap_or_default();
            normal.ways.push(push_normal(said, &mut normal.joined, &mut units));
            normal.segments.push(start..normal.joined.len());
        }
        Some(normal)
    }

    /// All of it, joined as [`Text::joined`] is.
    pub fn joined(&self) -> &str {
        &self.joined
    }

    /// Where the segment of that index stands.
    pub fn segment(&self, index: usize) -> Option<Range<usize>> {
        self.segments.get(index).cloned()
    }

    /// Whether the segment of that index is not as it stands in the body.
    pub fn differs(&self, index: usize) -> bool {
        self.ways.get(index).is_some_and(Option::is_some)
    }

    /// The index of the segment that a byte belongs to.
    pub fn segment_of(&self, at: usize) -> Option<usize> {
        let after = self.segments.partition_point(|own| own.start <= at);
        let index = after.checked_sub(1)?;
        self.segments.get(index).filter(|own| at < own.end).map(|_| index)
    }

    /// The span of a segment's decoded text that a span of its normal text stands for; both are
    /// counted from the segment's beginning.
    pub fn plain(&self, index: usize, span: &Range<usize>) -> Range<usize> {
        match self.ways.get(index) {
            Some(Some(way)) => way.plain(span),
            Some(None) | None => span.clone(),
        }
    }
}

/// The first odd place in what is said; what stands between segments is none.
fn next_odd_said(text: &Text) -> Option<usize> {
    let mut at = next_odd(text.joined(), 0)?;
    while text.joined().as_bytes().get(at) == Some(&0) {
        if text.segment_of(&(at..at + 1)).is_some() {
            break;
        }
        at = next_odd(text.joined(), at + 1)?;
    }
    Some(at)
}

/// Adds `said` to `joined`, and gives the way back if it changed on the way.
fn push_normal(said: &str, joined: &mut String, units: &mut Vec<Unit>) -> Option<Way> {
    let start = joined.len();
    let mut normalizer = Normalizer::default();
    let mut way = Way::default();
    let mut at = 0;
    while let Some(odd) = next_odd(said, at) {
        let plain = said.get(at..odd).unwrap_or_default();
        joined.push_str(plain);
        way.normal += plain.len();
        way.plain += plain.len();
        at = odd;
        // On until nothing is held.
        for letter in said.get(odd..).unwrap_or_default().chars() {
            let unit = Unit::plain(letter);
            normalizer.take(unit, units);
            at += unit.raw;
            add(units, joined, &mut way);
            if normalizer.is_idle() {
                break;
            }
        }
    }
    normalizer.finish(units);
    add(units, joined, &mut way);
    joined.push_str(said.get(at..).unwrap_or_default());
    let is_same = joined.get(start..) == Some(said);
    (!is_same).then_some(way)
}

fn add(units: &mut Vec<Unit>, joined: &mut String, way: &mut Way) {
    for unit in units.drain(..) {
        way.push(unit);
        if unit.letter != GONE {
            joined.push(unit.letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Normal, next_odd};
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use proptest::prelude::{any, proptest};

    fn text(said: &[&str]) -> Text {
        let place = Place { path: "messages[#].content", indexes: [0, 0] };
        let mut text = Text::default();
        for said in said {
            let source = Source { raw: 0..said.len(), form: Form::PlainString };
            text.push(said, source, Channel::User, Trust::Caller, place);
        }
        text
    }

    #[test]
    fn plain_text_costs_no_copy() {
        assert!(Normal::of(&text(&["It’s 100 % “plain” & é", "two"])).is_none());
        assert_eq!(next_odd("日本語 — é\u{200b}", 0), Some("日本語 — é".len()));
    }

    #[test]
    fn layers_of_escapes_come_off_together() {
        let cases = [
            ("%2534", "4"),
            ("&amp;#52;", "4"),
            ("%26%2352%3B", "4"),
            (r"\u0026#52;", "4"),
            ("％３４", "4"),
            ("%\u{200b}34", "4"),
            ("&#8203;4&#xff11;", "41"),
            ("4\u{200b}\u{200c}0", "40"),
        ];
        for (said, wanted) in cases {
            let normal = Normal::of(&text(&["a", said])).unwrap();
            assert_eq!(normal.joined(), format!("a\0{wanted}"), "{said}");
        }
    }

    #[test]
    fn a_span_leads_back_to_all_that_it_stands_for() {
        let said = "é x\u{200b}4&#48;ﬁ\u{200b} y";
        let normal = Normal::of(&text(&[said])).unwrap();
        assert_eq!(normal.joined(), "é x40fi y");
        let plain = |wanted: &str| {
            let at = normal.joined().find(wanted).unwrap();
            said.get(normal.plain(0, &(at..at + wanted.len()))).unwrap()
        };
        assert_eq!(plain("40"), "4&#48;");
        assert_eq!(plain("0f"), "&#48;ﬁ");
        assert_eq!(plain("i"), "ﬁ");
        assert_eq!(plain("x4"), "x\u{200b}4");
        assert_eq!(plain(" y"), " y");
        assert_eq!(plain("é"), "é");
    }

    proptest! {
        #[test]
        fn spans_stay_in_order_and_on_letters(
            said in "(%|3|4|&#52;|\u{200b}|ﬁ|é|a| |４|\\\\u0034|\\\\){0,20}",
            tail in any::<String>(),
        ) {
            let said = format!("{said}{tail}");
            let all = text(&[&said]);
            if let Some(normal) = Normal::of(&all) {
                let mut last = 0;
                for (at, letter) in normal.joined().char_indices() {
                    let span = normal.plain(0, &(at..at + letter.len_utf8()));
                    assert!(said.get(span.clone()).is_some_and(|own| !own.is_empty()), "{span:?}");
                    assert!(span.start >= last || span.end >= last);
                    last = span.start;
                }
            }
        }
    }
}
