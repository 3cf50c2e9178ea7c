//! The hash by which pick tables are made: fixed for all time and all relays, for two relays with the same
//! configuration must make the same tables. No secret: an attacker who knows a table still cannot aim at a slot of it.

use std::net::Ipv4Addr;

/// A number that depends on every bit of `value` (the finaliser of SplitMix64).
pub(super) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// What a backend or peer is known by in pick tables: its address and port, not its place in the file.
pub(super) fn identity(address: Ipv4Addr, port: u16) -> u64 {
    mix(u64::from(address.to_bits()) << 16 | u64::from(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // Reference values of SplitMix64 with seed 0: relays of different versions must agree.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }
}
