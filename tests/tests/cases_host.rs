//! The packet cases on the host.

use relay_abi::{Reason, Tally};
use relay_tests::cases::host::Host;
use relay_tests::cases::truncation::cut;
use relay_tests::cases::{Case, judge, load};

/// Reasons that no case can provoke, and why. Empty, and to stay so.
const UNPROVOKED: &[(Reason, &str)] = &[];

#[test]
fn every_case_ends_as_it_says() {
    let cases = load().unwrap();
    let mut host = Host::default();
    let failures: Vec<String> = cases.iter().filter_map(|case| judge(&mut host, case).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    assert!(!cases.is_empty(), "no case was read");
    println!("{} cases, {} packets", cases.len(), packets(&cases));
}

#[test]
fn a_packet_cut_at_any_length_is_neither_sent_nor_touched() {
    let (mut host, mut problems, mut cut_short) = (Host::default(), Vec::new(), 0);
    for case in load().unwrap() {
        cut_short += cut(&mut host, &case, &mut problems).unwrap().len();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(cut_short > 10_000, "only {cut_short} packets were cut short");
}

#[test]
fn every_reason_has_a_case() {
    let cases = load().unwrap();
    let provoked = |reason: &Reason| ends(&cases).any(|end| end == *reason);
    let silent: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !provoked(reason) && !UNPROVOKED.iter().any(|(known, _)| known == *reason))
        .map(|reason| reason.label())
        .collect();
    assert!(silent.is_empty(), "no case provokes {silent:?}");
    for (reason, why) in UNPROVOKED {
        assert!(!provoked(reason), "{} is said not to be provoked ({why}), and is", reason.label());
    }
}

#[test]
fn every_tally_has_a_case() {
    let cases = load().unwrap();
    let steps = || cases.iter().flat_map(|case| &case.steps);
    let silent: Vec<&str> = Tally::ALL
        .iter()
        .map(|tally| tally.label())
        .filter(|label| !steps().any(|step| step.tallies.iter().any(|tally| tally == label)))
        .collect();
    assert!(silent.is_empty(), "no case moves {silent:?}");
}

#[test]
fn cases_for_the_host_alone_say_why() {
    for case in load().unwrap() {
        assert_eq!(
            case.with.host_only(),
            case.host_only.is_some(),
            "{}: `host_only` is for what the kernel cannot be made to do",
            case.name
        );
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<String> = load().unwrap().into_iter().map(|case| case.name).collect();
    names.sort();
    let doubled: Vec<&String> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(doubled.is_empty(), "two cases are named {doubled:?}");
}

fn ends(cases: &[Case]) -> impl Iterator<Item = Reason> {
    cases.iter().flat_map(|case| &case.steps).filter_map(|step| step.wanted_end().ok()).map(|end| end.reason)
}

fn packets(cases: &[Case]) -> usize {
    cases.iter().flat_map(|case| &case.steps).map(|step| step.times).sum()
}
