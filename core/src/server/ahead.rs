//! What the calls of one read will ask for, found before they are answered one by one.
//!
//! Their look-ups then wait for memory together. It is a guess and judges nothing: what it does not
//! understand it leaves out, and every call is read again in its turn.

use super::frame::{HEADER_BYTES, Head, flag, kind, u32_of};
use super::service::PREFIX_BYTES;

/// Checks that are looked up ahead together: what they fetch stays in the first cache until they are answered.
pub const TOGETHER: usize = 32;
/// Bytes of a message that may be one check; batches look up together by themselves.
const CHECK_BYTES_MAX: usize = 256;
/// Begin of the first field of a message, where it is a text or a message: the IMEI, or a stream's check.
const FIRST_FIELD: u8 = 0x0a;

/// IMEIs of the checks in some frames, at most `TOGETHER`; how many they are, and how many bytes were looked at.
pub fn imeis(frames: &[u8]) -> ([&[u8]; TOGETHER], usize, usize) {
    let (mut found, mut count, mut rest) = ([&[][..]; TOGETHER], 0, frames);
    while count < TOGETHER
        && let Some(head) = Head::read(rest)
        && let Some((frame, after)) = rest.split_at_checked(HEADER_BYTES + head.bytes)
    {
        if head.kind == kind::DATA && !head.has(flag::PADDED) {
            let mut messages = &frame[HEADER_BYTES..];
            while count < TOGETHER
                && let Some((message, more)) = message(messages)
            {
                if let Some(imei) = imei(message) {
                    found[count] = imei;
                    count += 1;
                }
                messages = more;
            }
        }
        rest = after;
    }
    (found, count, frames.len() - rest.len())
}

/// The first whole message of some content, and what comes after it.
fn message(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = content.split_at_checked(PREFIX_BYTES)?;
    rest.split_at_checked(u32_of(&prefix[1..]) as usize)
}

/// The IMEI of a message that is a check, or holds one.
fn imei(message: &[u8]) -> Option<&[u8]> {
    let first = first_field(message.get(..message.len().min(CHECK_BYTES_MAX))?)?;
    Some(first_field(first).unwrap_or(first))
}

fn first_field(message: &[u8]) -> Option<&[u8]> {
    let ([FIRST_FIELD, bytes @ ..0x80], rest) = message.split_first_chunk()? else { return None };
    rest.get(..usize::from(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::{TOGETHER, imeis};

    fn data(out: &mut Vec<u8>, messages: &[&[u8]]) {
        let bytes = messages.iter().map(|message| 5 + message.len()).sum();
        frame::put_head(out, bytes, frame::kind::DATA, 0, 1);
        for message in messages {
            out.push(0);
            out.extend((message.len() as u32).to_be_bytes());
            out.extend_from_slice(message);
        }
    }

    #[test]
    fn checks_are_found_in_calls_and_in_streams() {
        let mut out = Vec::new();
        frame::put_window(&mut out, 0, 1);
        data(&mut out, &[b"\x0a\x0212\x12\x013"]);
        data(&mut out, &[b"\x0a\x07\x0a\x0245\x12\x016", b"\x0a\x04\x0a\x0278"]);
        data(&mut out, &[b"\x12\x013", b"", b"\x0a\x05ab"]);
        let whole = out.len();
        out.extend_from_slice(&[0, 0, 9, 0, 0]);
        let (found, count, bytes) = imeis(&out);
        assert_eq!(found[..count], [&b"12"[..], b"45", b"78"]);
        assert_eq!(bytes, whole);
    }

    #[test]
    fn no_more_than_some_are_looked_up_together() {
        let mut out = Vec::new();
        (0..TOGETHER + 3).for_each(|_| data(&mut out, &[b"\x0a\x0212"]));
        let (_, count, bytes) = imeis(&out);
        assert_eq!((count, bytes), (TOGETHER, out.len() / (TOGETHER + 3) * TOGETHER));
    }

    #[test]
    fn garbage_is_left_out() {
        let mut out = Vec::new();
        data(&mut out, &[b"\x0a\x0212"]);
        for length in 0..out.len() {
            assert_eq!(imeis(&out[..length]).1, 0);
        }
        for place in 0..out.len() {
            for byte in 0..=255 {
                let mut other = out.clone();
                other[place] = byte;
                assert!(imeis(&other).1 <= 1);
            }
        }
    }
}
