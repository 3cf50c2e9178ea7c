//! "did you mean": the known word nearest to an unknown one.

/// Longer words are nobody's misspelling, and comparing them is slow.
const LONGEST: usize = 80;

/// The candidate that was probably meant, if one is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let started =
        candidates.iter().copied().find(|candidate| word.len() >= 3 && candidate.starts_with(&word));
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or(started)
}

/// The advice for an unknown word.
pub(crate) fn advice<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_word_only_when_it_is_near() {
        assert_eq!(nearest("serivces", ["services", "peers"]), Some("services"));
        assert_eq!(nearest("Peer", ["services", "peers"]), Some("peers"));
        assert_eq!(nearest("egres-1", ["egress-1", "egress-2"]), Some("egress-1"));
        assert_eq!(nearest("pin_dir", ["role", "pin_directory"]), Some("pin_directory"));
        assert_eq!(nearest("bandwidth", ["services", "peers"]), None);
        assert_eq!(nearest("x", ["y"]), Some("y"));
    }
}
