//! Numbers of people, firms and things outside of Europe: which are given out.

use crate::guard::sums::{
    at, compact, digits, is_date, is_same, is_short_date, luhn, luhn_letters, mod_97_10, number,
    two, verhoeff, weighted,
};

/// Whether digits stand in one run or in groups of these lengths.
fn has_groups(text: &str, lengths: &[usize]) -> bool {
    let groups: Vec<usize> =
        text.split(|letter: char| !letter.is_ascii_digit()).map(str::len).collect();
    groups.len() == 1 || groups == lengths
}

/// United States: individual taxpayer number, 9xx with a group of its own.
pub fn itin(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    has_groups(text, &[3, 2, 4])
        && at(&all, 0) == 9
        && matches!(two(&all, 3), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// United States: employer number, by the prefixes of the offices that give it out.
pub fn ein(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    let prefix = two(&all, 0);
    let never = matches!(prefix, 0 | 7..=9 | 17..=19 | 28 | 29 | 49 | 69 | 70 | 78 | 79 | 89)
        || matches!(prefix, 96 | 97);
    has_groups(text, &[2, 7]) && !never
}

/// United States: national provider identifier, Luhn over 80840 and the number.
pub fn npi(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let whole: Vec<u32> = [8, 0, 8, 4, 0].into_iter().chain(all.iter().copied()).collect();
    matches!(at(&all, 0), 1 | 2) && luhn(&whole)
}

/// United States: Medicare beneficiary identifier, by the class of each place.
pub fn mbi(text: &str) -> bool {
    const CLASSES: &[u8] = b"CAXNAXNAANN";
    let text = compact(text);
    let is_letter = |byte: u8| byte.is_ascii_uppercase() && !b"SLOIBZ".contains(&byte);
    let fits = |(class, byte): (&u8, u8)| match class {
        b'C' => matches!(byte, b'1'..=b'9'),
        b'A' => is_letter(byte),
        b'N' => byte.is_ascii_digit(),
        _ => is_letter(byte) || byte.is_ascii_digit(),
    };
    text.len() == CLASSES.len() && CLASSES.iter().zip(text.bytes()).all(fits)
}

/// United States: number of the Drug Enforcement Administration.
pub fn dea(text: &str) -> bool {
    let text = compact(text);
    let Some((_, tail)) = text.split_at_checked(2) else { return false };
    let Some(all) = digits(tail, 7) else { return false };
    weighted(&all, &[1, 2, 1, 2, 1, 2]) % 10 == at(&all, 6)
}

/// United States: routing number of a bank (ABA), weights 3, 7, 1.
pub fn aba(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    let known = matches!(two(&all, 0), 1..=12 | 21..=32 | 61..=72 | 80);
    known && weighted(&all, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// Canada: social insurance number.
pub fn sin(text: &str) -> bool {
    digits(text, 9).is_some_and(|all| !matches!(at(&all, 0), 0 | 8) && !is_same(&all) && luhn(&all))
}

/// Australia: business number.
pub fn abn(text: &str) -> bool {
    let Some(mut all) = digits(text, 11) else { return false };
    let Some(first) = all.first_mut().filter(|first| **first > 0) else { return false };
    *first -= 1;
    weighted(&all, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
}

/// Australia: company number.
pub fn acn(text: &str) -> bool {
    let Some(all) = digits(text, 9) else { return false };
    let rest = weighted(&all, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10;
    (10 - rest) % 10 == at(&all, 8)
}

/// Australia: tax file number, of nine digits or eight.
pub fn tfn(text: &str) -> bool {
    let weights: &[u32] = &[1, 4, 3, 7, 5, 8, 6, 9, 10];
    let short: &[u32] = &[10, 7, 8, 4, 6, 3, 5, 1];
    let sums = |count, weights| {
        digits(text, count).is_some_and(|all| weighted(&all, weights).is_multiple_of(11))
    };
    sums(9, weights) || sums(8, short)
}

/// Australia: Medicare card.
pub fn medicare(text: &str) -> bool {
    let Some(all) = digits(text, 10).or_else(|| digits(text, 11)) else { return false };
    let sum = weighted(&all, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10;
    matches!(at(&all, 0), 2..=6) && sum == at(&all, 8)
}

/// New Zealand: tax number of eight or nine digits.
pub fn ird(text: &str) -> bool {
    let text = text.trim_start_matches("NZ");
    let Some(mut all) = digits(text, 9).or_else(|| digits(text, 8)) else { return false };
    if all.len() == 8 {
        all.insert(0, 0);
    }
    if !(10_000_000..150_000_000).contains(&number(&all)) && at(&all, 0) != 0 {
        return false;
    }
    let check = |weights: &[u32]| (11 - weighted(&all, weights) % 11) % 11;
    match check(&[3, 2, 7, 6, 5, 4, 3, 2]) {
        10 => check(&[7, 4, 3, 2, 5, 2, 7, 6]) == at(&all, 8),
        sum => sum == at(&all, 8),
    }
}

/// India: Aadhaar, Verhoeff.
pub fn aadhaar(text: &str) -> bool {
    digits(text, 12).is_some_and(|all| {
        let reversed: Vec<u32> = all.iter().rev().copied().collect();
        at(&all, 0) > 1 && all != reversed && verhoeff(&all)
    })
}

/// India: permanent account number; the fourth letter is the kind of holder.
pub fn pan(text: &str) -> bool {
    let text = compact(text);
    let [.., kind, _, a, b, c, d, last] = text.as_bytes() else { return false };
    let is_number = [a, b, c, d].into_iter().any(|digit| *digit != b'0');
    text.len() == 10 && b"ABCFGHJLPT".contains(kind) && last.is_ascii_uppercase() && is_number
}

/// India: goods and services tax number, a sum in base 36.
pub fn gstin(text: &str) -> bool {
    let text = compact(text);
    let values: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(36)).collect();
    let Some((check, body)) = values.split_last().filter(|_| values.len() == 15) else {
        return false;
    };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(nth, value)| {
            let product = if nth % 2 == 1 { value * 2 } else { *value };
            product / 36 + product % 36
        })
        .sum();
    let fixed = text.get(13..14) == Some("Z");
    fixed && text.get(2..12).is_some_and(pan) && (36 - sum % 36) % 36 == *check
}

/// India: voter card, three letters and a number with Luhn's sum.
pub fn epic(text: &str) -> bool {
    let is_letters = text.bytes().take(3).all(|byte| byte.is_ascii_uppercase());
    let tail = text.get(3..).and_then(|tail| digits(tail, 7));
    is_letters && tail.is_some_and(|all| luhn(&all))
}

/// Korea: resident number.
pub fn rrn(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let rest = weighted(&all, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11;
    let day = is_short_date(two(&all, 0), two(&all, 2), two(&all, 4));
    day && (11 - rest) % 10 == at(&all, 12)
}

/// Korea: business number.
pub fn brn(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    let sum = weighted(&all, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + at(&all, 8) * 5 / 10;
    (10 - sum % 10) % 10 == at(&all, 9)
}

/// Singapore: identity card and foreigners' number.
pub fn nric_sg(text: &str) -> bool {
    let text = compact(text);
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().last()) else {
        return false;
    };
    let Some(all) = text.get(1..8).and_then(|middle| digits(middle, 7)) else { return false };
    let sum = weighted(&all, &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters) = match first {
        'S' => (0, "JZIHGFEDCBA"),
        'T' => (4, "JZIHGFEDCBA"),
        'F' => (0, "XWUTRQPNMLK"),
        'G' => (4, "XWUTRQPNMLK"),
        'M' => (3, "KLJNPQRTUWX"),
        _ => return false,
    };
    let place = usize::try_from((sum + offset) % 11).unwrap_or(0);
    let place = if first == 'M' { 10 - place } else { place };
    text.len() == 9 && letters.chars().nth(place) == Some(last)
}

/// Thailand: number of a person.
pub fn pin_th(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let rest = weighted(&all, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    at(&all, 0) > 0 && at(&all, 0) < 9 && (11 - rest) % 10 == at(&all, 12)
}

/// Türkiye: number of a person.
pub fn tckn(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let odd: u32 = (0..9).step_by(2).map(|place| at(&all, place)).sum();
    let even: u32 = (1..8).step_by(2).map(|place| at(&all, place)).sum();
    let all_but_last: u32 = all.iter().take(10).sum();
    let tenth = (odd * 7 + 90 - even) % 10;
    at(&all, 0) > 0 && tenth == at(&all, 9) && all_but_last % 10 == at(&all, 10)
}

/// South Africa: number of a person.
pub fn id_za(text: &str) -> bool {
    let Some(all) = digits(text, 13) else { return false };
    let day = is_short_date(two(&all, 0), two(&all, 2), two(&all, 4));
    day && at(&all, 10) < 3 && luhn(&all)
}

/// Israel: number of a person.
pub fn id_il(text: &str) -> bool {
    let Some(all) = digits(text, 9).or_else(|| digits(text, 8)) else { return false };
    number(&all) > 0 && luhn(&all)
}

/// Brazil: number of a person, two sums.
pub fn cpf(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let check = |weights: &[u32]| weighted(&all, weights) * 10 % 11 % 10;
    let first = check(&[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let second = check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    !is_same(&all) && first == at(&all, 9) && second == at(&all, 10)
}

/// Brazil: number of a firm, two sums; letters count from 17 on.
pub fn cnpj(text: &str) -> bool {
    if text.contains('=') {
        return false;
    }
    let text = compact(text);
    let value = |byte: u8| u32::from(byte) - 48;
    let all: Vec<u32> = text.bytes().map(value).collect();
    let check = |weights: &[u32]| match weighted(&all, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let first = check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
    let second = check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
    all.len() == 14 && !is_same(&all) && first == at(&all, 12) && second == at(&all, 13)
}

/// Chile: number of a person or firm, the last place may be K.
pub fn rut(text: &str) -> bool {
    let text = compact(text);
    let text = text.strip_prefix("CL").unwrap_or(&text);
    let Some((body, check)) = text.split_at_checked(text.len().saturating_sub(1)) else {
        return false;
    };
    let Some(all) = digits(body, 8).or_else(|| digits(body, 7)) else { return false };
    let weights = [2, 3, 4, 5, 6, 7, 2, 3];
    let reversed: Vec<u32> = all.iter().rev().copied().collect();
    match 11 - weighted(&reversed, &weights) % 11 {
        11 => check == "0",
        10 => check == "K",
        sum => check.parse() == Ok(sum),
    }
}

/// Argentina: number of a person or firm for taxes.
pub fn cuit(text: &str) -> bool {
    let Some(all) = digits(text, 11) else { return false };
    let known = matches!(two(&all, 0), 20 | 23 | 24 | 27 | 30 | 33 | 34 | 50 | 51 | 55);
    let sum = weighted(&all, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    known && (11 - sum) % 11 == at(&all, 10)
}

/// Mexico: number of a person.
pub fn curp(text: &str) -> bool {
    const LETTERS: &str = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ";
    let text = compact(text);
    let value = |letter: char| LETTERS.find(letter).and_then(|at| u32::try_from(at).ok());
    let values: Vec<u32> = text.chars().filter_map(value).collect();
    let weights: Vec<u32> = (2..=18).rev().collect();
    let date = text.get(4..10).and_then(|date| digits(date, 6));
    let day = date.is_some_and(|all| is_short_date(two(&all, 0), two(&all, 2), two(&all, 4)));
    let check = (10 - weighted(&values, &weights) % 10) % 10;
    values.len() == 18 && day && check == at(&values, 17)
}

/// Ecuador: number of a person.
pub fn ci_ec(text: &str) -> bool {
    let Some(all) = digits(text, 10) else { return false };
    matches!(two(&all, 0), 1..=24 | 30 | 50) && at(&all, 2) < 6 && luhn(&all)
}

/// China: number of a resident, ISO 7064 MOD 11-2.
pub fn ric(text: &str) -> bool {
    let text = compact(text);
    let Some((body, check)) = text.split_at_checked(17) else { return false };
    let Some(all) = digits(body, 17) else { return false };
    let year = two(&all, 6) * 100 + two(&all, 8);
    let rest = all.iter().fold(0, |rest, digit| (rest + digit) * 2 % 11);
    let wanted = (12 - rest) % 11;
    let is_checked = if wanted == 10 { check == "X" } else { check.parse() == Ok(wanted) };
    (1850..2100).contains(&year) && is_date(year, two(&all, 10), two(&all, 12)) && is_checked
}

/// China: credit code of a firm.
pub fn uscc(text: &str) -> bool {
    const LETTERS: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    let text = compact(text);
    let value = |letter: char| LETTERS.find(letter).and_then(|at| u32::try_from(at).ok());
    let values: Vec<u32> = text.chars().filter_map(value).collect();
    let check = (31 - weighted(&values, &WEIGHTS) % 31) % 31;
    let area = text.get(..8).is_some_and(|head| head.bytes().skip(2).all(|b| b.is_ascii_digit()));
    text.len() == 18 && values.len() == 18 && area && check == at(&values, 17)
}

/// Japan: number of a person.
pub fn my_number(text: &str) -> bool {
    let Some(all) = digits(text, 12) else { return false };
    let sum = weighted(&all, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    (if sum <= 1 { 0 } else { 11 - sum }) == at(&all, 11)
}

/// Taiwan: identity card, the letter is two digits.
pub fn id_tw(text: &str) -> bool {
    const PLACES: &str = "ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let text = compact(text);
    let letter = text.chars().next().and_then(|first| PLACES.find(first));
    let Some(letter) = letter.and_then(|at| u32::try_from(at + 10).ok()) else { return false };
    let Some(all) = text.get(1..).and_then(|tail| digits(tail, 9)) else { return false };
    let sum = letter / 10 + letter % 10 * 9 + weighted(&all, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    matches!(at(&all, 0), 1 | 2 | 8 | 9) && sum.is_multiple_of(10)
}

/// Hong Kong: identity card.
pub fn hkid(text: &str) -> bool {
    let text = compact(text);
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let Some((head, tail)) = text.split_at_checked(letters) else { return false };
    let Some((body, check)) = tail.split_at_checked(6) else { return false };
    let Some(all) = digits(body, 6) else { return false };
    let mut values: Vec<u32> = head.chars().filter_map(|letter| letter.to_digit(36)).collect();
    if values.len() == 1 {
        values.insert(0, 36);
    }
    values.extend(all);
    let sum = weighted(&values, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let wanted = (11 - sum) % 11;
    let is_checked = if wanted == 10 { check == "A" } else { check.parse() == Ok(wanted) };
    matches!(letters, 1 | 2) && is_checked
}

/// Malaysia: identity card; a day and a state.
pub fn nric_my(text: &str) -> bool {
    let Some(all) = digits(text, 12) else { return false };
    let state = matches!(two(&all, 6), 1..=16 | 21..=68 | 71 | 72 | 74..=79 | 82 | 83);
    state && is_short_date(two(&all, 0), two(&all, 2), two(&all, 4))
}

/// Indonesia: number of a resident; a province and a day, plus forty for women.
pub fn nik(text: &str) -> bool {
    let Some(all) = digits(text, 16) else { return false };
    let day = two(&all, 6);
    let day = if day > 40 { day - 40 } else { day };
    matches!(two(&all, 0), 11..=21 | 31..=36 | 51..=53 | 61..=65 | 71..=76 | 81 | 82 | 91..=97)
        && is_short_date(two(&all, 10), two(&all, 8), day)
}

/// A security (ISIN, ISO 6166): a country, letters and digits, Luhn.
pub fn isin(text: &str) -> bool {
    text.len() == 12 && luhn_letters(text)
}

/// A legal entity (LEI, ISO 17442).
pub fn lei(text: &str) -> bool {
    text.len() == 20 && mod_97_10(text)
}

/// A card of twelve digits or more by Luhn's sum alone, where words say that it is one.
pub fn card_number(text: &str) -> bool {
    let all: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    (12..=19).contains(&all.len()) && !is_same(&all) && luhn(&all)
}

/// A telephone (IMEI): fourteen digits and Luhn's.
pub fn imei(text: &str) -> bool {
    // With a version in place of the sum there are sixteen.
    digits(text, 16).is_some_and(|all| at(&all, 0) > 0)
        || digits(text, 15).is_some_and(|all| !is_same(&all) && luhn(&all))
}

/// A vehicle (VIN, ISO 3779): the ninth place is a sum in North America and China; elsewhere it may
/// be anything, and is not asked for.
pub fn vin(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |letter: char| match letter.to_ascii_uppercase() {
        digit @ '0'..='9' => digit.to_digit(10),
        letter @ 'A'..='H' => letter.to_digit(36).map(|value| value - 9),
        letter @ 'J'..='R' => letter.to_digit(36).map(|value| value - 18),
        letter @ 'S'..='Z' => letter.to_digit(36).map(|value| value - 26),
        _ => None,
    };
    let values: Vec<u32> = text.chars().filter_map(value).collect();
    let check = text.chars().nth(8).map(|letter| letter.to_ascii_uppercase());
    let sum = weighted(&values, &WEIGHTS) % 11;
    let wanted = if sum == 10 { Some('X') } else { char::from_digit(sum, 10) };
    values.len() == 17 && check == wanted && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::{aba, abn, curp, hkid, id_tw, isin, lei, mbi, my_number, npi, ric, rut, vin};

    /// A check, a text that holds and one that does not.
    type Case = (fn(&str) -> bool, &'static str, &'static str);

    #[test]
    fn published_numbers_hold_and_their_neighbours_do_not() {
        let all: [Case; 13] = [
            (aba, "021000021", "021000022"),
            (abn, "51 824 753 556", "51 824 753 557"),
            (curp, "HEGG560427MVZRRL04", "HEGG560427MVZRRL05"),
            (hkid, "A123456(3)", "A123456(4)"),
            (id_tw, "A123456789", "A123456788"),
            (isin, "US0378331005", "US0378331006"),
            (lei, "529900T8BM49AURSDO55", "529900T8BM49AURSDO56"),
            (mbi, "1EG4-TE5-MK73", "1SG4-TE5-MK73"),
            (my_number, "123456789018", "123456789019"),
            (npi, "1234567893", "1234567894"),
            (ric, "11010519491231002X", "110105194912310021"),
            (rut, "12.345.678-5", "12.345.678-6"),
            (vin, "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
        ];
        for (check, right, wrong) in all {
            assert!(check(right), "{right}");
            assert!(!check(wrong), "{wrong}");
        }
    }
}
