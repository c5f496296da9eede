//! The names that a certificate holds: of a server for the choice by SNI, of a client for the
//! identity gate.
//!
//! Whether a certificate is to be trusted, rustls has decided before anything here is asked. The
//! alternative names are read by the same crate that verifies; the subject's common name, which it
//! does not read, by a walk of a few lines over its DER.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Names that are taken from one certificate; one with more is no caller's.
const NAMES_MAX: usize = 32;
/// Bytes of a SPIFFE id (SPIFFE-ID §2.3).
const SPIFFE_BYTES_MAX: usize = 2048;
/// Bytes of a common name; X.520 has room for 64 characters.
const COMMON_NAME_BYTES_MAX: usize = 256;

/// The DNS names of a certificate, wildcards too. None where it cannot be read.
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    EndEntityCert::try_from(certificate)
        .map(|read| read.valid_dns_names().take(NAMES_MAX).map(Box::from).collect())
        .unwrap_or_default()
}

/// What a client's certificate says of it, as the configuration writes it: `spiffe://…`, `dns:…`
/// in lower case, `cn:…`.
pub fn client_names(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(read) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    let mut uris = read.valid_uri_names();
    // An SVID holds exactly one URI (X509-SVID §2); of several none is its id.
    if let (Some(uri), None) = (uris.next(), uris.next())
        && is_spiffe(uri)
    {
        names.push(Box::from(uri));
    }
    let dns = read.valid_dns_names().filter(|name| !name.starts_with('*'));
    names.extend(
        dns.take(NAMES_MAX).map(|name| format!("dns:{}", name.to_ascii_lowercase()).into()),
    );
    names.extend(common_name(read.subject()).map(|name| format!("cn:{name}").into()));
    names
}

fn is_spiffe(uri: &str) -> bool {
    uri.starts_with("spiffe://")
        && uri.len() <= SPIFFE_BYTES_MAX
        && uri.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The common name of a subject: the content of an RFC 5280 `Name`. None where there are several.
fn common_name(mut subject: &[u8]) -> Option<&str> {
    let mut found = None;
    while !subject.is_empty() {
        let (set, rest) = element(subject, SET)?;
        subject = rest;
        let mut attributes = set;
        while !attributes.is_empty() {
            let (attribute, rest) = element(attributes, SEQUENCE)?;
            attributes = rest;
            let (kind, value) = element(attribute, OBJECT_IDENTIFIER)?;
            if kind != COMMON_NAME {
                continue;
            }
            if found.is_some() {
                return None;
            }
            let text = element(value, UTF8_STRING).or_else(|| element(value, PRINTABLE_STRING));
            let (text, end) = text?;
            found = std::str::from_utf8(text).ok().filter(|text| is_plain(text) && end.is_empty());
            found?;
        }
    }
    found
}

/// A name that reads as one: a NUL or a line end could make two names look like one.
fn is_plain(text: &str) -> bool {
    (1..=COMMON_NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

/// The content of an element, and what follows it.
pub(crate) type Element<'a> = (&'a [u8], &'a [u8]);

/// What holds other elements, in order.
pub(crate) const SEQUENCE: u8 = 0x30;

const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
/// `2.5.4.3`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The content of a DER element of that tag, and what follows it. Lengths are in the shortest form
/// (X.690 §10.1), of at most two bytes: no certificate is longer.
pub(crate) fn element(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (length, rest) = match *rest {
        [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [0x81, length @ 0x80..=0xff, ref rest @ ..] => (usize::from(length), rest),
        [0x82, high @ 1..=0xff, low, ref rest @ ..] => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::{client_names, common_name, dns_names, element};
    use proptest::prelude::{any, proptest};
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use rustls::pki_types::CertificateDer;

    fn certificate(common: &str, alternative: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "ringwall");
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternative;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn every_kind_of_name_is_read_as_the_configuration_writes_it() {
        let long = "n".repeat(200);
        let names =
            vec![uri("spiffe://example.org/agent"), dns("Agent.Example.org"), dns("*.x.org")];
        let read = client_names(&certificate(&long, names.clone()));
        let expected =
            ["spiffe://example.org/agent", "dns:agent.example.org", &format!("cn:{long}")];
        assert_eq!(read.iter().map(|name| &**name).collect::<Vec<_>>(), expected);
        let shown = dns_names(&certificate("c", names));
        assert_eq!(
            shown.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["Agent.Example.org", "*.x.org"]
        );
    }

    #[test]
    fn two_ids_are_none_and_another_uri_is_no_id() {
        let two = vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b")];
        assert_eq!(client_names(&certificate("c", two)), [Box::from("cn:c")]);
        let web = vec![uri("https://example.org/a")];
        assert_eq!(client_names(&certificate("c", web)), [Box::from("cn:c")]);
    }

    #[test]
    fn a_common_name_that_misleads_is_none() {
        for name in ["admin\0.example.org", "two\nlines", &"n".repeat(257)] {
            assert!(client_names(&certificate(name, Vec::new())).is_empty(), "{name:?}");
        }
        let one: &[u8] = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a";
        assert_eq!(common_name(one), Some("a"));
        assert_eq!(common_name(&[one, one].concat()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_no_subject_is_no_name(bytes in any::<Vec<u8>>()) {
            if let Some(name) = common_name(&bytes) {
                assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
            }
        }

        #[test]
        fn a_subject_that_is_cut_anywhere_has_no_name(at in 0_usize..12) {
            let one: &[u8] = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a";
            assert_eq!(common_name(&one[..at]), None);
        }

        #[test]
        fn an_element_is_read_for_every_length_and_no_longer_form(length in 0_usize..70_000) {
            let content = vec![7; length];
            let bytes = |head: &[u8]| [head, &content[..]].concat();
            let [.., high, low] = length.to_be_bytes();
            let forms = [vec![0x0c, low], vec![0x0c, 0x81, low], vec![0x0c, 0x82, high, low]];
            let fits = match length { 0..0x80 => 0, 0x80..0x100 => 1, 0x100..0x1_0000 => 2, _ => 9 };
            for (index, form) in forms.iter().enumerate() {
                let whole = bytes(form);
                let read = element(&whole, 0x0c);
                if index == fits {
                    assert_eq!(read, Some((&content[..], &b""[..])));
                } else if index > fits {
                    assert_eq!(read, None);
                }
            }
        }
    }
}
