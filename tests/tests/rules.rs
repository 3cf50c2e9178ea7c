//! One test a protocol rule, named after it: it fails if no case carries the rule, or if one that does fails.

use anyhow::{Result, ensure};
use relay_tests::cases::host::Host;
use relay_tests::cases::{judge, load, world};

/// The rules below; a case may carry no other.
macro_rules! rules {
    ($($number:literal $name:ident;)*) => {
        const NUMBERS: &[u8] = &[$($number),*];

        $(#[test]
        fn $name() -> Result<()> {
            shown($number)
        })*
    };
}

rules! {
    1 rule_01_lengths_version_and_checksum_are_checked_before_use;
    2 rule_02_the_total_length_counts_not_the_frame_and_padding_is_cut;
    3 rule_03_martian_sources_are_dropped;
    4 rule_04_sources_are_validated_at_the_edge_and_inside_the_tunnel;
    5 rule_05_source_routes_and_other_options_are_dropped;
    6 rule_06_land_packets_are_dropped;
    7 rule_07_inner_ttl_is_decremented_once_on_encapsulation;
    8 rule_08_an_ended_ttl_is_told_from_a_public_address;
    9 rule_09_decapsulation_forwards_once_and_never_a_ttl_that_ended;
    10 rule_10_the_outer_ttl_is_its_own;
    11 rule_11_own_addresses_inside_and_nested_tunnels_are_dropped;
    12 rule_12_outer_df_is_set_whatever_the_inner_one_is;
    14 rule_14_the_outer_datagram_is_atomic_and_its_identification_means_nothing;
    16 rule_16_an_oversize_packet_with_df_is_answered_with_the_mtu_of_the_tunnel;
    17 rule_17_an_oversize_packet_without_df_and_fragments_are_dropped_with_a_reason;
    20 rule_20_no_ports_are_read_in_fragments;
    21 rule_21_tiny_and_overlapping_first_fragments_are_dropped;
    23 rule_23_the_outer_ecn_field_is_copied_from_the_inner_one;
    24 rule_24_ecn_fields_are_combined_by_figure_4_of_rfc_6040;
    25 rule_25_the_outer_dscp_is_the_tunnels_and_the_inner_one_is_restored;
    27 rule_27_an_error_about_a_reply_finds_its_backend_by_the_quote;
    28 rule_28_an_mtu_below_68_and_errors_about_no_flow_are_ignored;
    29 rule_29_the_segment_size_of_syn_and_syn_ack_is_lowered_never_raised;
    30 rule_30_no_size_is_dropped_in_silence;
    31 rule_31_errors_quote_as_much_as_fits_576_bytes;
    32 rule_32_no_error_about_errors_fragments_groups_and_bad_sources;
    33 rule_33_errors_are_limited_for_the_relay_and_for_each_prefix;
    34 rule_34_an_error_from_outside_is_translated_with_its_quote;
    35 rule_35_an_error_from_inside_comes_from_a_public_address;
    36 rule_36_errors_make_and_refresh_no_flow;
    37 rule_37_all_checksums_of_an_error_and_its_quote_are_right;
    39 rule_39_checksums_are_updated_as_rfc_1624_says_in_the_corners_too;
    40 rule_40_a_udp_checksum_of_zero_stays_and_a_computed_one_is_sent_as_ones;
    41 rule_41_without_translation_no_transport_byte_changes;
    42 rule_42_the_tunnel_takes_only_what_a_peer_sends_to_this_relay_for_its_backends;
    43 rule_43_nothing_of_the_service_leaves_but_answers_to_clients;
    46 rule_46_a_challenge_is_an_ack_that_no_client_accepts_and_no_larger_than_its_syn;
    47 rule_47_only_the_reset_with_the_number_asked_for_proves_a_client;
}

#[test]
fn cases_carry_rules_that_have_a_test() {
    for case in load().unwrap() {
        let unknown: Vec<&u8> = case.rules.iter().filter(|rule| !NUMBERS.contains(rule)).collect();
        assert!(unknown.is_empty(), "{}: no test is named after rules {unknown:?}", case.name);
    }
}

/// Rule 44 as far as one relay goes: of all that the cases send to clients, no byte of the service's side.
#[test]
fn rule_44_no_frame_to_a_client_holds_a_hidden_address() -> Result<()> {
    const HIDDEN: &[&str] = &[
        "web1",
        "web2",
        "web3",
        "egress1",
        "egress2",
        "ingress1",
        "ingress2",
        "egress_edge",
        "service_router",
    ];
    let mut host = Host::default();
    let mut frames = 0;
    // On one arm the tunnel's packets leave through the same interface.
    for case in load()?.iter().filter(|case| case.relay == "ingress" && !case.with.one_armed) {
        for observed in judge(&mut host, case).unwrap_or_default() {
            if observed.to.as_deref() != Some(world::EDGE) {
                continue;
            }
            frames += 1;
            for name in HIDDEN {
                let hidden = world::address(name)?.octets();
                let seen = observed.bytes.windows(4).any(|bytes| bytes == hidden);
                ensure!(!seen, "{}: the client sees {name}: {:02x?}", case.name, observed.bytes);
            }
        }
    }
    ensure!(frames > 50, "only {frames} frames went to clients");
    Ok(())
}

fn shown(rule: u8) -> Result<()> {
    let mut host = Host::default();
    let cases: Vec<_> = load()?.into_iter().filter(|case| case.rules.contains(&rule)).collect();
    ensure!(!cases.is_empty(), "no case carries rule {rule}");
    let failures: Vec<String> = cases.iter().filter_map(|case| judge(&mut host, case).err()).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
