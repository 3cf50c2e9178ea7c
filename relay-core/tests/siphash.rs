//! SipHash-2-4 of two words, against the reference implementation's vector and another implementation.

use std::hash::Hasher as _;

use proptest::prelude::*;
use relay_core::wire::siphash::hash;
use siphasher::sip::SipHasher24;

/// Key and message are the bytes from 0 up, as in appendix A of the paper; the answer for 16 bytes is the reference implementation's.
#[test]
fn the_vector_of_the_reference_implementation() {
    let bytes = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    assert_eq!(hash(bytes, bytes[0], bytes[1]), 0x3f2a_cc7f_57c2_9bdb);
}

proptest! {
    #[test]
    fn it_is_what_another_implementation_makes_of_the_same_bytes(key: [u64; 2], first: u64, second: u64) {
        let mut oracle = SipHasher24::new_with_keys(key[0], key[1]);
        oracle.write(&first.to_le_bytes());
        oracle.write(&second.to_le_bytes());
        prop_assert_eq!(hash(key, first, second), oracle.finish());
    }
}
