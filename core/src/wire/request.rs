//! Requests, read from bytes: nothing is allocated for a field.

use super::fields::{Bad, Value, field, utf8};

/// CheckEquipmentRequest.
#[derive(Default, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CheckRequest<'a> {
    pub imei: &'a [u8],
    pub imsi: &'a [u8],
    pub msisdn: &'a [u8],
    pub serving_plmn: &'a [u8],
    pub emergency: bool,
    pub request_id: &'a [u8],
}

/// Where a text lies in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    start: u32,
    bytes: u32,
}

impl Place {
    /// The text itself, in the message it was read from.
    pub fn of(self, data: &[u8]) -> &[u8] {
        let start = self.start as usize;
        data.get(start..start + self.bytes as usize).unwrap_or_default()
    }

    /// Bytes of the text.
    pub fn bytes(self) -> usize {
        self.bytes as usize
    }
}

/// One column of a batch: all its entries counted, the first of them kept.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Column {
    pub places: Vec<Place>,
    pub rows: usize,
}

impl Column {
    fn clear(&mut self) {
        self.places.clear();
        self.rows = 0;
    }

    fn push(&mut self, place: Place, rows_max: usize) {
        self.rows += 1;
        if self.places.len() < rows_max {
            self.places.push(place);
        }
    }
}

/// BatchCheckEquipmentRequest; kept from batch to batch for the memory of its columns.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Batch {
    pub imei: Column,
    pub imsi: Column,
    pub serving_plmn: Option<Place>,
    pub request_id: Option<Place>,
}

/// The first byte of an entry of a batch.
const IMEI_TAG: u8 = 1 << 3 | 2;
const IMSI_TAG: u8 = 2 << 3 | 2;

impl Batch {
    /// Reads a batch in place of the one before, keeping at most some rows of each column.
    pub fn read(&mut self, data: &[u8], rows_max: usize) -> Result<(), Bad> {
        self.imei.clear();
        self.imsi.clear();
        (self.serving_plmn, self.request_id) = (None, None);
        // ASCII as a whole is UTF-8 in each field.
        let ascii = data.is_ascii();
        let mut rest = data;
        loop {
            if ascii {
                let at = short_texts(data, data.len() - rest.len(), IMEI_TAG, |text| {
                    self.imei.push(text, rows_max)
                });
                let at = short_texts(data, at, IMSI_TAG, |text| self.imsi.push(text, rows_max));
                rest = &data[at..];
            }
            let Some((number, value)) = field(&mut rest)? else { return Ok(()) };
            let (1..=4, Value::Bytes(text)) = (number, value) else { continue };
            if !ascii {
                utf8(text)?;
            }
            let start = data.len() - rest.len() - text.len();
            let place = Place { start: start as u32, bytes: text.len() as u32 };
            match number {
                1 => self.imei.push(place, rows_max),
                2 => self.imsi.push(place, rows_max),
                3 => self.serving_plmn = Some(place),
                _ => self.request_id = Some(place),
            }
        }
    }
}

/// Finds the texts of less than 128 bytes that follow each other from a place on, all with one tag; returns the place
/// after them. What is no such text it leaves.
fn short_texts(data: &[u8], mut at: usize, tag: u8, mut found: impl FnMut(Place)) -> usize {
    while let Some([first, bytes @ ..0x80]) = data.get(at..at + 2).and_then(<[u8]>::first_chunk)
        && *first == tag
        && at + 2 + usize::from(*bytes) <= data.len()
    {
        found(Place { start: at as u32 + 2, bytes: u32::from(*bytes) });
        at += 2 + usize::from(*bytes);
    }
    at
}

/// Reads CheckEquipmentRequest.
#[inline(always)]
pub fn check_request(data: &[u8]) -> Result<CheckRequest<'_>, Bad> {
    let mut request = CheckRequest::default();
    merge_check(data, &mut request)?;
    Ok(request)
}

