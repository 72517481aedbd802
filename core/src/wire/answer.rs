//! Answers and the details of failures, written to bytes.

use super::fields::{put_bytes, put_number, put_text, put_varint, varint_bytes};
use crate::check::Verdict;

/// Adds CheckEquipmentResponse.
#[inline(always)]
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
#[inline(always)]
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

/// Verdicts of a batch by column, as they are told; kept from batch to batch for its memory.
#[derive(Default)]
pub struct Verdicts {
    statuses: Vec<u8>,
    reasons: Vec<u8>,
    deadlines: Vec<u64>,
    cache_seconds: Vec<u32>,
}

impl Verdicts {
    /// Lets go of the batch before.
    pub fn clear(&mut self) {
        self.statuses.clear();
        self.reasons.clear();
        self.deadlines.clear();
        self.cache_seconds.clear();
    }

    /// Adds verdicts.
    pub fn extend(&mut self, verdicts: &[Verdict]) {
        self.statuses.extend(verdicts.iter().map(|verdict| verdict.status));
        self.reasons.extend(verdicts.iter().map(|verdict| verdict.reason));
        self.deadlines.extend(verdicts.iter().map(|verdict| verdict.deadline));
        self.cache_seconds.extend(verdicts.iter().map(|verdict| verdict.cache_seconds));
    }
}

/// Adds BatchCheckEquipmentResponse.
pub fn put_batch(out: &mut Vec<u8>, verdicts: &Verdicts, serial: u64, stale: bool, request_id: &[u8]) {
    put_column(out, 1, &verdicts.statuses);
    put_column(out, 2, &verdicts.reasons);
    if verdicts.deadlines.iter().any(|deadline| *deadline != 0) {
        put_column(out, 3, &verdicts.deadlines);
    }
    put_number(out, 4, serial);
    put_number(out, 5, stale.into());
    if verdicts.cache_seconds.iter().any(|seconds| *seconds != 0) {
        put_column(out, 6, &verdicts.cache_seconds);
    }
    put_text(out, 7, request_id);
}

/// Adds numbers packed, as one field.
fn put_column<T: Copy + Into<u64>>(out: &mut Vec<u8>, number: u8, values: &[T]) {
    if values.is_empty() {
        return;
    }
    let numbers = || values.iter().map(|value| -> u64 { (*value).into() });
    out.push(number << 3 | 2);
    match numbers().fold(0, |all, value| all | value) {
        // Each is a byte, as statuses and reasons are.
        0..0x80 => {
            put_varint(out, values.len() as u64);
            out.extend(numbers().map(|value| value as u8));
        }
        // Each is one byte or two, as seconds are: both are written, and the second again where there was none.
        0x80..0x4000 => {
            let bytes = values.len() + numbers().filter(|value| *value >= 0x80).count();
            put_varint(out, bytes as u64);
            let mut at = out.len();
            out.resize(at + bytes + 1, 0);
            for value in numbers() {
                let two = value >= 0x80;
                out[at..at + 2]
                    .copy_from_slice(&[value as u8 & 0x7f | u8::from(two) << 7, (value >> 7) as u8]);
                at += 1 + usize::from(two);
            }
            out.truncate(at);
        }
        _ => {
            put_varint(out, numbers().map(varint_bytes).sum::<usize>() as u64);
            numbers().for_each(|value| put_varint(out, value));
        }
    }
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

    fn columns(verdicts: &[Verdict]) -> Verdicts {
        let mut columns = Verdicts::default();
        columns.extend(verdicts);
        columns
    }

    const VERDICT: Verdict = {
        let (status, reason, deadline, serial) = (1, 16, 300, 7);
        Verdict { status, reason, deadline, serial, stale: true, cache_seconds: 60, unpaired: None }
    };

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

    fn reversed(values: &[u64]) -> Vec<u64> {
        values.iter().rev().copied().collect()
    }

    #[test]
    fn numbers_of_all_lengths_are_packed_as_one_by_one() {
        let lengths = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX];
        for most in 1..=lengths.len() {
            let lengths = &lengths[..most];
            // The longest at both ends, and in the middle.
            for values in [[lengths.to_vec(), reversed(lengths)], [reversed(lengths), lengths.to_vec()]] {
                let values = values.concat();
                let (mut plain, mut out, mut expected) = (Vec::new(), vec![7], vec![7]);
                values.iter().for_each(|value| put_varint(&mut plain, *value));
                put_bytes(&mut expected, 6, &plain);
                put_column(&mut out, 6, &values);
                assert_eq!(out, expected, "{values:?}");
            }
        }
    }

    #[test]
    fn columns_of_zeros_are_left_out() {
        let bare = Verdict { status: 2, reason: 37, serial: 7, ..Default::default() };
        let mut out = Vec::new();
        put_batch(&mut out, &columns(&[bare, bare]), 7, false, b"");
        assert_eq!(out, b"\x0a\x02\x02\x02\x12\x02\x25\x25\x20\x07");
        out.clear();
        put_batch(&mut out, &columns(&[bare, VERDICT]), 7, true, b"r");
        assert_eq!(
            out,
            b"\x0a\x02\x02\x01\x12\x02\x25\x10\x1a\x03\x00\xac\x02\x20\x07\x28\x01\x32\x02\x00\x3c\x3a\x01r"
        );
        out.clear();
        put_batch(&mut out, &columns(&[]), 7, false, b"");
        assert_eq!(out, b"\x20\x07");
    }
}
