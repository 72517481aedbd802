//! Fields of protobuf: a tag and a value, read from and written to byte slices.

/// How deep unknown groups may lie in each other.
const DEPTH_MAX: u32 = 100;

/// The bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad;

/// A text, which is UTF-8.
pub(super) fn utf8(text: &[u8]) -> Result<&[u8], Bad> {
    std::str::from_utf8(text).map(str::as_bytes).map_err(|_| Bad)
}

/// The value of a field.
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no field of ours has.
    Other,
}

/// Takes the next field; None at the end.
#[inline(always)]
pub(super) fn field<'a>(data: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, Bad> {
    // A short text, as nearly all fields are: its tag is a byte, and its length another.
    if let [tag @ 0x08..0x80, bytes @ ..0x80, rest @ ..] = *data
        && tag & 7 == 2
        && let Some((text, rest)) = rest.split_at_checked(usize::from(*bytes))
    {
        *data = rest;
        return Ok(Some((u32::from(tag >> 3), Value::Bytes(text))));
    }
    if data.is_empty() {
        return Ok(None);
    }
    any_field(data)
}

#[cold]
#[inline(never)]
fn any_field<'a>(data: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, Bad> {
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

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a field that is a number, unless it is 0.
pub(super) fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(number << 3);
        put_varint(out, value);
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Adds a field that is a text, unless it is empty.
pub(super) fn put_text(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    if !value.is_empty() {
        put_bytes(out, number, value);
    }
}

/// Bytes that `put_varint` takes.
pub(super) fn varint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use super::{put_varint, varint, varint_bytes};

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
