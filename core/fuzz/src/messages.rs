//! Messages of checks and of health, and blocks of headers: whatever bytes come, they are read or refused.

use eir_core::server::hpack::Decoder;
use eir_core::server::huffman;
use eir_core::wire::{self, Batch, put_status};

use crate::random::Random;

/// A check, a check of a stream, a batch, a health request.
const SAMPLES: [&[u8]; 4] = [
    b"\x0a\x0e35693803564380\x12\x0f432110000000001\x1a\x0c989120000001\x22\x0543211\x28\x01\x32\x01r",
    b"\x0a\x22\x0a\x0e35693803564380\x12\x0f432110000000001\x32\x01r",
    b"\x0a\x0e35693803564380\x0a\x00\x0a\x02\xd9\xa3\x12\x0f432110000000001\x12\x00\x12\x01\x31\x1a\x0543211\x22\x01b",
    b"\x0a\x1ceir.v1.EquipmentCheckService",
];
/// Fields of every kind, and what is none.
const FIELDS: [&[u8]; 12] = [
    b"\x78\x01",
    b"\x79ABCDEFGH",
    b"\x7a\x03abc",
    b"\x7dABCD",
    b"\x7b\x08\x01\x7c",
    b"\x7b",
    b"\x7c",
    b"\x0f",
    b"\xf8\xff\xff\xff\x0f\x01",
    b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x0a\x82\x80\x00ab",
    b"\x0a\x80\x80",
];
const HEADERS: &[u8] =
    b"\x83\x86\x44\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x5f\x10application/grpc\x40\x01a\x01b\xbe\x3f\x45";
const HEADERS_BYTES_MAX: usize = 4096;

/// Reads bytes in every way; returns how many ways there were.
pub fn read(data: &[u8]) -> u64 {
    let mut read = 0;
    if let Ok(request) = wire::check_request(data) {
        let texts = [request.imei, request.imsi, request.msisdn, request.serving_plmn, request.request_id];
        assert!(texts.iter().all(|text| std::str::from_utf8(text).is_ok()));
        read += 1;
    }
    read += u64::from(wire::stream_request(data).is_ok()) + u64::from(wire::health_request(data).is_ok());
    for rows_max in [0, 2, 4096] {
        let mut batch = Batch::default();
        if batch.read(data, rows_max).is_ok() {
            for column in [&batch.imei, &batch.imsi] {
                assert_eq!(column.places.len(), column.rows.min(rows_max));
                assert!(column.places.iter().all(|place| place.of(data).len() == place.bytes()));
            }
            read += 1;
        }
    }
    let mut out = Vec::new();
    put_status(&mut out, 3, data, &[("google.rpc.ErrorInfo", data.to_vec())]);
    headers(data) + read
}

fn headers(data: &[u8]) -> u64 {
    let (mut decoder, mut read) = (Decoder::default(), 0);
    for block in data.chunks(data.len() / 3 + 1) {
        let mut bytes = 0;
        let found = decoder.decode(block, HEADERS_BYTES_MAX, |name, value| bytes += name.len() + value.len());
        assert!(bytes <= HEADERS_BYTES_MAX);
        if found.is_err() {
            break;
        }
        read += 1;
    }
    let mut text = Vec::new();
    if huffman::decode(data, &mut text) {
        assert!(text.len() <= data.len() * 8 / 5);
        read += 1;
    }
    read
}

/// A message or a block of headers, with some damage.
pub fn damaged(random: &mut Random) -> Vec<u8> {
    let all = SAMPLES.len() + 1;
    let sample = |place: usize| SAMPLES.get(place).copied().unwrap_or(HEADERS);
    let mut data = sample(random.below(all)).to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = [0, 1, 0x7f, 0x80, 0xbe, 0xff][random.below(6)],
            2 => data.truncate(at),
            3 => drop(data.splice(at..at, FIELDS[random.below(FIELDS.len())].iter().copied())),
            4 => data.extend_from_slice(sample(random.below(all))),
            _ => drop(data.splice(at..at, random.number().to_le_bytes().into_iter().take(1 + at % 8))),
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_read() {
        assert!(SAMPLES.iter().all(|sample| read(sample) > 0));
        assert_eq!(headers(HEADERS), 1, "the first third");
    }

    #[test]
    fn damage_is_survived_and_often_read() {
        let mut random = Random(1);
        let taken = (0..3000).filter(|_| read(&damaged(&mut random)) > 0).count();
        assert!((500..3000).contains(&taken), "{taken} of 3000 were read");
    }
}
