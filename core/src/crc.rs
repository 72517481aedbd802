//! CRC-32C of identities, texts of some 15 bytes: the crate's function is made for kilobytes, and calling it costs more
//! than the sum.

/// The sum of what came before and of a text after it, as `crc32c::crc32c_append`.
#[inline(always)]
pub fn append(crc: u32, text: &[u8]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    if let (8..16, Some((first, rest))) = (text.len(), text.split_first_chunk()) {
        return short::append(crc, *first, rest);
    }
    crc32c::crc32c_append(crc, text)
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
mod short {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};

    /// Adds eight bytes, and at most seven after them.
    #[inline(always)]
    pub fn append(crc: u32, first: [u8; 8], mut rest: &[u8]) -> u32 {
        debug_assert!(rest.len() < 8, "the others would be left out");
        // SAFETY: this is compiled only for processors that have the instructions.
        unsafe {
            let mut crc = _mm_crc32_u64(u64::from(!crc), u64::from_le_bytes(first)) as u32;
            if let Some((part, after)) = rest.split_first_chunk() {
                (crc, rest) = (_mm_crc32_u32(crc, u32::from_le_bytes(*part)), after);
            }
            if let Some((part, after)) = rest.split_first_chunk() {
                (crc, rest) = (_mm_crc32_u16(crc, u16::from_le_bytes(*part)), after);
            }
            !rest.first().map_or(crc, |byte| _mm_crc32_u8(crc, *byte))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums_are_those_of_the_crate() {
        let text: Vec<u8> = (0..40).map(|place: u8| place.wrapping_mul(37) ^ 0x5a).collect();
        for first in 0..8 {
            for end in first..text.len() {
                let text = &text[first..end];
                for crc in [0, 1, 0x1234_5678, !0] {
                    assert_eq!(super::append(crc, text), crc32c::crc32c_append(crc, text), "{text:x?}");
                }
            }
        }
    }
}
