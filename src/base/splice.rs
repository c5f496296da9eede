//! Edits of a body: an ordered list of spans and what stands there instead.
//!
//! Every byte outside the spans leaves exactly as it came.

use std::ops::Range;

/// The edits of one body.
#[derive(Clone, Debug, Default)]
pub struct Splices {
    edits: Vec<Edit>,
}

#[derive(Clone, Debug)]
struct Edit {
    span: Range<usize>,
    with: Vec<u8>,
}

impl Splices {
    /// Puts `with` where `span` of the original stands. An empty span inserts.
    pub fn replace(&mut self, span: Range<usize>, with: impl Into<Vec<u8>>) {
        self.edits.push(Edit { span, with: with.into() });
    }

    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// What a span becomes, if anything of it is edited; edits that reach beyond it do not count.
    pub fn within(&self, span: &Range<usize>, raw: &[u8]) -> Option<Vec<u8>> {
        let inside = |edit: &&Edit| span.start <= edit.span.start && edit.span.end <= span.end;
        let mut own = Self::default();
        for edit in self.edits.iter().filter(inside) {
            let (start, end) = (edit.span.start - span.start, edit.span.end - span.start);
            own.replace(start..end, edit.with.clone());
        }
        (!own.is_empty()).then(|| own.apply(raw.get(span.clone()).unwrap_or_default()))
    }

    /// The edited body. Where edits overlap, the one that begins first (of two, the longer) wins
    /// and what lies within it is dropped: a removed element takes the masks inside it along. What
    /// is inserted where another edit begins stands before it.
    pub fn apply(mut self, raw: &[u8]) -> Vec<u8> {
        self.edits.sort_by(|one, two| {
            let longer_first = two.span.end.cmp(&one.span.end);
            let inserts_first = two.span.is_empty().cmp(&one.span.is_empty());
            one.span.start.cmp(&two.span.start).then(inserts_first).then(longer_first)
        });
        let added: usize = self.edits.iter().map(|edit| edit.with.len()).sum();
        let mut out = Vec::with_capacity(raw.len() + added);
        let mut at = 0;
        for edit in &self.edits {
            if edit.span.start < at {
                continue;
            }
            out.extend_from_slice(raw.get(at..edit.span.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            at = edit.span.end;
        }
        out.extend_from_slice(raw.get(at..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Splices;

    #[test]
    fn edits_land_in_order_and_the_outer_one_wins() {
        let mut splices = Splices::default();
        splices.replace(6..9, "-");
        splices.replace(0..0, "<");
        splices.replace(2..5, "X");
        splices.replace(3..4, "inner");
        splices.replace(10..10, ">");
        splices.replace(6..6, "^");
        assert_eq!(splices.apply(b"0123456789"), b"<01X5^-9>");
    }
}
