//! Text to identity, as eir/identity.py: the one place where an IMEI or IMSI stops being text.
//!
//! Text is UTF-8 as it came over the wire. Sources: TS 23.003 clause 6, annex B, clause 2.2.

use crate::filter::Filter;

/// Digits of an IMEI that name the equipment: TAC 8, serial 6.
const IMEI_DIGITS: usize = 14;
/// The longest text that may be an IMEI or a raw list entry, in characters.
const IMEI_CHARS_MAX: usize = 16;
const IMSI_DIGITS_MAX: usize = 15;
/// Digits that name a network; fewer are IMSI_SHORT.
const IMSI_DIGITS_NETWORK: usize = 6;
/// Of the filter of placeholders, for each of them.
const FILTER_BITS: usize = 16;
/// Serials of one TAC.
pub const SERIALS: u64 = 1_000_000;

/// What an IMEI is; numbers as `ImeiClass` of eir/identity.py.
pub mod imei_class {
    #![allow(missing_docs)]
    pub const KEY: u8 = 0;
    pub const MALFORMED_EMPTY: u8 = 1;
    pub const MALFORMED_SHORT: u8 = 2;
    pub const MALFORMED_LONG: u8 = 3;
    pub const MALFORMED_NON_DIGIT: u8 = 4;
    pub const SPECIAL_ZERO: u8 = 5;
    pub const SPECIAL_REPEATED: u8 = 6;
    pub const SPECIAL_TEST: u8 = 7;
    pub const SPECIAL_PLACEHOLDER: u8 = 8;
}

/// What an IMSI is, before its network is looked at; numbers as `ImsiClass` of eir/identity.py.
pub mod imsi_class {
    #![allow(missing_docs)]
    pub const NONE: u8 = 0;
    pub const MALFORMED: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const WELL_FORMED: u8 = 3;
}

/// What the tables know an IMEI by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The first 14 digits as a number.
    Key(u64),
    /// Text that is not 14 digits, as a list entry would have it: zero bytes after it.
    Raw([u8; IMEI_CHARS_MAX], u8),
    /// Nothing that could be listed.
    Nothing,
}

/// An IMEI: its class, and what the tables know it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imei {
    /// One of `imei_class`.
    pub class: u8,
    /// A key for the classes of 14 digits; raw text or nothing for the others.
    pub subject: Subject,
}

/// An IMSI: its class and its code, 0 where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imsi {
    /// One of `imsi_class`.
    pub class: u8,
    /// The number written by 1 followed by the digits.
    pub code: u64,
}

fn trim(text: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    if let [first, .., last] = text
        && !space(first)
        && !space(last)
    {
        return text;
    }
    let Some(first) = text.iter().position(|byte| !space(byte)) else { return &[] };
    let last = text.iter().rposition(|byte| !space(byte)).unwrap_or(first);
    &text[first..=last]
}

/// Eight zeros as text.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The numbers that two words of eight digits write, the first byte of each its lowest; None where a byte is no digit.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.1"))]
#[inline(always)]
fn two_numbers(first: u64, last: u64) -> Option<(u64, u64)> {
    use std::arch::x86_64::*;
    const NEIGHBOURS: [i32; 3] = [10 | 1 << 8, 100 | 1 << 16, 10_000 | 1 << 16];
    // SAFETY: this is compiled only for processors that have the instructions.
    let (good, numbers) = unsafe {
        let digits = _mm_sub_epi8(_mm_set_epi64x(last as i64, first as i64), _mm_set1_epi8(b'0' as i8));
        let nine = _mm_set1_epi8(9);
        let good = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(digits, nine), nine)) == 0xFFFF;
        // Neighbours become pairs, pairs fours, fours the numbers.
        let pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(NEIGHBOURS[0] as i16));
        let fours = _mm_madd_epi16(pairs, _mm_set1_epi32(NEIGHBOURS[1]));
        let numbers = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(NEIGHBOURS[2]));
        (good, _mm_cvtsi128_si64(numbers) as u64)
    };
    good.then_some((numbers & u64::from(u32::MAX), numbers >> 32))
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.1")))]
use plain::two_numbers;

