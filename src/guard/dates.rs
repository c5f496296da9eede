//! Checks of dates, of addresses in networks, of banks and of plates.

use crate::guard::sums::is_date;
use std::net::Ipv6Addr;

/// A bank (BIC, ISO 9362): four letters, a country, a place and perhaps a branch.
pub fn bic(text: &str) -> bool {
    let text = text.replace(' ', "");
    let country = text.get(4..6).unwrap_or_default();
    matches!(text.len(), 8 | 11)
        && COUNTRIES.as_bytes().chunks_exact(2).any(|own| own == country.as_bytes())
}

/// Countries by ISO 3166, one behind the other.
const COUNTRIES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZ\
                         CACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFM\
                         FOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRIS\
                         ITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKML\
                         MMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPN\
                         PRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTG\
                         THTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";

/// A day in one of the usual orders; years of two digits may be of either century.
pub fn date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '/', '.', ' ']).collect();
    let [first, second, third] = parts.as_slice() else { return false };
    let number = |part: &str| part.parse::<u32>().ok();
    let (Some(a), Some(b), Some(c)) = (number(first), number(second), number(third)) else {
        return false;
    };
    let year = |part: &str, year: u32| match part.len() {
        4 if (1890..=2035).contains(&year) => Some(year),
        2 => Some(2000 + year),
        _ => None,
    };
    let last = year(third, c).is_some_and(|year| is_date(year, b, a) || is_date(year, a, b));
    let lead = first.len() == 4 && year(first, a).is_some_and(|year| is_date(year, b, c));
    last || lead
}

/// A telephone number as a country writes it for itself, where words say that it is one.
pub fn phone_local(text: &str) -> bool {
    let count = text.bytes().filter(u8::is_ascii_digit).count();
    let longest = text.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max();
    let is_amount = text.matches('.').count() == 1 && longest.is_some_and(|longest| longest > 5);
    (7..=14).contains(&count) && !date(text) && !is_amount
}

/// Month and year of a card.
pub fn expiry(text: &str) -> bool {
    let Some((month, year)) = text.split_once(['/', '-', ' ']) else { return false };
    let year = year.trim();
    let is_month = month.trim().parse().is_ok_and(|month: u32| (1..=12).contains(&month));
    let is_year = year.parse().is_ok_and(|year: u32| matches!(year, 15..=50 | 2015..=2050));
    is_month && is_year
}

/// An address of IPv6 that could be a host: not `::`, and not a time or a name with colons.
pub fn ipv6(text: &str) -> bool {
    let Ok(address) = text.parse::<Ipv6Addr>() else { return false };
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    !address.is_unspecified() && groups >= 3
}

/// An Ethereum address: not all of one digit.
pub fn eth(text: &str) -> bool {
    let body = text.get(2..).unwrap_or_default().as_bytes();
    body.len() == 40 && body.windows(2).any(|pair| !matches!(pair, [a, b] if a == b))
}

/// A plate: letters and digits both.
pub fn plate(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::{bic, date, eth, expiry, ipv6, plate};

    /// A check, a text that holds and one that does not.
    type Case = (fn(&str) -> bool, &'static str, &'static str);

    #[test]
    fn what_is_there_is_told_from_what_cannot_be() {
        let all: [Case; 8] = [
            (bic, "DEUTDEFF", "DEUTXXFF"),
            (bic, "ABNANL2AXXX", "ABNANL2AX"),
            (date, "31/12/1990", "31/13/1990"),
            (date, "1990-12-31", "1990-12-32"),
            (expiry, "09/27", "13/27"),
            (ipv6, "2001:db8::8a2e:370:7334", "10:20:30"),
            (
                eth,
                "0x52908400098527886E0F7030069857D2E4169EE7",
                "0x0000000000000000000000000000000000000000",
            ),
            (plate, "AB12 CDE", "ABCDE"),
        ];
        for (check, right, wrong) in all {
            assert!(check(right), "{right}");
            assert!(!check(wrong), "{wrong}");
        }
    }
}
