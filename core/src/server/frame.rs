//! Frames of HTTP/2 (RFC 9113 clauses 4, 6 and 7): numbers, and how the server writes them.

#![allow(missing_docs)] // the names are those of the RFC

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADER_BYTES: usize = 9;
/// The largest payload that we take: what every peer may send.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 10;
pub const WINDOW_BYTES_MAX: i64 = (1 << 31) - 1;
/// Of a connection or a stream, until it is changed.
pub const WINDOW_BYTES: i64 = 65_535;

pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    Refused = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub bytes: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Reads a head; None where it is not there as a whole.
    pub fn read(data: &[u8]) -> Option<Self> {
        let head: &[u8; HEADER_BYTES] = data.first_chunk()?;
        Some(Self {
            bytes: usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]),
            kind: head[3],
            flags: head[4],
            stream: u32_of(&head[5..]) & 0x7fff_ffff,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The first four bytes, big-endian; 0 where there are fewer.
pub fn u32_of(data: &[u8]) -> u32 {
    data.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

pub fn put_head(out: &mut Vec<u8>, bytes: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = (bytes as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// Writes the length into a head that was put at `start` before what follows it.
pub fn patch_head(out: &mut [u8], start: usize) {
    let bytes = (out.len() - start - HEADER_BYTES) as u32;
    out[start..start + 3].copy_from_slice(&bytes.to_be_bytes()[1..]);
}

pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    put_head(out, 4, kind::RST_STREAM, 0, stream);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

pub fn put_window(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    put_head(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&bytes.to_be_bytes());
}

pub fn put_ping(out: &mut Vec<u8>, flags: u8, data: &[u8; 8]) {
    put_head(out, 8, kind::PING, flags, 0);
    out.extend_from_slice(data);
}

pub fn put_goaway(out: &mut Vec<u8>, last_stream: u32, code: Code, text: &[u8]) {
    put_head(out, 8 + text.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(text);
}

pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_head(out, 6 * settings.len(), kind::SETTINGS, 0, 0);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}