/// Without instructions of one kind of processor.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse4.1"))))]
mod plain {
    /// As above.
    #[inline(always)]
    pub(super) fn two_numbers(first: u64, last: u64) -> Option<(u64, u64)> {
        let ((good, first), (well, last)) = (eight_digits(first), eight_digits(last));
        (good && well).then_some((first, last))
    }

    /// Whether eight bytes are digits, and the number that they write.
    #[inline(always)]
    fn eight_digits(word: u64) -> (bool, u64) {
        // A digit's high half is 3, and is it still when 6 is added.
        const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
        let digits =
            (word & HIGH) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) >> 4) == 0x3333_3333_3333_3333;
        // Neighbours become pairs, pairs fours, fours the number: 2561 is 10 * 256 + 1, and so on.
        let pairs = (word & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(2561) >> 8;
        let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
        (digits, (fours & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32)
    }
}

/// The number that some digits write, at most 16; None where a byte is no digit.
fn number(digits: &[u8]) -> Option<u64> {
    if let (9..=16, Some(first), Some(last)) = (digits.len(), digits.first_chunk(), digits.last_chunk()) {
        // Of the first eight those that are not among the last eight, with zeros before them.
        let bits = 8 * (16 - digits.len());
        let first = u64::from_le_bytes(*first) << bits | ZEROS & ((1 << bits) - 1);
        let (first, last) = two_numbers(first, u64::from_le_bytes(*last))?;
        return Some(first * 100_000_000 + last);
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    digits.iter().try_fold(0_u64, |value, byte| Some(value.wrapping_mul(10).wrapping_add(digit(byte)?)))
}

/// Powers of ten.
const TENS: [u64; IMSI_DIGITS_MAX + 1] = {
    let (mut tens, mut place) = ([1; IMSI_DIGITS_MAX + 1], 1);
    while place <= IMSI_DIGITS_MAX {
        tens[place] = tens[place - 1] * 10;
        place += 1;
    }
    tens
};

/// Keys that are shared placeholders: few, and asked of each check.
#[derive(Default)]
pub struct Placeholders {
    sorted: Vec<u64>,
    filter: Filter,
}

impl Placeholders {
    /// Takes the keys in any order.
    pub fn new(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        let mut filter = Filter::new(keys.len(), FILTER_BITS);
        keys.iter().for_each(|key| filter.add(*key));
        Self { sorted: keys, filter }
    }

    #[inline]
    fn have(&self, key: u64) -> bool {
        self.filter.may_have(key) && self.sorted.binary_search(&key).is_ok()
    }
}

#[inline]
fn special_class(key: u64, placeholders: &Placeholders) -> u8 {
    if key.is_multiple_of(11_111_111_111_111) {
        return if key == 0 { imei_class::SPECIAL_ZERO } else { imei_class::SPECIAL_REPEATED };
    }
    let prefix = key / 100_000_000; // the first six digits
    if (1001..=1017).contains(&prefix) || matches!(prefix / 100, 44 | 86 | 91) {
        return imei_class::SPECIAL_TEST;
    }
    if placeholders.have(key) {
        return imei_class::SPECIAL_PLACEHOLDER;
    }
    imei_class::KEY
}

/// The number that a text begins with, as nearly all IMEIs are sent: 14 digits and at most two characters. None for
/// any other text.
#[inline]
fn plain_imei(text: &[u8]) -> Option<u64> {
    let (IMEI_DIGITS..=IMEI_CHARS_MAX, Some(tac), Some(rest)) =
        (text.len(), text.first_chunk(), text.get(IMEI_DIGITS - 8..IMEI_DIGITS)?.first_chunk())
    else {
        return None;
    };
    // The last eight of the fourteen, of which the first two have been counted.
    let (rest, counted) = (u64::from_le_bytes(*rest), 0xFFFF);
    let (tac, serial) = two_numbers(u64::from_le_bytes(*tac), rest & !counted | ZEROS & counted)?;
    Some(tac * SERIALS + serial)
}

/// The number of an IMSI of 15 digits, as nearly all are; None for any other text.
#[inline]
fn plain_imsi(text: &[u8]) -> Option<u64> {
    let text: &[u8; IMSI_DIGITS_MAX] = text.try_into().ok()?;
    // The first seven after a zero, and the last eight.
    let first = text.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)) << 8 | ZEROS & 0xFF;
    let last = text.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    let (first, last) = two_numbers(first, last)?;
    Some(first * 100_000_000 + last)
}

