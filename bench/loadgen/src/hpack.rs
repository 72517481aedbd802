//! The two response fields that tell how a call ended: `:status` and `grpc-status` (RFC 7541).
//!
//! Nothing else is decoded. Entries are found by how long ago they came, so their sizes need not be known:
//! what the encoder evicts it no longer names.

use std::collections::VecDeque;

/// Entries that 4,096 bytes can hold at most (each counts 32 bytes and more).
const ENTRIES_MAX: usize = 128;
const STATIC_ENTRIES: usize = 61;
const STATUSES: [u32; 7] = [200, 204, 206, 304, 400, 404, 500];
const FIRST_STATUS: usize = 8;
const GRPC_STATUS: &[u8] = b"grpc-status";
/// The same in Huffman code, which encoders prefer.
const GRPC_STATUS_HUFFMAN: &[u8] = &[0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];
/// A status that cannot be read: counted, and never taken for 0.
const UNREADABLE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Http,
    Grpc,
    Other,
}

#[derive(Clone, Copy)]
struct Field(Name, u32);

/// What a block of headers or trailers said.
#[derive(Default, Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub http: Option<u32>,
    pub grpc: Option<u32>,
}

/// The decoder of one connection.
#[derive(Default)]
pub struct Decoder {
    entries: VecDeque<Field>,
}

impl Decoder {
    /// Reads one block; None where it is damaged.
    pub fn read(&mut self, block: &[u8]) -> Option<Told> {
        let (mut told, mut rest) = (Told::default(), block);
        while let Some(&first) = rest.first() {
            let field = if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                self.entry(index)?
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut rest, 6)?;
                self.entries.push_front(field);
                self.entries.truncate(ENTRIES_MAX);
                field
            } else if first & 0x20 != 0 {
                if integer(&mut rest, 5)? == 0 {
                    self.entries.clear();
                }
                continue;
            } else {
                self.literal(&mut rest, 4)?
            };
            match field.0 {
                Name::Http => told.http = Some(field.1),
                Name::Grpc => told.grpc = Some(field.1),
                Name::Other => {}
            }
        }
        Some(told)
    }

    fn entry(&self, index: usize) -> Option<Field> {
        if index > STATIC_ENTRIES {
            return self.entries.get(index - STATIC_ENTRIES - 1).copied();
        }
        let status = index.checked_sub(FIRST_STATUS).and_then(|place| STATUSES.get(place));
        Some(status.map_or(Field(Name::Other, 0), |status| Field(Name::Http, *status)))
    }

    fn literal(&self, rest: &mut &[u8], bits: u32) -> Option<Field> {
        let name = match integer(rest, bits)? {
            0 => match string(rest)? {
                (GRPC_STATUS, false) | (GRPC_STATUS_HUFFMAN, true) => Name::Grpc,
                _ => Name::Other,
            },
            index => self.entry(index)?.0,
        };
        let (value, huffman) = string(rest)?;
        let number = match name {
            Name::Other => Some(0),
            _ if huffman => huffman_number(value),
            _ => std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
        };
        Some(Field(name, number.unwrap_or(UNREADABLE)))
    }
}

fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let limit = (1 << bits) - 1;
    let mut value = usize::from(*rest.split_off_first()?) & limit;
    if value < limit {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = usize::from(*rest.split_off_first()?);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    Some((rest.split_off(..length)?, huffman))
}

/// Reads a number: digits 0 to 2 have five bits (00000 to 00010), 3 to 9 six (011001 to 011111).
fn huffman_number(code: &[u8]) -> Option<u32> {
    let bits =
        code.iter().try_fold(0u64, |bits, byte| (bits >> 56 == 0).then_some(bits << 8 | u64::from(*byte)))?;
    let (mut left, mut value) = (8 * code.len() as u32, 0);
    while left >= 5 {
        let five = bits >> (left - 5) & 31;
        let (digit, length) = match five {
            0..=2 => (five, 5),
            12..=15 if left >= 6 => ((bits >> (left - 6) & 63) - 22, 6),
            _ => break,
        };
        if !(0..=9).contains(&digit) {
            return None;
        }
        (value, left) = (value * 10 + digit as u32, left - length);
    }
    // The end is filled with ones.
    (left < 8 && bits & ((1 << left) - 1) == (1 << left) - 1).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_as_literals_and_by_index() {
        let mut decoder = Decoder::default();
        // 200; content-type (static name, new entry); as gRPC servers begin
        let head = [0x88, 0x5f, 0x03, b'a', b'/', b'b'];
        assert_eq!(decoder.read(&head), Some(Told { http: Some(200), grpc: None }));
        let mut trailers = vec![0x40, 0x88];
        trailers.extend(GRPC_STATUS_HUFFMAN);
        trailers.extend([0x01, b'0']);
        assert_eq!(decoder.read(&trailers), Some(Told { http: None, grpc: Some(0) }));
        assert_eq!(decoder.read(&[0xbe]).unwrap().grpc, Some(0));
        // the same name with another value, by index, not kept
        assert_eq!(decoder.read(&[0x0f, 0x2f, 0x02, b'1', b'4']).unwrap().grpc, Some(14));
        assert_eq!(decoder.read(&[0xbf]), Some(Told::default()));
        assert_eq!(decoder.read(&[0xc0]), None);
    }

    #[test]
    fn numbers_are_read_in_huffman_code() {
        // 0; 14 = 00001 011010, padded; 404 = 011010 00000 011010, padded
        for (code, number) in [(&[0x07][..], 0), (&[0x0b, 0x5f], 14), (&[0x68, 0x0d, 0x7f], 404)] {
            assert_eq!(huffman_number(code), Some(number), "{code:x?}");
        }
        assert_eq!(huffman_number(&[0xff, 0xff]), None);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        for block in [&[0x40, 0x88, 0x9a][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x40]] {
            assert_eq!(Decoder::default().read(block), None, "{block:x?}");
        }
    }
}
