//! Checks of links: where they lead is not what they look like, or is no place to go.

use crate::guard::hosts::{imitates, is_confusable, is_obscured, is_public};
use crate::guard::linear::Sums;
use memchr::memmem;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The longest address that is read; a longer one is read up to here.
const URL_BYTES_MAX: usize = 2048;
/// At most so many links of one window are looked at.
const LINKS_MAX: usize = 256;

/// One of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A host with letters that look like others, written out or in Punycode.
    Confusable,
    /// A name such as `invoice.pdf.exe`.
    DoubleExtension,
    /// A host that imitates a known name.
    LookAlike,
    /// A number in place of a name: a public address, or one that is written to be misread.
    RawAddress,
    /// `javascript:`, `vbscript:` or a whole page in `data:`.
    Scheme,
    /// A learned score of its letters.
    Score,
    /// A name before the host, with a point, that is taken for the host.
    UserInfo,
}

/// Checks by their names in packs.
const NAMES: [(&str, Check); 7] = [
    ("confusable", Check::Confusable),
    ("double_extension", Check::DoubleExtension),
    ("look_alike", Check::LookAlike),
    ("raw_address", Check::RawAddress),
    ("scheme", Check::Scheme),
    ("score", Check::Score),
    ("user_info", Check::UserInfo),
];

impl Check {
    /// The check of that name, as packs write it.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(own, _)| *own == name).map(|(_, check)| *check)
    }
}

/// A link, cut into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Where it stands in the text.
    pub span: Range<usize>,
    user: &'a str,
    host: &'a str,
    /// Path, query and fragment.
    path: &'a str,
}

/// The links of a text: what has `://` in it, and the text itself if it is one address without.
pub fn links(said: &str) -> impl Iterator<Item = Link<'_>> {
    let whole = said.trim();
    let is_bare = whole.len() <= URL_BYTES_MAX
        && whole.contains('.')
        && !whole.contains("://")
        && !whole.contains(char::is_whitespace);
    let bare =
        is_bare.then(|| link(said, said.len() - said.trim_start().len()..said.trim_end().len(), 0));
    let found = memmem::find_iter(said.as_bytes(), "://").take(LINKS_MAX).map(|at| {
        let before = said.get(..at).unwrap_or_default();
        let scheme = before.bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        let rest = said.get(at + 3..).unwrap_or_default();
        let end = rest
            .find(|next: char| next.is_whitespace() || matches!(next, '"' | '<' | '>' | '`' | '|'));
        let length = rest.floor_char_boundary(end.unwrap_or(rest.len()).min(URL_BYTES_MAX));
        let inner = rest.get(..length).unwrap_or_default();
        let inner =
            inner.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '*']);
        link(said, at - scheme..at + 3 + inner.len(), scheme + 3)
    });
    bare.into_iter().chain(found)
}

fn link(said: &str, span: Range<usize>, prefix: usize) -> Link<'_> {
    let inner = said.get(span.start + prefix..span.end).unwrap_or_default();
    let end = inner.find(['/', '?', '#', '\\']).unwrap_or(inner.len());
    let (authority, path) = inner.split_at_checked(end).unwrap_or((inner, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = host.rfind(':').filter(|at| !host.get(*at..).unwrap_or_default().contains(']'));
    let host = host.get(..port.unwrap_or(host.len())).unwrap_or_default();
    Link { span, user, host, path }
}

/// The first link of a text for which a check holds.
pub fn first(said: &str, check: Check, least: f64) -> Option<Range<usize>> {
    if check == Check::Scheme {
        return scheme(said);
    }
    links(said).find(|link| link.is(check, least)).map(|link| link.span)
}

/// The highest score of any link: from 0 to 1, and 0.5 is where its rule speaks.
pub fn score(said: &str) -> Option<f64> {
    links(said).filter_map(|link| link.score()).reduce(f64::max)
}

impl Link<'_> {
    fn is(&self, check: Check, least: f64) -> bool {
        match check {
            Check::Confusable => is_confusable(self.host),
            Check::DoubleExtension => self.has_double_extension(),
            Check::LookAlike => imitates(self.host).is_some(),
            Check::RawAddress => {
                self.host.parse::<Ipv4Addr>().is_ok_and(is_public)
                    || self.host.strip_prefix('[').is_some_and(is_public_v6)
                    || is_obscured(self.host)
            }
            Check::Score => self.score().is_some_and(|score| score > least),
            Check::UserInfo => {
                let name = self.user.split(':').next().unwrap_or_default();
                name.contains('.') && name.len() < 64 && !name.contains('@')
            }
            Check::Scheme => false,
        }
    }

    fn score(&self) -> Option<f64> {
        if !self.host.contains('.') || self.host.starts_with('[') {
            return None;
        }
        self.sums().score_link()
    }

    /// Its features, summed up.
    pub fn sums(&self) -> Sums {
        Sums::of_link(self.host, self.path)
    }

    fn has_double_extension(&self) -> bool {
        let name = self.path.split(['?', '#']).next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let mut parts = name.rsplit('.');
        let (last, first) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let runs =
            ["exe", "scr", "bat", "cmd", "com", "js", "vbs", "jar", "msi", "ps1", "hta", "lnk"];
        let reads =
            ["pdf", "doc", "docx", "xls", "xlsx", "jpg", "png", "txt", "zip", "mp4", "csv", "ppt"];
        runs.contains(&last) && reads.contains(&first) && parts.next().is_some()
    }
}

