//! Messages to send, made beforehand: gRPC frames of check.proto, from lines of `IMEI IMSI`.

/// What is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    /// One call a check.
    Unary,
    /// One long call a connection, its requests pipelined.
    Stream,
    /// One call for many checks.
    Batch,
}

impl Mode {
    /// The mode of a name.
    pub fn named(name: &str) -> Option<Mode> {
        [("unary", Mode::Unary), ("stream", Mode::Stream), ("batch", Mode::Batch)]
            .iter()
            .find_map(|(known, mode)| (*known == name).then_some(*mode))
    }

    /// The path of its method.
    pub fn path(self) -> String {
        let method = match self {
            Mode::Unary => "CheckEquipment",
            Mode::Stream => "StreamCheckEquipment",
            Mode::Batch => "BatchCheckEquipment",
        };
        format!("/eir.v1.EquipmentCheckService/{method}")
    }
}

/// Frames of all requests; what does not fill a batch is left out.
pub fn frames(mode: Mode, text: &str, batch_rows: usize) -> Vec<Vec<u8>> {
    let rows: Vec<(&str, &str)> =
        text.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    match mode {
        Mode::Unary => rows.iter().map(|row| framed(&check(row))).collect(),
        Mode::Stream => {
            let wrapped = |row| framed(&field(1, &check(row)));
            rows.iter().map(wrapped).collect()
        }
        Mode::Batch => rows.chunks_exact(batch_rows).map(|rows| framed(&batch(rows))).collect(),
    }
}

fn check((imei, imsi): &(&str, &str)) -> Vec<u8> {
    [field(1, imei.as_bytes()), field(2, imsi.as_bytes())].concat()
}

fn batch(rows: &[(&str, &str)]) -> Vec<u8> {
    let imeis = rows.iter().flat_map(|(imei, _)| field(1, imei.as_bytes()));
    imeis.chain(rows.iter().flat_map(|(_, imsi)| field(2, imsi.as_bytes()))).collect()
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(value);
    out
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_proto() {
        let text = "1 2\n34 \n5 6\n";
        assert_eq!(frames(Mode::Unary, text, 2)[0], b"\0\0\0\0\x06\x0a\x011\x12\x012");
        assert_eq!(frames(Mode::Stream, text, 2)[0], b"\0\0\0\0\x08\x0a\x06\x0a\x011\x12\x012");
        let batches = frames(Mode::Batch, text, 2);
        assert_eq!(batches, [b"\0\0\0\0\x0c\x0a\x011\x0a\x0234\x12\x012\x12\x00"]);
        assert_eq!(frames(Mode::Unary, &"7".repeat(200), 1)[0].len(), 5 + 3 + 200 + 2);
    }
}
