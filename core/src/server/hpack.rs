//! Header compression (RFC 7541): decoding. What the server sends needs no encoder (see `answer`).

use std::collections::VecDeque;

use super::huffman;

/// Bytes of the table of what came before, as a connection begins; we never ask for another size.
pub const TABLE_BYTES: usize = 4096;
/// What an entry counts beside its bytes (RFC 7541 clause 4.1), and a field of a list (RFC 9113 clause 10.5.1).
pub const ENTRY_BYTES: usize = 32;

#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""),
    ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""),
    ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""),
    ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""),
    ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""),
    ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""),
    ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Why a block was not read to its end: the connection cannot go on, since its state is unknown.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is no HPACK.
    Malformed,
    /// Its fields are more than may be: a few bytes of references stand for any amount of text.
    Long,
}
use Bad::Malformed;

/// A field of before: its name and value, one after the other.
struct Entry {
    name_bytes: usize,
    text: Box<[u8]>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.text.len() + ENTRY_BYTES
    }
}

/// Memory that is kept for the field at hand.
const KEPT_BYTES: usize = 256;

/// The state of one direction of one connection.
pub struct Decoder {
    table: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES, name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Gives back the memory of fields that were long.
    pub fn give_back(&mut self) {
        self.name.clear();
        self.value.clear();
        self.name.shrink_to(KEPT_BYTES);
        self.value.shrink_to(KEPT_BYTES);
    }

    /// What buffers take of memory, whether used or not.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.name.capacity() + self.value.capacity()
    }

    /// Gives each field of a whole header block, name and value, to `field`: of at most so many bytes together.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        bytes_max: usize,
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Bad> {
        let (mut began, mut left) = (false, bytes_max);
        let mut field = |name: &[u8], value: &[u8]| {
            left = left.checked_sub(name.len() + value.len() + ENTRY_BYTES).ok_or(Bad::Long)?;
            field(name, value);
            Ok(())
        };
        while let Some(first) = block.first().copied() {
            if first & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                let (name, value) = self.entry(index)?;
                field(name, value)?;
            } else if first & 0xe0 == 0x20 {
                let bytes_max = integer(&mut block, 5)?;
                if began || bytes_max > TABLE_BYTES {
                    return Err(Malformed);
                }
                self.bytes_max = bytes_max;
                self.shrink(bytes_max);
                continue;
            } else {
                let keep = first & 0xc0 == 0x40;
                let index = integer(&mut block, if keep { 6 } else { 4 })?;
                self.literal(&mut block, index, keep, &mut field)?;
            }
            began = true;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        index: usize,
        keep: bool,
        field: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let mut buffer = std::mem::take(&mut self.name);
        buffer.clear();
        if index == 0 {
            string(block, &mut buffer)?;
        } else {
            buffer.extend_from_slice(self.entry(index)?.0);
        }
        self.name = buffer;
        self.value.clear();
        string(block, &mut self.value)?;
        field(&self.name, &self.value)?;
        if keep {
            let bytes = self.name.len() + self.value.len() + ENTRY_BYTES;
            // An entry larger than the table empties it.
            self.shrink(self.bytes_max.saturating_sub(bytes));
            if bytes <= self.bytes_max {
                let text = [self.name.as_slice(), &self.value].concat().into_boxed_slice();
                self.table.push_front(Entry { name_bytes: self.name.len(), text });
                self.bytes += bytes;
            }
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Bad> {
        let place = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.table.get(place - STATIC.len()).ok_or(Malformed)?;
        Ok(entry.text.split_at(entry.name_bytes))
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(entry) = self.table.pop_back() else { break };
            self.bytes -= entry.bytes();
        }
    }
}

/// Takes an integer with a prefix of some bits (clause 5.1).
fn integer(block: &mut &[u8], prefix_bits: u32) -> Result<usize, Bad> {
    let mask = (1_usize << prefix_bits) - 1;
    let (first, mut rest) = block.split_first().ok_or(Malformed)?;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first().ok_or(Malformed)?;
            rest = after;
            // Nothing that we take has more than 28 bits.
            if shift > 21 {
                return Err(Malformed);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Takes a string (clause 5.2) and adds it to `out`.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let huffman = block.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(block, 7)?;
    if length > block.len() {
        return Err(Malformed);
    }
    let (text, rest) = block.split_at(length);
    *block = rest;
    if !huffman {
        out.extend_from_slice(text);
        return Ok(());
    }
    huffman::decode(text, out).then_some(()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::Bad::{self, Long, Malformed};
    use super::Decoder;

    fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Bad> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder.decode(block, 10_000, |name, value| found.push(format!("{}={}", text(name), text(value))))?;
        Ok(found)
    }

    #[test]
    fn requests_of_the_rfc_with_and_without_huffman() {
        let plain: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x0fwww.example.com",
            b"\x82\x86\x84\xbe\x58\x08no-cache",
            b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
        ];
        let huffman: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
        ];
        for blocks in [plain, huffman] {
            let mut decoder = Decoder::default();
            let all: Vec<_> = blocks.iter().map(|block| fields(&mut decoder, block).unwrap()).collect();
            assert_eq!(all[0], [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]);
            assert_eq!(all[1][3..], [":authority=www.example.com", "cache-control=no-cache"]);
            assert_eq!(
                all[2],
                [
                    ":method=GET",
                    ":scheme=https",
                    ":path=/index.html",
                    ":authority=www.example.com",
                    "custom-key=custom-value"
                ]
            );
            assert_eq!(decoder.bytes, 164);
        }
    }

    #[test]
    fn the_table_forgets_the_oldest() {
        let mut decoder = Decoder::default();
        fields(&mut decoder, b"\x3f\x45\x41\x01a\x41\x01b").unwrap(); // 100 bytes: room for two of 43
        assert_eq!(fields(&mut decoder, b"\xbe\xbf").unwrap(), [":authority=b", ":authority=a"]);
        fields(&mut decoder, b"\x41\x01c").unwrap();
        assert_eq!(fields(&mut decoder, b"\xbe\xbf").unwrap(), [":authority=c", ":authority=b"]);
        assert_eq!(fields(&mut decoder, b"\xc0"), Err(Malformed));
        let large = [b"\x41\x7f\x00".as_slice(), &[b'x'; 127]].concat();
        fields(&mut decoder, &large).unwrap();
        assert_eq!(fields(&mut decoder, b"\xbe"), Err(Malformed), "an entry too large empties the table");
    }

    #[test]
    fn garbage_is_malformed() {
        let cases: [&[u8]; 9] = [
            b"\x80",                         // index 0
            b"\xff\xff\xff\xff\xff\xff\x0f", // an integer without end
            b"\xff",                         // an integer cut off
            b"\x41\x0fwww",                  // a string cut off
            b"\x41",                         // no string
            b"\x3f\xe1\x7f",                 // a table larger than we said
            b"\x82\x20",                     // a change of the table after a field
            b"\x41\x81\x00",                 // bad Huffman padding
            b"\x7f\xff\xff\xff\xff\xff\x0f",
        ];
        for case in cases {
            assert_eq!(fields(&mut Decoder::default(), case), Err(Malformed), "{case:x?}");
        }
    }

    #[test]
    fn references_cannot_stand_for_any_amount_of_text() {
        let mut decoder = Decoder::default();
        let large = [b"\x40\x01a\x7f\xa1\x0f".as_slice(), &[b'x'; 2080]].concat();
        let large = [&large[..], b"\xbe"].concat();
        assert_eq!(fields(&mut decoder, &large).unwrap().len(), 2);
        assert_eq!(fields(&mut decoder, &[0xbe; 5]), Err(Long));
    }
}
