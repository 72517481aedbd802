//! The head of a call: header fields to method, deadline, client and encoding (RFC 9113 clause 8, gRPC over HTTP/2).

use super::answer::{Failure, code};
use super::frame;
use super::hpack::{Bad, Decoder, ENTRY_BYTES};
use crate::counters::bound;

/// What no timeout reaches: beyond it a call has as good as no deadline.
const TIMEOUT_MILLISECONDS_MAX: u64 = 1 << 40;

/// The methods that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Check,
    Batch,
    Stream,
    HealthCheck,
    HealthWatch,
}

impl Method {
    fn of(path: &[u8]) -> Option<Self> {
        match path {
            b"/eir.v1.EquipmentCheckService/CheckEquipment" => Some(Self::Check),
            b"/eir.v1.EquipmentCheckService/StreamCheckEquipment" => Some(Self::Stream),
            b"/eir.v1.EquipmentCheckService/BatchCheckEquipment" => Some(Self::Batch),
            b"/grpc.health.v1.Health/Check" => Some(Self::HealthCheck),
            b"/grpc.health.v1.Health/Watch" => Some(Self::HealthWatch),
            _ => None,
        }
    }
}

/// How messages with the compressed flag are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// A call as its headers describe it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Call {
    pub method: Method,
    pub encoding: Encoding,
    /// How the client calls itself; empty for none.
    pub client: Box<[u8]>,
    pub timeout_milliseconds: Option<u64>,
    pub content_bytes: Option<u64>,
}

/// What a header block is.
#[derive(Debug)]
pub enum Headers {
    /// A call that can begin.
    Call(Call),
    /// A call that is answered at once.
    Failure(Failure),
    /// No request of HTTP.
    Malformed,
}

#[derive(Default)]
struct Fields {
    method: Option<bool>,
    path: Option<Option<Method>>,
    scheme: bool,
    authority: bool,
    regular: bool,
    malformed: bool,
    bytes: usize,
    grpc: bool,
    client: Option<Box<[u8]>>,
    timeout: Option<Option<u64>>,
    content: Option<Option<u64>>,
    encoding: Option<Option<Encoding>>,
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8], bytes_max: usize) {
        self.bytes += name.len() + value.len() + ENTRY_BYTES;
        if self.malformed || self.bytes > bytes_max {
            return;
        }
        self.malformed |= !is_value(value);
        if name.first() == Some(&b':') {
            let again = match name {
                b":method" => self.method.replace(value == b"POST").is_some(),
                b":path" => self.path.replace(Method::of(value)).is_some() || value.is_empty(),
                b":scheme" => std::mem::replace(&mut self.scheme, true),
                b":authority" => std::mem::replace(&mut self.authority, true),
                _ => true,
            };
            self.malformed |= again || self.regular;
            return;
        }
        self.regular = true;
        match name {
            b"content-type" => self.grpc = is_grpc(value),
            b"grpc-timeout" => self.timeout = Some(timeout(value)),
            b"eir-client" => {
                self.client.get_or_insert_with(|| value.into());
            }
            b"grpc-encoding" => {
                self.encoding = Some(match value {
                    b"identity" => Some(Encoding::Identity),
                    b"gzip" => Some(Encoding::Gzip),
                    b"deflate" => Some(Encoding::Deflate),
                    _ => None,
                });
            }
            b"content-length" => {
                self.content = Some(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()));
            }
            b"te" => self.malformed |= value != b"trailers",
            _ => self.malformed |= !is_name(name),
        }
    }

    fn headers(self, bytes_max: usize) -> Headers {
        let plain = |code, text: &'static str| Headers::Failure(Failure::Plain(code, text.into()));
        if self.bytes > bytes_max {
            let text = "received metadata size exceeds hard limit";
            return Headers::Failure(Failure::Bound(bound::METADATA, text.into()));
        }
        let (Some(post), Some(path), true, false) = (self.method, self.path, self.scheme, self.malformed)
        else {
            return Headers::Malformed;
        };
        if !post {
            return Headers::Failure(Failure::Http(405));
        }
        if !self.grpc {
            return Headers::Failure(Failure::Http(415));
        }
        let Some(method) = path else { return plain(code::UNIMPLEMENTED, "Method not found!") };
        let Some(encoding) = self.encoding.unwrap_or(Some(Encoding::Identity)) else {
            return plain(code::UNIMPLEMENTED, "compression: allowed are identity, deflate and gzip");
        };
        if self.timeout == Some(None) {
            return plain(code::INTERNAL, "grpc-timeout is no time");
        }
        if self.content == Some(None) {
            return Headers::Malformed;
        }
        Headers::Call(Call {
            method,
            encoding,
            client: self.client.unwrap_or_default(),
            timeout_milliseconds: self.timeout.flatten(),
            content_bytes: self.content.flatten(),
        })
    }
}

