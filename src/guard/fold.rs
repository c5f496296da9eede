//! What a character stands for to a reader: the plain letter that it looks like, or nothing at all.
//!
//! Compatible forms (NFKC), digits of other scripts and look-alikes (UTS 39) become ASCII;
//! characters that are not seen and marks over letters go. Letters that merely have an accent stay.
//! Russian words lose some of their letters to Latin ones this way, so what is made with this table
//! is read beside the text as it stands and never instead of it.

use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

/// What becomes of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It stays.
    Same,
    /// It is not seen.
    Gone,
    /// It stands for this one.
    One(char),
    /// It stands for these.
    Many(&'static [char]),
}

/// Characters from here on stay, but for those in [`FAR`].
const TABLE_END: usize = 0x2_0000;
const BLOCK: usize = 256;
/// Codes of a cell below this are ASCII letters, from there on they count sequences.
const SEQUENCES: u16 = 0x80;
const SAME: u16 = 0;
const GONE: u16 = 1;

/// Tags and the far variation selectors, which are not seen.
const FAR: std::ops::RangeInclusive<char> = '\u{e0000}'..='\u{e0fff}';

struct Table {
    blocks: Vec<u16>,
    cells: Vec<u16>,
    sequences: Vec<Box<[char]>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// Looks a character up.
pub fn fold(letter: char) -> Fold {
    if letter.is_ascii() {
        return if is_unseen_ascii(letter) { Fold::Gone } else { Fold::Same };
    }
    TABLE.get(letter)
}

/// Makes the table, so that no request waits for it: some milliseconds.
pub fn prepare() {
    LazyLock::force(&TABLE);
}

/// What deletes. Other control characters part words, as they do for whoever reads the text.
const fn is_unseen_ascii(letter: char) -> bool {
    letter == '\u{7f}'
}

impl Table {
    fn new() -> Self {
        let mut table = Self { blocks: Vec::new(), cells: Vec::new(), sequences: Vec::new() };
        for block in 0..TABLE_END / BLOCK {
            let all: Vec<u16> = (block * BLOCK..(block + 1) * BLOCK)
                .map(|code| table.cell(u32::try_from(code).ok().and_then(char::from_u32)))
                .collect();
            let known = table.cells.chunks(BLOCK).position(|cells| cells == all);
            let place = known.unwrap_or(table.cells.len() / BLOCK);
            if known.is_none() {
                table.cells.extend(all);
            }
            table.blocks.push(u16::try_from(place).unwrap_or(u16::MAX));
        }
        table
    }

    fn cell(&mut self, letter: Option<char>) -> u16 {
        let Some(letter) = letter.filter(|letter| !letter.is_ascii()) else { return SAME };
        if is_unseen(letter) {
            return GONE;
        }
        let stands = stands_for(letter);
        match *stands.as_slice() {
            [] => SAME,
            [one] if one.is_ascii() => u16::try_from(u32::from(one)).unwrap_or(SAME),
            _ => self.sequence(stands),
        }
    }

    fn sequence(&mut self, letters: Vec<char>) -> u16 {
        let index = self.sequences.len();
        self.sequences.push(letters.into());
        u16::try_from(index + usize::from(SEQUENCES)).unwrap_or(SAME)
    }

    fn get(&'static self, letter: char) -> Fold {
        let code = usize::try_from(u32::from(letter)).unwrap_or(usize::MAX);
        let Some(block) = self.blocks.get(code / BLOCK) else {
            return if FAR.contains(&letter) { Fold::Gone } else { Fold::Same };
        };
        match self.cells.get(usize::from(*block) * BLOCK + code % BLOCK).copied() {
            None | Some(SAME) => Fold::Same,
            Some(GONE) => Fold::Gone,
            Some(ascii) if ascii < SEQUENCES => {
                Fold::One(char::from(u8::try_from(ascii).unwrap_or(b' ')))
            }
            Some(index) => match self.sequences.get(usize::from(index - SEQUENCES)) {
                Some(letters) => match **letters {
                    [one] => Fold::One(one),
                    _ => Fold::Many(letters),
                },
                None => Fold::Same,
            },
        }
    }
}

/// Format characters, fillers and marks that stand over, under or around a letter.
fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}'
        | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}'
        | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{13455}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}')
        || is_combining_mark(letter)
}

/// What stands for a letter; nothing where it stands for itself.
fn stands_for(letter: char) -> Vec<char> {
    if is_kept(letter) {
        return Vec::new();
    }
    if let Some(plain) = digit(letter).or_else(|| blank(letter)).or_else(|| in_a_frame(letter)) {
        return vec![plain];
    }
    if let Some(number) = number_in_a_frame(letter) {
        return number.to_string().chars().collect();
    }
    let compatible: Vec<char> = std::iter::once(letter).nfkc().collect();
    if compatible.iter().all(char::is_ascii) {
        return compatible;
    }
    if let Some(alike) = looks_like(letter) {
        return vec![alike];
    }
    if compatible == [letter] { Vec::new() } else { compatible }
}

/// Dashes, quotes and dots that everybody writes, and scripts whose letters look like nothing
/// Latin: they cost nothing this way. Hyphens and dashes are known to the rules.
const fn is_kept(letter: char) -> bool {
    matches!(letter,
        '\u{2010}'..='\u{2014}' | '\u{2018}'..='\u{201f}' | '\u{2022}' | '\u{2026}'
        | '\u{3001}'..='\u{33ff}' | '\u{3400}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// Decimal digits of all scripts (Unicode's `Nd`), from the zero of each.
fn digit(letter: char) -> Option<char> {
    const ZEROS: [u32; 62] = [
        0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6,
        0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0,
        0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0,
        0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0,
        0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0,
        0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1fbf0,
    ];
    let code = u32::from(letter);
    let after = ZEROS.partition_point(|zero| *zero <= code);
    let zero = after.checked_sub(1).and_then(|index| ZEROS.get(index))?;
    char::from_digit(code - zero, 10)
}

/// Blanks of all widths, and line ends.
const fn blank(letter: char) -> Option<char> {
    match letter {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some(' ')
        }
        '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        _ => None,
    }
}

