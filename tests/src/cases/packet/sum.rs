//! The internet checksum, in full, over big-endian words (RFC 1071): slow and plain.

/// The one's-complement sum of all parts, each of which but the last has an even length.
#[must_use]
pub fn internet_sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The checksum field for these parts, whose own field is zero.
#[must_use]
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    !internet_sum(parts)
}
