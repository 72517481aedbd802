//! What a call is answered with beside its messages: header blocks, trailers, and failures with their details.

use std::borrow::Cow;

use super::frame::{self, flag, kind};
use super::hpack;
use crate::counters::bound;
use crate::wire;

/// gRPC status codes that the server sends.
#[allow(missing_docs)]
pub mod code {
    pub const INVALID_ARGUMENT: u8 = 3;
    pub const DEADLINE_EXCEEDED: u8 = 4;
    pub const NOT_FOUND: u8 = 5;
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    pub const UNIMPLEMENTED: u8 = 12;
    pub const INTERNAL: u8 = 13;
    pub const UNAVAILABLE: u8 = 14;
}

/// Who says so in google.rpc.ErrorInfo.
const DOMAIN: &str = "eir";
/// Of a failure's message, as eir/interceptors.py cuts it.
const MESSAGE_BYTES_MAX: usize = 1024;
const RETRY_SECONDS: u64 = 1;

/// Why a call fails, as eir/errors.py and eir/interceptors.py have it.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The message cannot be used: the field, and what is wrong with it.
    Invalid(Cow<'static, str>, String),
    /// No tables yet.
    NotReady,
    /// The daemon is shutting down.
    Draining,
    /// A bug.
    Internal,
    /// A bound of ours, by its place in `counters::BOUNDS`, and a message.
    Bound(usize, Cow<'static, str>),
    /// What gRPC itself says: a status code and a message, without details.
    Plain(u8, Cow<'static, str>),
    /// HTTP that is no gRPC: a status of HTTP.
    Http(u16),
}

impl Failure {
    /// The stable reason under which it is counted, by its place in `REASONS`.
    pub fn reason(&self) -> Option<usize> {
        match self {
            Self::Invalid(..) => Some(0),
            Self::NotReady => Some(1),
            Self::Draining => Some(2),
            Self::Internal => Some(3),
            Self::Bound(..) | Self::Plain(..) | Self::Http(_) => None,
        }
    }

    /// The bound that it is counted under, by its place in `counters::BOUNDS`.
    pub fn bound(&self) -> Option<usize> {
        if let Self::Bound(place, _) = self { Some(*place) } else { None }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Invalid(..) => code::INVALID_ARGUMENT,
            Self::NotReady | Self::Draining => code::UNAVAILABLE,
            Self::Internal | Self::Http(_) => code::INTERNAL,
            Self::Bound(bound::STALLED, _) => code::DEADLINE_EXCEEDED,
            Self::Bound(..) => code::RESOURCE_EXHAUSTED,
            Self::Plain(code, _) => *code,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Invalid(field, text) => format!("{field}: {text}").into(),
            Self::NotReady => "The tables are not loaded yet.".into(),
            Self::Draining => "The daemon is shutting down.".into(),
            Self::Internal => "internal error".into(),
            Self::Bound(_, text) | Self::Plain(_, text) => text.as_ref().into(),
            Self::Http(_) => "".into(),
        }
    }

    /// google.rpc.Status in bytes; None where there is nothing to tell beside code and message.
    fn details(&self, message: &str) -> Option<Vec<u8>> {
        let reason = REASONS[self.reason()?];
        let field = if let Self::Invalid(field, _) = self { Some(("field", field.as_ref())) } else { None };
        let mut details = vec![("google.rpc.ErrorInfo", wire::error_info(reason, DOMAIN, field))];
        match self {
            Self::Invalid(field, text) => {
                details.push(("google.rpc.BadRequest", wire::bad_request(field, text)));
            }
            Self::NotReady | Self::Draining => {
                details.push(("google.rpc.RetryInfo", wire::retry_info(RETRY_SECONDS)));
            }
            _ => {}
        }
        let mut out = Vec::new();
        wire::put_status(&mut out, self.code(), message.as_bytes(), &details);
        Some(out)
    }
}

/// Stable reasons of eir/errors.py, in the order of `Failure::reason`.
pub const REASONS: [&str; 4] = ["INVALID_REQUEST", "NOT_READY", "DRAINING", "INTERNAL"];

/// Puts header blocks, small once the peer's table has the two fields that every call has.
#[derive(Default)]
pub struct Headers {
    /// Fields of ours in the peer's table: none, content-type, or that and grpc-status 0 after it.
    indexed: u8,
    /// The peer's table is too small for them.
    plain: bool,
    /// The peer must be told how much of its table we use: it has said that it is smaller than ours was.
    tell: bool,
    /// It has been told, or is to be told.
    told: bool,
}

/// What the two fields take in a table (RFC 7541 clause 4.1).
const TABLE_BYTES: u32 = 104;

impl Headers {
    /// Takes what the peer said of its table.
    pub fn table_bytes(&mut self, bytes: u32) {
        if bytes < TABLE_BYTES && !self.plain {
            (self.plain, self.tell, self.told) = (true, true, true);
        } else if bytes < hpack::TABLE_BYTES as u32 && !self.told {
            (self.tell, self.told) = (true, true);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.tell {
            // The size that we use from now on (RFC 7541 clause 6.3): none, or 104 bytes.
            out.extend_from_slice(if self.plain { b"\x20" } else { b"\x3f\x49" });
            self.tell = false;
        }
    }

    fn put_start(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        out.push(0x88);
        match self.indexed {
            _ if self.plain => out.extend_from_slice(b"\x0f\x10\x10application/grpc"),
            0 => {
                out.extend_from_slice(b"\x5f\x10application/grpc");
                self.indexed = 1;
            }
            indexed => out.push(0xbd + indexed),
        }
    }

    /// Puts the headers of an answer that has messages.
    pub fn put_answer(&mut self, out: &mut Vec<u8>, stream: u32) {
        let start = out.len();
        frame::put_head(out, 0, kind::HEADERS, flag::END_HEADERS, stream);
        self.put_start(out);
        frame::patch_head(out, start);
    }

    /// Puts the trailers of an answer that is whole.
    pub fn put_ok(&mut self, out: &mut Vec<u8>, stream: u32) {
        let start = out.len();
        frame::put_head(out, 0, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream);
        self.begin(out);
        match self.indexed {
            2 if !self.plain => out.push(0xbe),
            1 if !self.plain => {
                out.extend_from_slice(b"\x40\x0bgrpc-status\x010");
                self.indexed = 2;
            }
            _ => out.extend_from_slice(b"\x00\x0bgrpc-status\x010"),
        }
        frame::patch_head(out, start);
    }

    /// Puts a failure: as trailers, or alone where nothing was answered before.
    pub fn put_failure(&mut self, out: &mut Vec<u8>, stream: u32, failure: &Failure, alone: bool) {
        let start = out.len();
        frame::put_head(out, 0, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream);
        if let Failure::Http(status) = failure {
            self.begin(out);
            out.extend_from_slice(b"\x08\x03");
            out.extend_from_slice(status.to_string().as_bytes());
        } else {
            if alone {
                self.put_start(out);
            } else {
                self.begin(out);
            }
            let message = failure.message();
            let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
            put_field(out, b"grpc-status", failure.code().to_string().as_bytes());
            put_field(out, b"grpc-message", &percent_encoded(message));
            if failure.code() == code::UNIMPLEMENTED {
                put_field(out, b"grpc-accept-encoding", b"identity,deflate,gzip");
            }
            if let Some(details) = failure.details(message) {
                put_field(out, b"grpc-status-details-bin", &base64(&details));
            }
        }
        frame::patch_head(out, start);
    }
}

/// Puts a literal field with a new name, not to be kept in a table.
fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        if text.len() < 127 {
            out.push(text.len() as u8);
        } else {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 0x80 {
                out.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
        out.extend_from_slice(text);
    }
}

/// A message as trailers hold it: printable ASCII but for the percent sign.
fn percent_encoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// Base64 without padding, as binary metadata is sent.
fn base64(data: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(data.len() * 4 / 3 + 2);
    for group in data.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        out.extend((0..=group.len()).map(|digit| DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::hpack::Decoder;
    use super::*;

    fn fields(decoder: &mut Decoder, out: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decoder
            .decode(&out[frame::HEADER_BYTES..], 10_000, |name, value| found.push((text(name), text(value))))
            .unwrap();
        found
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    const START: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

    #[test]
    fn answers_shrink_once_the_table_knows_them() {
        let (mut headers, mut decoder) = (Headers::default(), Decoder::default());
        let mut sizes = Vec::new();
        for _ in 0..3 {
            for (put, expected) in [
                (Headers::put_answer as fn(&mut _, &mut _, _), &START[..]),
                (Headers::put_ok, &[("grpc-status", "0")]),
            ] {
                let mut out = Vec::new();
                put(&mut headers, &mut out, 1);
                assert_eq!(fields(&mut decoder, &out), pairs(expected));
                sizes.push(out.len() - frame::HEADER_BYTES);
            }
        }
        assert_eq!(sizes[2..], [2, 1, 2, 1]);
    }

    #[test]
    fn a_peer_without_a_table_gets_plain_fields() {
        let (mut headers, mut decoder) = (Headers::default(), Decoder::default());
        headers.table_bytes(0);
        for round in 0..2 {
            let mut out = Vec::new();
            headers.put_answer(&mut out, 1);
            assert_eq!(out[frame::HEADER_BYTES] == 0x20, round == 0, "the change is said once");
            assert_eq!(fields(&mut decoder, &out), pairs(&START));
            out.clear();
            headers.put_ok(&mut out, 1);
            assert_eq!(fields(&mut decoder, &out), pairs(&[("grpc-status", "0")]));
        }
    }

    #[test]
    fn a_peer_with_a_smaller_table_is_told_once_how_much_of_it_is_used() {
        let (mut headers, mut decoder) = (Headers::default(), Decoder::default());
        let mut out = Vec::new();
        headers.put_answer(&mut out, 1);
        assert_eq!(fields(&mut decoder, &out), pairs(&START));
        headers.table_bytes(4096);
        for (bytes, expected) in [(1024, &b"\x3f\x49"[..]), (500, b""), (0, b"\x20"), (4096, b"")] {
            headers.table_bytes(bytes);
            out.clear();
            headers.put_answer(&mut out, 1);
            assert!(out[frame::HEADER_BYTES..].starts_with(expected), "{bytes}: {out:x?}");
            assert_eq!(matches!(out[frame::HEADER_BYTES], 0x20 | 0x3f), !expected.is_empty());
            assert_eq!(fields(&mut decoder, &out), pairs(&START));
            out.clear();
            headers.put_ok(&mut out, 1);
            assert_eq!(fields(&mut decoder, &out), pairs(&[("grpc-status", "0")]));
        }
    }

    #[test]
    fn a_failure_says_what_the_portable_engine_says() {
        let (mut headers, mut decoder) = (Headers::default(), Decoder::default());
        let mut out = Vec::new();
        let failure = Failure::Invalid("imei".into(), "has 300 bytes; allowed are 100 %".into());
        headers.put_failure(&mut out, 1, &failure, true);
        let found = fields(&mut decoder, &out);
        assert_eq!(found[..2], pairs(&START));
        assert_eq!(found[2], ("grpc-status".into(), "3".into()));
        assert_eq!(found[3].1, "imei: has 300 bytes; allowed are 100 %25");
        assert_eq!(found[4].0, "grpc-status-details-bin");
        out.clear();
        headers.put_failure(&mut out, 1, &Failure::Http(415), true);
        assert_eq!(fields(&mut decoder, &out), pairs(&[(":status", "415")]));
        out.clear();
        headers.put_failure(&mut out, 1, &Failure::Plain(5, "unknown service".into()), false);
        let found = fields(&mut decoder, &out);
        assert_eq!(found, pairs(&[("grpc-status", "5"), ("grpc-message", "unknown service")]));
    }

    #[test]
    fn encodings() {
        let texts: [(&[u8], &[u8]); 4] =
            [(b"", b""), (b"f", b"Zg"), (b"fo", b"Zm8"), (b"foobar", b"Zm9vYmFy")];
        for (plain, encoded) in texts {
            assert_eq!(base64(plain), encoded);
        }
        assert_eq!(percent_encoded("a\nش"), b"a%0A%D8%B4");
    }
}