/// Reads a header block. With more than some bytes of fields it is no call; with far more it is not read.
pub fn read(decoder: &mut Decoder, block: &[u8], bytes_max: usize) -> Result<Headers, Bad> {
    let mut fields = Fields::default();
    decoder.decode(block, block_bytes_max(bytes_max), |name, value| fields.take(name, value, bytes_max))?;
    Ok(fields.headers(bytes_max))
}

/// Reads a block of trailers, of which nothing is used; false where it is malformed.
pub fn read_trailers(decoder: &mut Decoder, block: &[u8], bytes_max: usize) -> Result<bool, Bad> {
    let mut good = true;
    let field = |name: &[u8], value: &[u8]| good &= is_name(name) && is_value(value);
    decoder.decode(block, block_bytes_max(bytes_max), field)?;
    Ok(good)
}

/// Whether a field may be called so that is none of HTTP's own: not in capitals, nothing of one hop (RFC 9113 clauses
/// 8.2.1 and 8.2.2).
fn is_name(name: &[u8]) -> bool {
    let admitted = |byte: &u8| matches!(byte, b'!'..=b'~') && !byte.is_ascii_uppercase() && *byte != b':';
    let of_one_hop = matches!(
        name,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
    );
    !name.is_empty() && name.iter().all(admitted) && !of_one_hop
}

/// Whether a field may have this value (RFC 9113 clause 8.2.1).
fn is_value(value: &[u8]) -> bool {
    // As a fold, it takes many bytes at a time.
    !value.iter().fold(false, |bad, byte| bad | matches!(byte, 0 | b'\n' | b'\r'))
}

/// Bytes of a header block, and of the fields in it, beyond which its connection ends: the bound of metadata, and a
/// frame, so that who is a little above it learns why.
pub fn block_bytes_max(metadata_bytes_max: usize) -> usize {
    metadata_bytes_max + frame::PAYLOAD_BYTES_MAX
}

fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A timeout in milliseconds, rounded up: at most 8 digits and a unit.
fn timeout(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let milliseconds = match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1000,
        b'm' => number,
        b'u' => number.div_ceil(1000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    };
    Some(milliseconds.min(TIMEOUT_MILLISECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in fields {
            out.extend([0, name.len() as u8]);
            out.extend(name.bytes());
            out.push(value.len() as u8);
            out.extend(value.bytes());
        }
        out
    }

    const CALL: [(&str, &str); 4] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/eir.v1.EquipmentCheckService/CheckEquipment"),
        ("content-type", "application/grpc"),
    ];

    fn headers(more: &[(&str, &str)]) -> Headers {
        read(&mut Decoder::default(), &block(&[&CALL[..], more].concat()), 1000).unwrap()
    }

    #[test]
    fn a_call_has_what_its_headers_say() {
        let more =
            [("eir-client", "mme"), ("grpc-timeout", "250m"), ("grpc-encoding", "gzip"), ("te", "trailers")];
        let Headers::Call(call) = headers(&[&more[..], &[("eir-client", "other")]].concat()) else {
            panic!()
        };
        assert_eq!((call.method, call.encoding), (Method::Check, Encoding::Gzip));
        assert_eq!(
            (&*call.client, call.timeout_milliseconds),
            (b"mme".as_slice(), Some(250)),
            "the first counts"
        );
    }

    #[test]
    fn what_is_no_call_is_told_so() {
        let status = |failure| match headers(failure) {
            Headers::Failure(Failure::Plain(code, _)) => i32::from(code),
            Headers::Failure(Failure::Bound(place, _)) => 100 + place as i32,
            Headers::Failure(Failure::Http(status)) => i32::from(status),
            Headers::Malformed => -1,
            other => panic!("{other:?}"),
        };
        assert_eq!(status(&[("grpc-encoding", "snappy")]), 12);
        assert_eq!(status(&[("grpc-timeout", "1")]), 13);
        assert_eq!(status(&[("content-type", "application/grpcx")]), 415);
        assert_eq!(status(&[("content-length", "x")]), -1);
        assert_eq!(status(&[("Upper", "x")]), -1);
        assert_eq!(status(&[("a b", "x")]), -1);
        assert_eq!(status(&[("a:b", "x")]), -1);
        assert_eq!(status(&[("é", "x")]), -1);
        assert_eq!(status(&[("eir-client", "a\0")]), -1);
        assert_eq!(status(&[("eir-client", "a\nb")]), -1);
        assert_eq!(status(&[("eir-client", "\rb")]), -1);
        assert_eq!(status(&[("te", "gzip")]), -1);
        assert_eq!(status(&[("connection", "close")]), -1);
        assert_eq!(status(&[(":path", "/")]), -1, "after a regular field");
        let long = "y".repeat(120);
        assert_eq!(status(&[("x", long.as_str()); 8]), 100 + bound::METADATA as i32);
        for left_out in 0..3 {
            let fields: Vec<_> = (0..4).filter(|place| *place != left_out).map(|place| CALL[place]).collect();
            let found = read(&mut Decoder::default(), &block(&fields), 1000).unwrap();
            assert!(matches!(found, Headers::Malformed), "{fields:?}");
        }
    }

    #[test]
    fn trailers_have_the_fields_of_a_request_but_none_of_its_own() {
        let good = |name, value| {
            read_trailers(&mut Decoder::default(), &block(&[("a", "1"), (name, value)]), 1000).unwrap()
        };
        assert!(good("x-bin", "AAEC") && good("grpc-status", "0"));
        let others =
            [(":path", "/"), ("Upper", "x"), ("", "x"), ("a b", "x"), ("a:b", "x"), ("upgrade", "x")];
        assert!(!others.iter().any(|(name, value)| good(name, value)));
        assert!(!["a\0", "a\nb", "\rb"].iter().any(|value| good("x", value)));
    }

    #[test]
    fn what_names_a_call_is_there_once() {
        for twice in [":method", ":scheme", ":path", ":authority"] {
            let more = [
                (":authority", "a"),
                (twice, CALL.iter().find(|field| field.0 == twice).map_or("a", |field| field.1)),
            ];
            let fields = [&more[..], &CALL].concat();
            let found = read(&mut Decoder::default(), &block(&fields), 1000).unwrap();
            let call = matches!(found, Headers::Call(_));
            assert!(!call, "{twice}");
        }
        let fields = [&[(":authority", "a")], &CALL[..]].concat();
        let found = read(&mut Decoder::default(), &block(&fields), 1000).unwrap();
        assert!(matches!(found, Headers::Call(_)));
    }

    #[test]
    fn timeouts() {
        let cases: [(&str, Option<u64>); 10] = [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3000)),
            ("4m", Some(4)),
            ("5u", Some(1)),
            ("6n", Some(1)),
            ("0n", Some(0)),
            ("123456789m", None),
            ("m", None),
            ("1x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timeout(text.as_bytes()), expected, "{text}");
        }
    }
}
