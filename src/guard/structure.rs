//! Exact checks of shape: what no honest text of its channel looks like.

use crate::base::text::Channel;
use memchr::memchr3_iter;
use std::ops::Range;

/// So many invisible letters in a row are a message; emoji and scripts need fewer.
const TAGS_MIN: usize = 4;
/// So many zero-width characters in a row carry bits.
const ZERO_WIDTH_MIN: usize = 12;

/// One of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Letters that nobody sees: tag characters, variation selectors, zero-width bits.
    HiddenUnicode,
}

impl Check {
    /// The check of that name, as packs write it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "hidden_unicode" => Some(Self::HiddenUnicode),
            _ => None,
        }
    }
}

/// A check that holds, and where.
type Shape = (Check, Range<usize>);

/// What was found in a text.
#[derive(Debug, Default)]
pub struct Shapes {
    list: Vec<Shape>,
}

impl Shapes {
    /// The first place at which a check holds.
    pub fn first(&self, check: Check) -> Option<Range<usize>> {
        self.list.iter().find(|(own, _)| *own == check).map(|(_, span)| span.clone())
    }
}

/// Runs all checks on a text of that channel.
pub fn look(said: &str, _channel: Channel) -> Shapes {
    let mut shapes = Shapes::default();
    shapes.list.extend(hidden(said).map(|span| (Check::HiddenUnicode, span)));
    shapes
}

/// What kind of invisible character it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unseen {
    Tag,
    Selector,
    ZeroWidth,
}

impl Unseen {
    const fn of(letter: char) -> Option<Self> {
        match letter {
            '\u{E0020}'..='\u{E007E}' => Some(Self::Tag),
            '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => Some(Self::Selector),
            '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' => Some(Self::ZeroWidth),
            _ => None,
        }
    }

    const fn least(self) -> usize {
        match self {
            Self::Tag | Self::Selector => TAGS_MIN,
            Self::ZeroWidth => ZERO_WIDTH_MIN,
        }
    }
}

/// The first run of invisible characters that is long enough to say something. The flags of
/// regions (Unicode Technical Standard 51, emoji tag sequences) are a black flag and tags.
fn hidden(said: &str) -> Option<Range<usize>> {
    let (mut kind, mut run, mut count) = (None, 0..0, 0);
    for at in memchr3_iter(0xE2, 0xEF, 0xF3, said.as_bytes()) {
        let Some(letter) = said.get(at..).and_then(|rest| rest.chars().next()) else { continue };
        let Some(own) = Unseen::of(letter) else { continue };
        if at != run.end || kind != Some(own) {
            (kind, run, count) = (Some(own), at..at, 0);
        }
        run.end = at + letter.len_utf8();
        count += 1;
        let is_flag = || said.get(..run.start).is_some_and(|text| text.ends_with('\u{1F3F4}'));
        if count >= own.least() && !(own == Unseen::Tag && is_flag()) {
            return Some(whole(said, run, own));
        }
    }
    None
}

/// The run up to its last character.
fn whole(said: &str, begun: Range<usize>, kind: Unseen) -> Range<usize> {
    let rest = said.get(begun.end..).unwrap_or_default();
    let more = rest.chars().take_while(|letter| Unseen::of(*letter) == Some(kind));
    begun.start..begun.end + more.map(char::len_utf8).sum::<usize>()
}
