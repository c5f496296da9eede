//! Numbers of people and firms in Europe: which are given out.

use crate::guard::sums::{
    at, compact, digits, is_date, is_same, is_short_date, luhn, mod_11_10, number, two, weighted,
};

/// United Kingdom: number of the National Health Service.
pub fn nhs(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let rest = 11 - weighted(&all, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    !is_same(&all) && rest % 11 == at(&all, 9) && rest != 10
}

/// United Kingdom: national insurance number; some letters and pairs are never given out.
pub fn nino(text: &str) -> bool {
    let text = compact(text);
    let head = text.get(..2).unwrap_or_default();
    let is_number = text.get(2..8).is_some_and(|tail| digits(tail, 6).is_some());
    let never = ["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"].contains(&head);
    is_number && !never && !head.contains(['D', 'F', 'I', 'Q', 'U', 'V']) && !head.ends_with('O')
}

/// United Kingdom: taxpayer reference.
pub fn utr(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let rest = weighted(all.get(1..).unwrap_or_default(), &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    let check = [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    usize::try_from(rest).ok().and_then(|rest| check.get(rest)) == Some(&at(&all, 0))
}

/// Spain: number of a person, a foreigner or a firm.
pub fn nif(text: &str) -> bool {
    let text = compact(text);
    let Some(first) = text.chars().next().filter(|_| text.len() == 9) else { return false };
    match first {
        '0'..='9' => dni(&text),
        'X' => dni(&text.replacen('X', "0", 1)),
        'Y' => dni(&text.replacen('Y', "1", 1)),
        'Z' => dni(&text.replacen('Z', "2", 1)),
        'K' | 'L' | 'M' => dni(&format!("0{}", text.get(1..).unwrap_or_default())),
        _ => cif(&text),
    }
}

fn dni(text: &str) -> bool {
    let Some((body, letter)) = text.split_at_checked(8) else { return false };
    let Some(all) = digits(body, 8) else { return false };
    let place = usize::try_from(number(&all) % 23).unwrap_or(0);
    "TRWAGMYFPDXBNJZSQVHLCKE".get(place..=place) == Some(letter)
}

fn cif(text: &str) -> bool {
    let Some(all) = text.get(1..8).and_then(|body| digits(body, 7)) else { return false };
    let (first, check) = (text.chars().next(), text.get(8..).unwrap_or_default());
    let double = |digit: u32| digit * 2 / 10 + digit * 2 % 10;
    let odd: u32 = (0..7).step_by(2).map(|place| double(at(&all, place))).sum();
    let even: u32 = (1..7).step_by(2).map(|place| at(&all, place)).sum();
    let sum = (10 - (odd + even) % 10) % 10;
    let place = usize::try_from(sum).unwrap_or(0);
    let letter = "JABCDEFGHI".get(place..=place) == Some(check);
    let digit = check.parse() == Ok(sum);
    match first {
        Some('P' | 'Q' | 'R' | 'S' | 'W' | 'N') => letter,
        Some('A' | 'B' | 'E' | 'H') => digit,
        Some('C' | 'D' | 'F' | 'G' | 'J' | 'U' | 'V') => letter || digit,
        _ => false,
    }
}

/// Italy: fiscal code, a letter that sums the fifteen before it.
pub fn codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let text = compact(text);
    let value = |byte: u8| u32::from(if byte > 64 { byte - 65 } else { byte - 48 });
    let odd = |byte: u8| usize::try_from(value(byte)).ok().and_then(|at| ODD.get(at)).copied();
    let sums = text
        .bytes()
        .take(15)
        .enumerate()
        .map(|(nth, byte)| if nth % 2 == 0 { odd(byte).unwrap_or(0) } else { value(byte) });
    let wanted = sums.sum::<u32>() % 26;
    text.len() == 16 && text.bytes().last().map(value) == Some(wanted)
}

/// Italy: value added tax number, Luhn.
pub fn partita_iva(text: &str) -> bool {
    let tail = compact(text);
    let tail = tail.strip_prefix("IT").unwrap_or(&tail);
    digits(tail, 11).is_some_and(|all| number(&all) > 9_999 && luhn(&all))
}

/// Poland: number of a person, a day and a sum.
pub fn pesel(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let month = two(&all, 2);
    let century = match month / 20 {
        0 => 1900,
        1 => 2000,
        2 => 2100,
        3 => 2200,
        _ => 1800,
    };
    let sum = weighted(&all, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10;
    is_date(century + two(&all, 0), month % 20, two(&all, 4)) && (10 - sum) % 10 == at(&all, 10)
}

/// Poland: tax number.
pub fn nip(text: &str) -> bool {
    let tail = compact(text);
    let tail = tail.strip_prefix("PL").unwrap_or(&tail);
    let Some(all) = digits(tail, 10) else { return false };
    !is_same(&all) && weighted(&all, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == at(&all, 9)
}

/// Poland: number of a firm, of nine digits or fourteen.
pub fn regon(text: &str) -> bool {
    let nine = |all: &[u32]| weighted(all, &[8, 9, 2, 3, 4, 5, 6, 7]) % 11 % 10 == at(all, 8);
    let long: &[u32] = &[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8];
    digits(text, 9).is_some_and(|all| nine(&all))
        || digits(text, 14)
            .is_some_and(|all| nine(&all) && weighted(&all, long) % 11 % 10 == at(&all, 13))
}

/// Finland: number of a person, a day, a century's sign and a letter.
pub fn hetu(text: &str) -> bool {
    let text = text.trim().to_ascii_uppercase();
    let (Some(day), Some(sign)) = (text.get(..6), text.get(6..7)) else { return false };
    let (Some(body), Some(check)) = (text.get(7..10), text.get(10..)) else { return false };
    let (Some(day), Some(body)) = (digits(day, 6), digits(body, 3)) else { return false };
    let century = match sign {
        "+" => 1800,
        "-" | "Y" | "X" | "W" | "V" | "U" => 1900,
        "A" | "B" | "C" | "D" | "E" | "F" => 2000,
        _ => return false,
    };
    let place = (number(&day) * 1000 + number(&body)) % 31;
    let place = usize::try_from(place).unwrap_or(0);
    let is_checked = "0123456789ABCDEFHJKLMNPRSTUVWXY".get(place..=place) == Some(check);
    let date = is_date(century + two(&day, 4), two(&day, 2), two(&day, 0));
    date && number(&body) >= 2 && is_checked
}

/// Sweden: number of a person; coordination numbers add sixty to the day.
pub fn personnummer(text: &str) -> bool {
    let long = digits(text, 12);
    let all = long.as_deref().and_then(|all| all.get(2..).map(<[u32]>::to_vec));
    let Some(all) = all.or_else(|| digits(text, 10)) else { return false };
    let day = two(&all, 4);
    let day = if day > 60 { day - 60 } else { day };
    is_short_date(two(&all, 0), two(&all, 2), day) && luhn(&all)
}

/// Denmark: number of a person. The sum of old ones no longer holds, so the day must.
pub fn cpr(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    // The seventh digit says the century: 2037 to 2057 are still to come.
    let to_come = matches!(at(&all, 6), 5..=8) && matches!(two(&all, 4), 37..=57);
    !to_come && is_short_date(two(&all, 4), two(&all, 2), two(&all, 0))
}

/// Norway: number of a person, two sums.
pub fn fodselsnummer(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let check = |weights: &[u32]| (11 - weighted(&all, weights) % 11) % 11;
    let day = two(&all, 0);
    let day = if day > 40 { day - 40 } else { day };
    let month = two(&all, 2);
    let month = if month > 40 { month - 40 } else { month };
    is_short_date(two(&all, 4), month, day)
        && check(&[3, 7, 6, 1, 8, 9, 4, 5, 2]) == at(&all, 9)
        && check(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) == at(&all, 10)
}

/// Iceland: number of a person or firm.
pub fn kennitala(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let day = two(&all, 0);
    let day = if day > 40 { day - 40 } else { day };
    let rest = (11 - weighted(&all, &[3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    is_short_date(two(&all, 4), two(&all, 2), day) && rest == at(&all, 8)
}

/// Germany: tax number of a person. One digit comes twice or three times, at least one not at all.
pub fn steuer_id(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let body = all.get(..10).unwrap_or_default();
    let count = |digit: u32| body.iter().filter(|own| **own == digit).count();
    let repeated: Vec<usize> = (0..10).map(count).filter(|count| *count > 1).collect();
    at(&all, 0) > 0 && matches!(repeated.as_slice(), [2 | 3]) && mod_11_10(&all)
}

/// Germany: pension insurance number; the letter counts as two digits.
pub fn rvnr(text: &str) -> bool {
    let text = compact(text);
    let Some(letter) = text.chars().nth(8).filter(char::is_ascii_uppercase) else { return false };
    let place = letter.to_digit(36).unwrap_or(0) - 9;
    let (Some(head), Some(tail)) = (text.get(..8), text.get(9..)) else { return false };
    let (Some(mut all), Some(tail)) = (digits(head, 8), digits(tail, 3)) else { return false };
    let day = two(&all, 2);
    let day = if day > 50 { day - 50 } else { day };
    let is_day = is_short_date(two(&all, 6), two(&all, 4), day);
    all.extend([place / 10, place % 10]);
    all.extend(tail);
    let cross = |product: u32| product / 10 + product % 10;
    let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let sum: u32 = all.iter().zip(weights).map(|(digit, weight)| cross(digit * weight)).sum();
    is_day && sum % 10 == at(&all, 12)
}

/// Germany: number of a doctor (LANR), weights 4 and 9.
pub fn lanr(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    let sum = weighted(&all, &[4, 9, 4, 9, 4, 9]) % 10;
    !is_same(&all) && (10 - sum) % 10 == at(&all, 6)
}

/// Germany: identity card and passport, weights 7, 3 and 1 over letters and digits.
pub fn ausweis(text: &str) -> bool {
    let text = compact(text);
    let values: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(36)).collect();
    let sum = weighted(&values, &[7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10;
    values.len() == 9 || (values.len() == 10 && sum == at(&values, 9))
}

/// Austria: social insurance number.
pub fn vnr(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let sum = weighted(&all, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11;
    at(&all, 0) > 0 && sum == at(&all, 3)
}

/// Switzerland: social insurance number (AHV), as EAN-13 sums.
pub fn ahv(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let sum = weighted(&all, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]) % 10;
    number(all.get(..3).unwrap_or_default()) == 756 && (10 - sum) % 10 == at(&all, 12)
}

/// France: social security number, 97 less the remainder; Corsica has letters.
pub fn nir(text: &str) -> bool {
    let text = compact(text).replace("2A", "19").replace("2B", "18");
    let Some(all) = digits(&text, 15) else { return false };
    let (body, check) = all.split_at(13);
    let month = two(&all, 3);
    let is_month = matches!(month, 1..=12 | 20..=42 | 50..=99);
    is_month && matches!(at(&all, 0), 1..=4 | 7 | 8) && 97 - number(body) % 97 == number(check)
}

/// France: number of a firm, or of its place of business: Luhn.
pub fn siren(text: &str) -> bool {
    let Some(all) = digits(text, 9).or_else(|| digits(text, 14)) else { return false };
    number(&all) > 0 && luhn(&all)
}

/// The Netherlands: number of a citizen, the test of eleven.
pub fn bsn(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    let sum = weighted(&all, &[9, 8, 7, 6, 5, 4, 3, 2]) + 10 * at(&all, 8);
    !is_same(&all) && sum.is_multiple_of(11)
}

/// Belgium: number of a person, 97 less the remainder; since 2000 with a 2 before it.
pub fn rrn_be(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let (body, check) = all.split_at(9);
    let (old, new) = (number(body), number(body) + 2_000_000_000);
    let month = two(&all, 2) % 20;
    let is_checked = [old, new].into_iter().any(|whole| 97 - whole % 97 == number(check));
    is_checked && month <= 12 && two(&all, 4) <= 31
}

/// Portugal: tax number.
pub fn nif_pt(text: &str) -> bool {
    let tail = compact(text);
    let Some(all) = digits(tail.strip_prefix("PT").unwrap_or(&tail), 9) else { return false };
    let sum = 11 - weighted(&all, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    at(&all, 0) > 0 && (if sum > 9 { 0 } else { sum }) == at(&all, 8)
}

/// Czechia and Slovakia: number of a person, a day and a multiple of eleven.
pub fn rodne_cislo(text: &str) -> bool {
    let Some(all) = digits(text, 10).or_else(|| digits(text, 9)) else { return false };
    let month = two(&all, 2) % 50;
    let month = if month > 20 { month - 20 } else { month };
    let is_day = is_short_date(two(&all, 0), month, two(&all, 4));
    let check = number(all.get(..9).unwrap_or_default()) % 11 % 10;
    let old = all.len() == 9 && !matches!(two(&all, 0), 54..=79);
    is_day && (old || (all.len() == 10 && check == u64::from(at(&all, 9))))
}

/// Romania: number of a person.
pub fn cnp(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let sum = weighted(&all, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let county = matches!(two(&all, 7), 1..=47 | 51 | 52 | 70 | 80..=83);
    let day = is_short_date(two(&all, 1), two(&all, 3), two(&all, 5));
    at(&all, 0) > 0 && county && day && (if sum == 10 { 1 } else { sum }) == at(&all, 12)
}

/// Bulgaria: number of a person; the month says the century.
pub fn egn(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let month = two(&all, 2);
    let (century, month) = match month {
        21..=32 => (1800, month - 20),
        41..=52 => (2000, month - 40),
        _ => (1900, month),
    };
    let sum = weighted(&all, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10;
    is_date(century + two(&all, 0), month, two(&all, 4)) && sum == at(&all, 9)
}

/// Croatia: number of a person or firm.
pub fn oib(text: &str) -> bool {
    let tail = compact(text);
    digits(tail.strip_prefix("HR").unwrap_or(&tail), 11).is_some_and(|all| mod_11_10(&all))
}

/// Slovenia and its neighbours: number of a person.
pub fn emso(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let year = at(&all, 4) * 100 + two(&all, 5);
    let year = if year < 800 { 2000 + year } else { 1000 + year };
    let sum = weighted(&all, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    is_date(year, two(&all, 2), two(&all, 0)) && (11 - sum) % 11 % 10 == at(&all, 12)
}

/// Estonia and Lithuania: number of a person, two rounds of weights.
pub fn isikukood(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let century = 1800 + at(&all, 0).saturating_sub(1) / 2 * 100;
    let first = weighted(&all, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(&all, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
    let check = if first == 10 { second } else { first };
    let day = is_date(century + two(&all, 1), two(&all, 3), two(&all, 5));
    at(&all, 0) > 0 && day && check == at(&all, 10)
}

/// Greece: social security number, a day and Luhn's sum.
pub fn amka(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    is_short_date(two(&all, 4), two(&all, 2), two(&all, 0)) && luhn(&all)
}

/// Ireland: number of a person, one letter or two.
pub fn pps(text: &str) -> bool {
    let text = compact(text);
    let Some((body, letters)) = text.split_at_checked(7) else { return false };
    let Some(all) = digits(body, 7) else { return false };
    let mut letters = letters.bytes();
    let (Some(check), second) = (letters.next(), letters.next()) else { return false };
    let more = match second {
        None | Some(b'W' | b'T') => 0,
        Some(letter @ b'A'..=b'I') => u32::from(letter - b'A' + 1) * 9,
        Some(_) => return false,
    };
    let sum = (weighted(&all, &[8, 7, 6, 5, 4, 3, 2]) + more) % 23;
    let place = usize::try_from(sum).unwrap_or(0);
    letters.next().is_none() && b"WABCDEFGHIJKLMNOPQRSTUV".get(place) == Some(&check)
}

/// Russia: tax number of a person or a firm.
pub fn inn(text: &str) -> bool {
    let check = |all: &[u32], weights: &[u32]| weighted(all, weights) % 11 % 10;
    if let Some(all) = digits(text, 10) {
        return check(&all, &[2, 4, 10, 3, 5, 9, 4, 6, 8]) == at(&all, 9);
    }
    digits(text, 12).is_some_and(|all| {
        check(&all, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == at(&all, 10)
            && check(&all, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == at(&all, 11)
    })
}

/// Russia: pension insurance number.
pub fn snils(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let sum = weighted(&all, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100;
    !is_same(&all) && sum == two(&all, 9)
}

/// Ukraine: number of a taxpayer.
pub fn rntrc(text: &str) -> bool {
    // The first weight is minus one.
    let Some(all) = digits(text, 10) else { return false };
    let sum = weighted(&all, &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10;
    !is_same(&all) && sum == at(&all, 9)
}

#[cfg(test)]
mod tests {
    use super::{
        ausweis, bsn, codice_fiscale, hetu, inn, lanr, nhs, nif, nino, pesel, rvnr, snils,
        steuer_id,
    };

    /// A check, a text that holds and one that does not.
    type Case = (fn(&str) -> bool, &'static str, &'static str);

    #[test]
    fn published_numbers_hold_and_their_neighbours_do_not() {
        let all: [Case; 12] = [
            (bsn, "111222333", "111222334"),
            (codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
            (hetu, "131052-308T", "131052-308U"),
            (inn, "7707083893", "7707083894"),
            (lanr, "123456601", "123456701"),
            (nhs, "943 476 5919", "943 476 5918"),
            (nif, "12345678Z", "12345678A"),
            (nino, "AB 12 34 56 C", "BG 12 34 56 C"),
            (pesel, "44051401359", "44051401358"),
            (rvnr, "15070649C103", "15070649C104"),
            (snils, "112-233-445 95", "112-233-445 96"),
            (steuer_id, "36574261809", "36574261890"),
        ];
        for (check, right, wrong) in all {
            assert!(check(right), "{right}");
            assert!(!check(wrong), "{wrong}");
        }
        assert!(ausweis("T220001293") && !ausweis("T220001294"));
    }
}
