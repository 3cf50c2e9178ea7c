//! The key of proofs, from the key of the flow hash: relays that share one share the other.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

use crate::config::valid::HashKey;

/// What the two words are the hashes of: nothing else is hashed with this function and key.
const DOMAINS: [&[u8]; 2] = [b"xdp-relay proof key, first word", b"xdp-relay proof key, second word"];

/// SipHash-2-4, a pseudorandom function, of a text for each word: who learns the proof key learns nothing of the hash key.
pub(super) fn proof_key(hash_key: &HashKey) -> [u64; 2] {
    DOMAINS.map(|domain| {
        let mut hasher = SipHasher24::new_with_key(hash_key.bytes());
        hasher.write(domain);
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::globals::key_words;

    #[test]
    fn the_key_of_proofs_is_another_one_for_each_hash_key_and_always_the_same() {
        let keys = [HashKey::new([1; 16]), HashKey::new([2; 16])];
        let [first, second] = keys.each_ref().map(proof_key);
        assert_ne!(first, second);
        assert_ne!(first[0], first[1]);
        for key in &keys {
            assert_ne!(proof_key(key), key_words(key));
        }
        // Relays of different versions must agree. Computed with another implementation.
        let key = HashKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(proof_key(&key), [0xb6a4_e4da_6093_273a, 0xd9fa_8dfe_584b_e5d4]);
    }
}