/// Reads StreamCheckEquipmentRequest: None where it has no check.
#[inline(always)]
pub fn stream_request(mut data: &[u8]) -> Result<Option<CheckRequest<'_>>, Bad> {
    let mut request = None;
    while let Some((number, value)) = field(&mut data)? {
        if let (1, Value::Bytes(check)) = (number, value) {
            merge_check(check, request.get_or_insert_with(CheckRequest::default))?;
        }
    }
    Ok(request)
}

/// Reads HealthCheckRequest: the name of the service.
pub fn health_request(mut data: &[u8]) -> Result<&[u8], Bad> {
    let mut service: &[u8] = b"";
    while let Some((number, value)) = field(&mut data)? {
        if let (1, Value::Bytes(text)) = (number, value) {
            service = utf8(text)?;
        }
    }
    Ok(service)
}

#[inline(always)]
fn merge_check<'a>(mut data: &'a [u8], request: &mut CheckRequest<'a>) -> Result<(), Bad> {
    // ASCII as a whole is UTF-8 in each field.
    let ascii = data.is_ascii();
    let utf8 = |text| if ascii { Ok(text) } else { utf8(text) };
    while let Some((number, value)) = field(&mut data)? {
        match (number, value) {
            (1, Value::Bytes(text)) => request.imei = utf8(text)?,
            (2, Value::Bytes(text)) => request.imsi = utf8(text)?,
            (3, Value::Bytes(text)) => request.msisdn = utf8(text)?,
            (4, Value::Bytes(text)) => request.serving_plmn = utf8(text)?,
            (5, Value::Varint(number)) => request.emergency = number != 0,
            (6, Value::Bytes(text)) => request.request_id = utf8(text)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fields::put_varint;
    use super::*;

    #[test]
    fn a_check_is_read_as_protobuf_reads_it() {
        let data = b"\x0a\x02ab\x12\x01c\x1a\x01d\x22\x01e\x28\x01\x32\x01f";
        let request = check_request(data).unwrap();
        assert_eq!(
            request,
            CheckRequest {
                imei: b"ab",
                imsi: b"c",
                msisdn: b"d",
                serving_plmn: b"e",
                emergency: true,
                request_id: b"f"
            }
        );
        assert_eq!(check_request(b"").unwrap(), CheckRequest::default());
        assert_eq!(check_request(b"\x0a\x01a\x0a\x01b").unwrap().imei, b"b", "the last counts");
        assert!(check_request(b"\x28\x80\x02").unwrap().emergency, "any bit is true");
        assert_eq!(check_request(b"\x08\x05\x0a\x01a").unwrap().imei, b"a", "another kind is unknown");
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let known = b"\x0a\x01a";
        for unknown in [
            b"\x78\x01".as_slice(),      // varint
            b"\x79ABCDEFGH",             // fixed64
            b"\x7a\x03abc",              // bytes
            b"\x7dABCD",                 // fixed32
            b"\x7b\x08\x01\x7b\x7c\x7c", // a group in a group
            b"\x7b\x00\x05\x05ABCD\x7c", // number 0 in a group
            b"\xf8\xff\xff\xff\x0f\x01", // the largest number
        ] {
            let data = [unknown, known, unknown].concat();
            assert_eq!(check_request(&data).unwrap().imei, b"a", "{unknown:x?}");
        }
    }

    #[test]
    fn what_is_no_message_is_bad() {
        let deep = [vec![0x7b; 102], vec![0x7c; 102]].concat();
        let cases: [&[u8]; 13] = [
            b"\xff\xff\xff",
            b"\x0a\x02\xff\xfe",                                 // not UTF-8
            b"\x0a\xff",                                         // length cut off
            b"\x0a\x05abc",                                      // text cut off
            b"\x00\x01",                                         // number 0
            b"\x0f",                                             // kind 7
            b"\x7c",                                             // the end of no group
            b"\x7b\x84\x01",                                     // the end of another group
            b"\x7b",                                             // a group without end
            b"\x79ABC",                                          // fixed64 cut off
            b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // a varint of 11 bytes
            b"\xff\xff\xff\xff\x1f\x01",                         // a tag of 33 bits
            &deep,
        ];
        for case in cases {
            assert_eq!(check_request(case), Err(Bad), "{case:x?}");
            assert_eq!(Batch::default().read(case, 9), Err(Bad), "{case:x?}");
        }
    }

    #[test]
    fn the_parts_of_a_stream_request_are_merged() {
        assert_eq!(stream_request(b"").unwrap(), None);
        assert_eq!(stream_request(b"\x0a\x00").unwrap(), Some(CheckRequest::default()));
        let both = stream_request(b"\x0a\x03\x0a\x01a\x0a\x03\x12\x01b").unwrap().unwrap();
        assert_eq!((both.imei, both.imsi), (b"a".as_slice(), b"b".as_slice()));
    }

    #[test]
    fn a_batch_keeps_its_first_rows_and_counts_all() {
        let mut batch = Batch::default();
        let data = b"\x0a\x01a\x0a\x00\x12\x02bc\x0a\x01\x7f\x1a\x0543211\x22\x01r";
        batch.read(data, 2).unwrap();
        assert_eq!((batch.imei.rows, batch.imei.places.len(), batch.imsi.rows), (3, 2, 1));
        assert_eq!(batch.imei.places[0].of(data), b"a");
        assert_eq!(batch.imei.places[1].of(data), b"");
        assert_eq!(batch.imsi.places[0].of(data), b"bc");
        assert_eq!(batch.serving_plmn.unwrap().of(data), b"43211");
        assert_eq!(batch.request_id.unwrap().of(data), b"r");
        batch.read(b"", 2).unwrap();
        assert!(batch.imei.rows == 0 && batch.imei.places.is_empty() && batch.request_id.is_none());
    }

    #[test]
    fn entries_are_found_in_any_order_of_fields_and_lengths() {
        let long = [b'7'; 200];
        let entry = |number: u8, text: &[u8]| {
            let mut out = vec![number << 3 | 2];
            put_varint(&mut out, text.len() as u64);
            [&out, text].concat()
        };
        let fields = [
            entry(1, b"11"),
            entry(2, b"21"),
            entry(1, &long),
            entry(1, b"13"),
            b"\x78\x01".to_vec(),
            entry(2, &long),
            entry(2, b""),
            entry(1, b"14"),
            entry(3, b"43211"),
            entry(2, b"24"),
        ];
        let texts = |batch: &Batch, data: &[u8]| {
            let column = |column: &Column| -> Vec<Vec<u8>> {
                column.places.iter().map(|place| place.of(data).to_vec()).collect()
            };
            (column(&batch.imei), column(&batch.imsi))
        };
        let expected = (
            vec![b"11".to_vec(), long.to_vec(), b"13".to_vec(), b"14".to_vec()],
            vec![b"21".to_vec(), long.to_vec(), b"".to_vec(), b"24".to_vec()],
        );
        let mut batch = Batch::default();
        let plain = fields.concat();
        batch.read(&plain, 9).unwrap();
        assert_eq!(texts(&batch, &plain), expected);
        // One field that is not ASCII: each is looked at by itself, and found alike.
        let other = [plain, entry(4, "\u{634}".as_bytes())].concat();
        batch.read(&other, 9).unwrap();
        assert_eq!(texts(&batch, &other), expected);
        for end in 0..other.len() {
            let whole = fields.iter().scan(0, |at, field| {
                *at += field.len();
                Some(*at)
            });
            let cut = !std::iter::once(0).chain(whole).any(|at| at == end);
            assert_eq!(batch.read(&other[..end], 9).is_err(), cut, "{end}");
        }
    }
}