/// Classifies the IMEI of a check.
#[inline]
pub fn parse_imei(text: &[u8], placeholders: &Placeholders) -> Imei {
    match plain_imei(text) {
        Some(key) => Imei { class: special_class(key, placeholders), subject: Subject::Key(key) },
        None => parse_any_imei(text, placeholders),
    }
}

#[cold]
#[inline(never)]
fn parse_any_imei(text: &[u8], placeholders: &Placeholders) -> Imei {
    let text = trim(text);
    if text.is_empty() {
        return Imei { class: imei_class::MALFORMED_EMPTY, subject: Subject::Nothing };
    }
    let characters = || text.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    if text.len() > IMEI_CHARS_MAX && characters() > IMEI_CHARS_MAX {
        return Imei { class: imei_class::MALFORMED_LONG, subject: Subject::Nothing };
    }
    if let Some(key) = text.get(..IMEI_DIGITS).and_then(number) {
        return Imei { class: special_class(key, placeholders), subject: Subject::Key(key) };
    }
    let class = match number(text) {
        Some(_) => imei_class::MALFORMED_SHORT,
        None => imei_class::MALFORMED_NON_DIGIT,
    };
    let mut subject = Subject::Nothing;
    if text.is_ascii() {
        let mut upper = [0; IMEI_CHARS_MAX];
        upper[..text.len()].copy_from_slice(text);
        upper.make_ascii_uppercase();
        subject = Subject::Raw(upper, text.len() as u8);
    }
    Imei { class, subject }
}

/// Classifies the IMSI of a check.
#[inline]
pub fn parse_imsi(text: &[u8]) -> Imsi {
    match plain_imsi(text) {
        Some(number) => Imsi { class: imsi_class::WELL_FORMED, code: number + TENS[IMSI_DIGITS_MAX] },
        None => parse_any_imsi(text),
    }
}

