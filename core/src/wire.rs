//! The messages of check.proto and of gRPC health, read from and written to byte slices.
//!
//! By hand, since a check is a few dozen bytes and a batch has thousands of fields: nothing is
//! allocated for a field. What is accepted is what protobuf accepts: unknown fields are skipped, the
//! last of a repeated single field counts, texts are UTF-8.

use crate::check::Verdict;

/// How deep unknown groups may lie in each other.
const DEPTH_MAX: u32 = 100;

/// The bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad;

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

impl Batch {
    /// Reads a batch in place of the one before, keeping at most some rows of each column.
    pub fn read(&mut self, data: &[u8], rows_max: usize) -> Result<(), Bad> {
        self.imei.clear();
        self.imsi.clear();
        (self.serving_plmn, self.request_id) = (None, None);
        // ASCII as a whole is UTF-8 in each field.
        let ascii = data.is_ascii();
        let mut rest = data;
        while let Some((number, value)) = field(&mut rest)? {
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
        Ok(())
    }
}

/// Reads CheckEquipmentRequest.
pub fn check_request(data: &[u8]) -> Result<CheckRequest<'_>, Bad> {
    let mut request = CheckRequest::default();
    merge_check(data, &mut request)?;
    Ok(request)
}

/// Reads StreamCheckEquipmentRequest: None where it has no check.
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

fn merge_check<'a>(mut data: &'a [u8], request: &mut CheckRequest<'a>) -> Result<(), Bad> {
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

fn utf8(text: &[u8]) -> Result<&[u8], Bad> {
    std::str::from_utf8(text).map(str::as_bytes).map_err(|_| Bad)
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no field of ours has.
    Other,
}

/// Takes the next field; None at the end.
fn field<'a>(data: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, Bad> {
    if data.is_empty() {
        return Ok(None);
    }
    let (number, kind) = tag(data)?;
    if number == 0 {
        return Err(Bad);
    }
    let value = match kind {
        0 => Value::Varint(varint(data)?),
        2 => {
            let bytes = varint(data)?;
            Value::Bytes(take(data, usize::try_from(bytes).map_err(|_| Bad)?)?)
        }
        kind => {
            skip(data, number, kind, 0)?;
            Value::Other
        }
    };
    Ok(Some((number, value)))
}

fn tag(data: &mut &[u8]) -> Result<(u32, u32), Bad> {
    let before = data.len();
    let tag = u32::try_from(varint(data)?).map_err(|_| Bad)?;
    if before - data.len() > 5 {
        return Err(Bad);
    }
    Ok((tag >> 3, tag & 7))
}

/// Skips a value of a kind that we do not read: fixed, or a group with what is in it, where Python's protobuf
/// lets a field be of number 0.
fn skip(data: &mut &[u8], number: u32, kind: u32, depth: u32) -> Result<(), Bad> {
    match kind {
        0 => varint(data).map(|_| ()),
        1 => take(data, 8).map(|_| ()),
        2 => {
            let bytes = varint(data)?;
            take(data, usize::try_from(bytes).map_err(|_| Bad)?).map(|_| ())
        }
        3 if depth < DEPTH_MAX => loop {
            let (inner, kind) = tag(data)?;
            if kind == 4 {
                return if inner == number { Ok(()) } else { Err(Bad) };
            }
            skip(data, inner, kind, depth + 1)?;
        },
        5 => take(data, 4).map(|_| ()),
        _ => Err(Bad),
    }
}

fn take<'a>(data: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], Bad> {
    let (taken, rest) = data.split_at_checked(bytes).ok_or(Bad)?;
    *data = rest;
    Ok(taken)
}

#[inline]
fn varint(data: &mut &[u8]) -> Result<u64, Bad> {
    let mut value = 0;
    for (place, byte) in data.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *data = &data[place + 1..];
            return Ok(value);
        }
    }
    Err(Bad)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a field that is a number, unless it is 0.
fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(number << 3);
        put_varint(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_text(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    if !value.is_empty() {
        put_bytes(out, number, value);
    }
}

/// Adds CheckEquipmentResponse.
pub fn put_verdict(out: &mut Vec<u8>, verdict: &Verdict, request_id: &[u8]) {
    put_number(out, 1, verdict.status.into());
    put_number(out, 2, verdict.reason.into());
    put_number(out, 3, verdict.deadline);
    put_number(out, 4, verdict.serial);
    put_number(out, 5, verdict.stale.into());
    put_number(out, 6, verdict.cache_seconds.into());
    put_text(out, 7, request_id);
}

/// Adds StreamCheckEquipmentResponse.
pub fn put_stream_verdict(out: &mut Vec<u8>, verdict: &Verdict, request_id: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0x0a, 0]);
    put_verdict(out, verdict, request_id);
    let bytes = out.len() - start - 2;
    out[start + 1] = bytes as u8;
    if bytes >= 0x80 {
        // The echo of a long id: its length takes a second byte.
        out[start + 1] |= 0x80;
        out.insert(start + 2, (bytes >> 7) as u8);
    }
}

