//! The Huffman code of HPACK (RFC 7541 appendix B): canonical, so the lengths of its codes are all it needs.

/// Bits of the code of each symbol; 256 (EOS) has 30 and is never sent.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6,
    6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6,
    6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22,
    23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22,
    25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS: u16 = 256;
const BITS_MIN: usize = 5;
const BITS_MAX: usize = 30;

/// Per length: where its codes begin, aligned to 32 bits, and where its symbols begin.
struct Code {
    symbols: [u16; 257],
    ends: [u64; BITS_MAX + 1],
    first: [(u32, u16); BITS_MAX + 1],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code { symbols: [0; 257], ends: [0; BITS_MAX + 1], first: [(0, 0); BITS_MAX + 1] };
    let (mut next, mut placed, mut bits) = (0_u64, 0_usize, 1_usize);
    while bits <= BITS_MAX {
        next <<= 1;
        code.first[bits] = (next as u32, placed as u16);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == bits {
                code.symbols[placed] = symbol as u16;
                placed += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.ends[bits] = next << (32 - bits);
        bits += 1;
    }
    code
}

/// Adds the decoded text to `out`; false for what is no Huffman code.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut window, mut held, mut rest) = (0_u64, 0_usize, input.iter());
    loop {
        while held <= 32 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held < BITS_MIN {
            break;
        }
        let top = window >> 32;
        // Every value lies below the end of the longest codes: all ones are EOS.
        let Some(bits) = (BITS_MIN..=BITS_MAX).find(|bits| top < CODE.ends[*bits]) else { return false };
        if bits > held {
            break;
        }
        let (first, place) = CODE.first[bits];
        let symbol = CODE.symbols[usize::from(place) + ((top >> (32 - bits)) as u32 - first) as usize];
        if symbol == EOS {
            return false;
        }
        out.push(symbol as u8);
        window <<= bits;
        held -= bits;
    }
    // What is left is the beginning of EOS, shorter than a byte.
    held < 8 && (held == 0 || window >> (64 - held) == (1 << held) - 1)
}

#[cfg(test)]
mod tests {
    use super::decode;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).then_some(out)
    }

    #[test]
    fn examples_of_the_rfc() {
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&www).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(
            decoded(&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]).unwrap(),
            b"custom-value"
        );
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert!(decoded(&[0xff]).is_none(), "a whole byte of padding");
        assert!(decoded(&[0x00]).is_none(), "padding of zeros");
        assert_eq!(decoded(&[0x07]).unwrap(), b"0");
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff]).is_none(), "EOS");
    }
}