#[cold]
#[inline(never)]
fn parse_any_imsi(text: &[u8]) -> Imsi {
    let text = trim(text);
    if text.is_empty() {
        return Imsi { class: imsi_class::NONE, code: 0 };
    }
    let digits = if text.len() <= IMSI_DIGITS_MAX { number(text) } else { None };
    let Some(digits) = digits else { return Imsi { class: imsi_class::MALFORMED, code: 0 } };
    let short = text.len() < IMSI_DIGITS_NETWORK;
    let class = if short { imsi_class::SHORT } else { imsi_class::WELL_FORMED };
    Imsi { class, code: digits + TENS[text.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> u8 {
        parse_imei(text.as_bytes(), &Placeholders::new(vec![35_000_001_000_005])).class
    }

    #[test]
    fn imeis_are_classified() {
        let expected = [
            ("35000001000006", imei_class::KEY),
            (" \t350000010000061\r\n", imei_class::KEY),
            ("3500000100000612", imei_class::KEY),
            ("35000001000006é", imei_class::KEY),
            ("35000001000006éé", imei_class::KEY),
            ("35000001000006ééé", imei_class::MALFORMED_LONG),
            ("35000001000005", imei_class::SPECIAL_PLACEHOLDER),
            ("00000000000000", imei_class::SPECIAL_ZERO),
            ("77777777777777", imei_class::SPECIAL_REPEATED),
            ("00101700000001", imei_class::SPECIAL_TEST),
            ("00101800000001", imei_class::KEY),
            ("00440000000001", imei_class::SPECIAL_TEST),
            ("", imei_class::MALFORMED_EMPTY),
            (" \n ", imei_class::MALFORMED_EMPTY),
            ("3500000100000", imei_class::MALFORMED_SHORT),
            ("35000001000006123", imei_class::MALFORMED_LONG),
            ("3500000100000a", imei_class::MALFORMED_NON_DIGIT),
            ("٣٥٠٠٠٠٠١", imei_class::MALFORMED_NON_DIGIT),
        ];
        for (text, expected) in expected {
            assert_eq!(class(text), expected, "{text:?}");
        }
    }

    #[test]
    fn digits_are_read_as_one_by_one() {
        for length in 0..=16 {
            let text: Vec<u8> = (0..length).map(|place| b'0' + (place * 7 + 3) % 10).collect();
            let plain = text.iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'));
            assert_eq!(number(&text), Some(plain), "{length}");
            for place in 0..text.len() {
                for byte in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
                    let mut other = text.clone();
                    other[place] = byte;
                    assert_eq!(number(&other), None, "{byte} at {place} of {length}");
                }
            }
            assert_eq!(number(&vec![b'9'; text.len()]), Some(10_u64.pow(text.len() as u32) - 1));
        }
    }

    #[test]
    fn two_numbers_are_the_same_whatever_the_processor() {
        let words = [*b"00000000", *b"99999999", *b"12345678", *b"90000009", *b"70605040"];
        let mut all = words.to_vec();
        for place in 0..8 {
            for byte in 0..=255 {
                all.push(words[2]);
                all.last_mut().unwrap()[place] = byte;
            }
        }
        for word in all.iter().map(|word| u64::from_le_bytes(*word)) {
            for other in words.map(u64::from_le_bytes) {
                assert_eq!(two_numbers(word, other), plain::two_numbers(word, other), "{word:x} {other:x}");
                assert_eq!(two_numbers(other, word), plain::two_numbers(other, word), "{other:x} {word:x}");
            }
        }
        assert_eq!(two_numbers(u64::from_le_bytes(words[2]), ZEROS), Some((12_345_678, 0)));
    }

    #[test]
    fn what_is_read_fast_is_what_is_read_slowly() {
        let none = Placeholders::default();
        for digits in ["35693803564380", "356938035643806", "432110000000001", "3569380356438067", "43211000"]
        {
            let mut texts = vec![digits.as_bytes().to_vec()];
            for place in 0..digits.len() {
                for byte in [b' ', b'/', b':', b'0', b'9', 0xB0, 0] {
                    texts.push(digits.as_bytes().to_vec());
                    texts.last_mut().unwrap()[place] = byte;
                }
            }
            for text in texts {
                assert_eq!(parse_imei(&text, &none), parse_any_imei(&text, &none), "{text:?}");
                assert_eq!(parse_imsi(&text), parse_any_imsi(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn all_placeholders_are_known_and_no_other_key() {
        let keys: Vec<u64> = (0..200).map(|place| 35_000_001_000_005 + place * 7).collect();
        let placeholders = Placeholders::new(keys.iter().rev().copied().collect());
        assert!(keys.iter().all(|key| placeholders.have(*key) && !placeholders.have(key + 1)));
    }

    #[test]
    fn raw_text_is_upper_case_and_ascii() {
        let raw = |text: &str| parse_imei(text.as_bytes(), &Placeholders::default()).subject;
        assert_eq!(raw("12*#a"), Subject::Raw(*b"12*#A\0\0\0\0\0\0\0\0\0\0\0", 5));
        assert_eq!(raw("é"), Subject::Nothing);
    }

    #[test]
    fn imsis_are_classified() {
        let code = |text: &str| parse_imsi(text.as_bytes());
        assert_eq!(code("00101"), Imsi { class: imsi_class::SHORT, code: 100_101 });
        assert_eq!(
            code("432110000000001"),
            Imsi { class: imsi_class::WELL_FORMED, code: 1_432_110_000_000_001 }
        );
        assert_eq!(code("4321100000000011").class, imsi_class::MALFORMED);
        assert_eq!(code("43211000000000x").class, imsi_class::MALFORMED);
        assert_eq!(code(" ").class, imsi_class::NONE);
    }
}