/// Adds BatchCheckEquipmentResponse.
pub fn put_batch(out: &mut Vec<u8>, verdicts: &[Verdict], serial: u64, stale: bool, request_id: &[u8]) {
    put_column(out, 1, verdicts, |verdict| verdict.status.into());
    put_column(out, 2, verdicts, |verdict| verdict.reason.into());
    if verdicts.iter().any(|verdict| verdict.deadline != 0) {
        put_column(out, 3, verdicts, |verdict| verdict.deadline);
    }
    put_number(out, 4, serial);
    put_number(out, 5, stale.into());
    if verdicts.iter().any(|verdict| verdict.cache_seconds != 0) {
        put_column(out, 6, verdicts, |verdict| verdict.cache_seconds.into());
    }
    put_text(out, 7, request_id);
}

fn put_column(out: &mut Vec<u8>, number: u8, verdicts: &[Verdict], value: impl Fn(&Verdict) -> u64) {
    if verdicts.is_empty() {
        return;
    }
    let bytes: usize = verdicts.iter().map(|verdict| varint_bytes(value(verdict))).sum();
    out.push(number << 3 | 2);
    put_varint(out, bytes as u64);
    if bytes == verdicts.len() {
        out.extend(verdicts.iter().map(|verdict| value(verdict) as u8));
    } else {
        out.reserve(bytes);
        verdicts.iter().for_each(|verdict| put_varint(out, value(verdict)));
    }
}

fn varint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// HealthCheckResponse.
pub fn health_response(status: u8) -> [u8; 2] {
    [0x08, status]
}

/// Adds google.rpc.Status with its details packed as Any: each a type's name and its bytes.
pub fn put_status(out: &mut Vec<u8>, code: u8, message: &[u8], details: &[(&str, Vec<u8>)]) {
    put_number(out, 1, code.into());
    put_text(out, 2, message);
    for (kind, value) in details {
        let mut any = Vec::with_capacity(kind.len() + value.len() + 32);
        put_bytes(&mut any, 1, format!("type.googleapis.com/{kind}").as_bytes());
        put_text(&mut any, 2, value);
        put_bytes(out, 3, &any);
    }
}

/// google.rpc.ErrorInfo.
pub fn error_info(reason: &str, domain: &str, metadata: Option<(&str, &str)>) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, 1, reason.as_bytes());
    put_text(&mut out, 2, domain.as_bytes());
    if let Some((key, value)) = metadata {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut out, 3, &entry);
    }
    out
}

/// google.rpc.BadRequest with one violation.
pub fn bad_request(field: &str, description: &str) -> Vec<u8> {
    let (mut violation, mut out) = (Vec::new(), Vec::new());
    put_text(&mut violation, 1, field.as_bytes());
    put_text(&mut violation, 2, description.as_bytes());
    put_bytes(&mut out, 1, &violation);
    out
}

/// google.rpc.RetryInfo.
pub fn retry_info(seconds: u64) -> Vec<u8> {
    let (mut delay, mut out) = (Vec::new(), Vec::new());
    put_number(&mut delay, 1, seconds);
    put_bytes(&mut out, 1, &delay);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICT: Verdict = {
        let (status, reason, deadline, serial) = (1, 16, 300, 7);
        Verdict { status, reason, deadline, serial, stale: true, cache_seconds: 60, unpaired: None }
    };

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
    fn answers_are_as_protobuf_writes_them() {
        let mut out = Vec::new();
        put_verdict(&mut out, &VERDICT, b"r");
        assert_eq!(out, b"\x08\x01\x10\x10\x18\xac\x02\x20\x07\x28\x01\x30\x3c\x3a\x01r");
        let alone = std::mem::take(&mut out);
        put_stream_verdict(&mut out, &VERDICT, b"r");
        assert_eq!(out, [b"\x0a\x10".as_slice(), &alone].concat());
        let id = [b'x'; 128];
        out.clear();
        put_stream_verdict(&mut out, &VERDICT, &id);
        assert_eq!(out[..3], [0x0a, 0x90, 0x01]);
        assert_eq!(out.len(), 3 + 13 + 3 + 128);
        assert_eq!(out[3..5], [0x08, 0x01]);
    }

    #[test]
    fn columns_of_zeros_are_left_out() {
        let bare = Verdict { status: 2, reason: 37, serial: 7, ..Default::default() };
        let mut out = Vec::new();
        put_batch(&mut out, &[bare, bare], 7, false, b"");
        assert_eq!(out, b"\x0a\x02\x02\x02\x12\x02\x25\x25\x20\x07");
        out.clear();
        put_batch(&mut out, &[bare, VERDICT], 7, true, b"r");
        assert_eq!(
            out,
            b"\x0a\x02\x02\x01\x12\x02\x25\x10\x1a\x03\x00\xac\x02\x20\x07\x28\x01\x32\x02\x00\x3c\x3a\x01r"
        );
        out.clear();
        put_batch(&mut out, &[], 7, false, b"");
        assert_eq!(out, b"\x20\x07");
    }

    #[test]
    fn lengths_of_varints() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
            assert_eq!(varint(&mut out.as_slice()), Ok(value));
        }
    }
}
