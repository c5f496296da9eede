//! Until when a certificate is valid.
//!
//! A listener shows its certificate whether clients still take it or not, so nobody would notice
//! the day before. What verifies, verifies the other side's and keeps the dates to itself: they are
//! read here, by a walk over the DER (RFC 5280 §4.1).

use crate::base::clock::Wall;
use crate::wire::names::{SEQUENCE, element};
use rustls::pki_types::CertificateDer;

/// When the first certificate of a chain ends: from then on the chain is worth nothing. None where
/// one cannot be read.
pub fn valid_until(chain: &[CertificateDer<'_>]) -> Option<Wall> {
    let ends: Option<Vec<Wall>> = chain.iter().map(|one| not_after(one)).collect();
    ends?.into_iter().min()
}

/// The `notAfter` of a certificate.
fn not_after(certificate: &[u8]) -> Option<Wall> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let signed = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, rest) = element(signed, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, end) = time(validity)?;
    let (end, _) = time(end)?;
    Some(end)
}

/// A time, and what follows it.
type Time<'a> = (Wall, &'a [u8]);

/// Reads a time: to the second and in UTC, as certificates must write it
/// (RFC 5280 §4.1.2.5).
fn time(bytes: &[u8]) -> Option<Time<'_>> {
    if let Some((text, rest)) = element(bytes, UTC_TIME) {
        let text = std::str::from_utf8(text).ok()?;
        let century = if text.get(..2)? < "50" { "20" } else { "19" };
        return Some((stamp(&format!("{century}{text}"))?, rest));
    }
    let (text, rest) = element(bytes, GENERALIZED_TIME)?;
    Some((stamp(std::str::from_utf8(text).ok()?)?, rest))
}

/// Reads `20270131235959Z`. What was before the epoch is as long ago as can be said.
fn stamp(text: &str) -> Option<Wall> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if year < "1970" {
        return Some(Wall(0));
    }
    Wall::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, explicit.
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::{not_after, stamp, valid_until};
    use crate::base::clock::Wall;
    use proptest::prelude::{any, proptest};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::pki_types::CertificateDer;

    fn until(year: i32, month: u8, day: u8) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let said = |chain: &[CertificateDer<'_>]| valid_until(chain).map(Wall::rfc3339);
        // Up to 2049 with two digits of the year, from 2050 on with four.
        for (year, date) in [(2031, "2031-02-28"), (2049, "2049-02-28"), (2050, "2050-02-28")] {
            let stamp = format!("{date}T00:00:00.000Z");
            assert_eq!(said(&[until(year, 2, 28)]), Some(stamp.clone()));
            assert_eq!(said(&[until(2060, 1, 1), until(year, 2, 28)]), Some(stamp));
        }
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[until(2031, 2, 28), CertificateDer::from(vec![0x30, 0])]), None);
    }

    #[test]
    fn a_time_is_to_the_second_and_in_utc() {
        assert_eq!(stamp("20270131235959Z"), Wall::parse("2027-01-31T23:59:59Z"));
        assert_eq!(stamp("19491231000000Z"), Some(Wall(0)));
        for odd in ["20270131235959", "202701312359Z", "2027013123595+Z", "20271331235959Z", "Z"] {
            assert_eq!(stamp(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_no_certificate_has_no_end(bytes in any::<Vec<u8>>()) {
            assert_eq!(not_after(&bytes), None);
        }

        #[test]
        fn a_certificate_that_is_cut_is_read_or_not_and_that_is_all(at in 0_usize..200) {
            let whole = until(2031, 2, 28);
            assert_eq!(not_after(&whole[..at.min(whole.len() - 1)]), None);
        }
    }
}