fn is_public_v6(host: &str) -> bool {
    let address = host.trim_end_matches(']').parse::<Ipv6Addr>();
    address.is_ok_and(|address| {
        let [first, ..] = address.segments();
        first & 0xe000 == 0x2000
    })
}

/// A link that is a program or a page of its own.
fn scheme(said: &str) -> Option<Range<usize>> {
    let starts = memchr::memchr_iter(b':', said.as_bytes()).take(LINKS_MAX);
    starts.into_iter().find_map(|at| {
        let before = said.get(..at)?;
        let count = before.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
        let name = before.get(at - count..)?.to_ascii_lowercase();
        let rest = said.get(at + 1..)?;
        let is_quoted = before.get(..at - count)?.ends_with(['"', '\'', '(', '=', '<']);
        let runs = matches!(name.as_str(), "javascript" | "vbscript")
            && is_quoted
            && rest.starts_with(|next: char| !next.is_whitespace() && next != '"' && next != ')');
        let lower = rest.get(..rest.floor_char_boundary(16))?.to_ascii_lowercase();
        let is_page = name == "data"
            && ["text/html", "image/svg+xml", "application/x-"].iter().any(|kind| {
                kind.get(..lower.len().min(kind.len()))
                    == Some(lower.get(..lower.len().min(kind.len())).unwrap_or_default())
                    && lower.len() >= 9
            });
        (runs || is_page).then(|| at - count..at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::{Check, first, links, score};

    fn is(said: &str, check: Check) -> bool {
        first(said, check, 0.5).is_some()
    }

    #[test]
    fn links_are_cut_into_their_parts() {
        let said = "see (https://a.b@c.example:8443/p/q?x=1), or http://[2001:db8::1]/";
        let all: Vec<_> = links(said).collect();
        assert_eq!((all[0].user, all[0].host, all[0].path), ("a.b", "c.example", "/p/q?x=1"));
        assert_eq!(said.get(all[0].span.clone()), Some("https://a.b@c.example:8443/p/q?x=1"));
        assert_eq!((all[1].host, all[1].path), ("[2001:db8::1]", "/"));
        assert_eq!(links("no link. at all").count(), 0);
        assert_eq!(links(" evil.example/x ").next().unwrap().host, "evil.example");
    }

    #[test]
    fn each_check_sees_its_links_and_no_others() {
        let cases = [
            (
                Check::UserInfo,
                "https://www.paypal.com@evil.example/x",
                "https://anna@host.example/x",
            ),
            (
                Check::DoubleExtension,
                "http://a.example/invoice.pdf.exe?x",
                "http://a.example/app.min.js",
            ),
            (Check::RawAddress, "http://8.8.4.4/x", "http://127.0.0.1:8080/x"),
            (Check::RawAddress, "http://0x08080404/x", "http://192.168.1.20/"),
            (Check::RawAddress, "http://134744072/x", "http://version1.2.3.example/"),
            (Check::Scheme, "[x](javascript:alert(1))", "about javascript: the good parts"),
            (
                Check::Scheme,
                "<a href=\"data:text/html;base64,PHNj\">",
                "data:image/png;base64,iVBO",
            ),
            (Check::LookAlike, "https://paypa1.com/x", "https://www.paypal.com/x"),
            (Check::Confusable, "https://xn--pypal-4ve.com/", "https://xn--mnchen-3ya.de/"),
            (Check::Confusable, "https://p\u{430}ypal.com/", "https://m\u{fc}nchen.de/"),
        ];
        for (check, bad, good) in cases {
            assert!(is(bad, check), "{bad}");
            assert!(!is(good, check), "{good}");
        }
    }

    #[test]
    fn a_phish_scores_above_a_page_of_documentation() {
        let phish =
            score("http://secure-login.account-verify.example.tk/wp-includes/signin.php?id=92837");
        let page = score("https://docs.python.org/3/library/urllib.html");
        assert!(phish.unwrap() > page.unwrap());
    }
}
