//! The packet cases on the host.

use relay_tests::cases::host::Host;
use relay_tests::cases::{Case, judge, load};

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

fn packets(cases: &[Case]) -> usize {
    cases.iter().flat_map(|case| &case.steps).map(|step| step.times).sum()
}
