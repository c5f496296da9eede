//! The streamed masker: wherever a text is split, the same leaves.

use ringwall::base::text::{Channel, Place};
use ringwall::config::model::Guard;
use ringwall::guard::inspect::Matcher;
use ringwall::guard::rules::Rules;
use ringwall::guard::stream::{StreamForm, StreamMasker};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static MATCHER: RefCell<Matcher> = RefCell::new({
        let rules = Rules::compile(&Guard { enabled: true, ..Guard::default() });
        Matcher::new(Arc::new(rules.expect("the packs compile"))).expect("a matcher")
    });
}

pub(crate) fn check(data: &[u8]) {
    // The first bytes say where the rest is split.
    let Some((cuts, text)) = data.split_at_checked(4) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    MATCHER.with_borrow_mut(|matcher| {
        for form in [StreamForm::Text, StreamForm::Json] {
            let whole = read(matcher, form, &[text]);
            let (mut pieces, mut rest) = (Vec::new(), text);
            for cut in cuts.iter().cycle() {
                let at = rest.ceil_char_boundary(usize::from(*cut % 31) + 1).min(rest.len());
                let (piece, left) = rest.split_at(at);
                pieces.push(piece);
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            let split = read(matcher, form, &pieces);
            // What was blocked may have let out more or less of what came before it.
            assert_eq!(whole.is_none(), split.is_none(), "{pieces:?}");
            assert_eq!(whole, split, "{pieces:?}");
        }
    });
}

/// What leaves; nothing where it was blocked.
fn read(matcher: &mut Matcher, form: StreamForm, pieces: &[&str]) -> Option<String> {
    let place = Place { path: "choices[#].delta.content", indexes: [0, 0] };
    let mut masker = StreamMasker::new(form, Channel::Assistant, place);
    let mut out = String::new();
    for piece in pieces {
        masker.push(matcher, piece, &mut out).ok()?;
    }
    masker.finish(matcher, &mut out).ok()?;
    Some(out)
}