/// Letters in circles, squares and brackets, of which NFKC knows some, and with the frame.
fn in_a_frame(letter: char) -> Option<char> {
    let code = u32::from(letter);
    let (first, base) = match code {
        0x249c..=0x24b5 => (0x249c, b'a'),
        0x24b6..=0x24cf => (0x24b6, b'A'),
        0x24d0..=0x24e9 => (0x24d0, b'a'),
        0x1f110..=0x1f129 => (0x1f110, b'A'),
        0x1f130..=0x1f149 => (0x1f130, b'A'),
        0x1f150..=0x1f169 => (0x1f150, b'A'),
        0x1f170..=0x1f189 => (0x1f170, b'A'),
        0x1f1e6..=0x1f1ff => (0x1f1e6, b'A'),
        _ => return None,
    };
    char::from_u32(u32::from(base) + code - first)
}

/// Numbers in circles and brackets, and with a point or comma.
fn number_in_a_frame(letter: char) -> Option<u32> {
    let code = u32::from(letter);
    Some(match code {
        0x2460..=0x2473 => code - 0x2460 + 1,
        0x2474..=0x2487 => code - 0x2474 + 1,
        0x2488..=0x249b => code - 0x2488 + 1,
        0x24ea | 0x24ff | 0x1f100 | 0x1f10b | 0x1f10c => 0,
        0x24eb..=0x24f4 => code - 0x24eb + 11,
        0x24f5..=0x24fe => code - 0x24f5 + 1,
        0x2776..=0x277f => code - 0x2776 + 1,
        0x2780..=0x2789 => code - 0x2780 + 1,
        0x278a..=0x2793 => code - 0x278a + 1,
        0x1f101..=0x1f10a => code - 0x1f101,
        _ => return None,
    })
}

/// The ASCII letter, digit or mark that a letter of a kindred script can be taken for.
fn looks_like(letter: char) -> Option<char> {
    let is_kindred = matches!(u32::from(letter),
        0x80..=0x58f | 0x13a0..=0x13ff | 0x1c80..=0x1c8f | 0x1d00..=0x1dbf | 0x1e00..=0x2bff
        | 0x2c60..=0x2cff | 0x2de0..=0x2dff | 0xa4d0..=0xa4ff | 0xa640..=0xa69f | 0xa720..=0xa7ff
        | 0xab30..=0xabbf | 0x10280..=0x104ff | 0x118a0..=0x118ff | 0x16f00..=0x16f9f);
    if !is_kindred {
        return None;
    }
    // Upper-case letters whose look-alikes are called small, since `l` and `I` are one to UTS 39.
    let text = letter.to_string();
    let mut alike = skeleton(&text);
    let (first, more) = (alike.next()?, alike.next());
    if !first.is_ascii() || more.is_some() {
        return None;
    }
    if letter.is_alphanumeric() != first.is_ascii_alphanumeric() {
        return None;
    }
    match first {
        'l' if letter.is_uppercase() => Some('I'),
        _ if first.is_ascii_alphanumeric() || matches!(first, '-' | '.' | '/' | ':' | '_') => {
            Some(first)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fold, fold};

    fn folded(text: &str) -> String {
        let mut out = String::new();
        for letter in text.chars() {
            match fold(letter) {
                Fold::Same => out.push(letter),
                Fold::Gone => {}
                Fold::One(one) => out.push(one),
                Fold::Many(many) => out.extend(many),
            }
        }
        out
    }

    #[test]
    fn letters_that_look_alike_become_plain() {
        let cases = [
            ("４０１２", "4012"),
            ("𝟒𝟎𝟙𝟚", "4012"),
            ("④⓪①②❽➇", "401288"),
            ("٤٠١٢४०", "401240"),
            ("АКІА ІЅ", "AKIA IS"),
            ("ᎪᏦ", "AK"),
            ("ΑΚΙΑ", "AKIA"),
            ("𝐀𝔎𝕀𝙰", "AKIA"),
            ("ⒶⓀ🄰🅺🇦", "AKAKA"),
            ("іgnоrе", "ignore"),
            ("ﬁn™", "finTM"),
            ("a．b＠c", "a.b@c"),
            ("4\u{2003}0\u{a0}1\u{3000}2", "4 0 1 2"),
            ("4\u{2212}0", "4-0"),
        ];
        for (said, wanted) in cases {
            assert_eq!(folded(said), wanted, "{said}");
        }
    }

    #[test]
    fn what_is_not_seen_goes() {
        let unseen = [
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{feff}",
            "\u{ad}",
            "\u{2060}",
            "\u{fe0f}",
            "\u{202e}",
            "\u{2066}",
            "\u{e0041}",
            "\u{e0101}",
            "\u{301}",
            "\u{20e3}",
            "\u{3164}",
            "\u{7f}",
            "\u{34f}",
        ];
        for one in unseen {
            assert_eq!(
                folded(&format!("4{one}0")),
                "40",
                "{:x}",
                u32::from(one.chars().next().unwrap())
            );
        }
    }

    #[test]
    fn prose_stays_as_it_is() {
        let prose = "It’s a “café” — naïve, 20 %… • 図書館は川に面して、四百人。도서관 €5 §3 ©";
        assert_eq!(folded(prose), prose);
        assert_eq!(folded("a\tb\r\n"), "a\tb\r\n");
    }
}
