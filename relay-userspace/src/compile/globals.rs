//! What holds for every packet: clocks, rates, the tunnel's constants.

use bytemuck::Zeroable;
use relay_abi::Ipv4;
use relay_abi::bucket::TOKEN;
use relay_abi::flow::TICKS;
use relay_abi::image::Globals;

use super::inputs::Links;
use super::peers::VERSION_LENGTH;
use super::proof_key::proof_key;
use super::tables::{client_sets, flow_sets, prefix_sets};
use crate::config::valid::{Config, Flows, HashKey, Role};

/// Seconds that an epoch of proofs lasts: a proof is good until the end of the next one.
const EPOCH_SECONDS: u64 = 64;
/// Tokens a bucket holds at least: a traceroute sends this many probes at once.
const LEAST_BURST: u64 = 5;

/// The globals, but for the seed of the endpoint table.
pub(super) fn globals(config: &Config, links: &Links, table_seed: u64, generation: u64) -> Globals {
    let hz = links.clock.jiffies_per_second.max(1);
    let (hash_key, flows) = match &config.role {
        Role::Ingress(ingress) => (Some(&ingress.hash_key), None),
        Role::Egress(egress) => (egress.hash_key.as_ref(), Some(egress.flows)),
    };
    let clients = match &config.role {
        Role::Ingress(ingress) => Some(&ingress.clients),
        Role::Egress(_) => None,
    };
    let tick_shift = tick_shift(hz);
    let mtu = config.tunnel.mtu.map_or(links.tunnel.mtu, u32::from);
    let rates = [config.icmp.rate, config.icmp.prefix_rate];
    let challenges = clients.map_or(0, |clients| clients.challenge_rate);
    let events = config.events.rate;
    let limited = |rate: u32| if rate == 0 { (0, 0) } else { (tokens_per_jiffy(rate, hz), burst(rate)) };
    let (challenge_rate, challenge_burst) = limited(challenges);
    let (event_rate, event_burst) = limited(events);
    Globals {
        generation,
        hash_key: hash_key.map_or([0; 2], key_words),
        proof_key: clients.and(hash_key).map_or([0; 2], proof_key),
        table_seed,
        edge_ifindex: links.edge.ifindex,
        tunnel_ifindex: links.tunnel.ifindex,
        tunnel_address: Ipv4(config.tunnel.local.octets()),
        edge_address: Ipv4(links.edge_address.octets()),
        client_mask: clients.map_or(0, |clients| client_sets(clients) - 1),
        prefix_mask: clients.map_or(0, |clients| prefix_sets(clients) - 1),
        prefix_netmask: clients.map_or(0, |clients| netmask(clients.prefix_length)),
        challenge_rate,
        challenge_burst,
        event_rate,
        event_burst,
        epoch_jiffies: EPOCH_SECONDS * u64::from(hz),
        epoch_offset: clients.map_or(0, |_| links.clock.epoch_offset),
        flow_mask: flows.map_or(0, |flows| flow_sets(flows) - 1),
        flow_idle_ticks: flows.map_or(0, |flows| idle_ticks(flows, hz, tick_shift)),
        tick_shift,
        tunnel_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        outer_start: [VERSION_LENGTH, config.tunnel.dscp << 2],
        icmp_rate: rates.map(|rate| tokens_per_jiffy(rate, hz)),
        icmp_burst: rates.map(burst),
        outer_ttl: config.tunnel.ttl,
        ..Globals::zeroed()
    }
}

/// A prefix length as a mask of [`Ipv4::word`].
fn netmask(length: u8) -> u32 {
    let bits = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
    Ipv4(bits.to_be_bytes()).word()
}

/// The tick of the tables, at `hz` jiffies a second: the smallest power of two jiffies that is at least a second, as an exponent.
#[must_use]
pub const fn tick_shift(hz: u32) -> u32 {
    hz.next_power_of_two().trailing_zeros()
}

/// Idle time in ticks, rounded up. Ages are kept modulo [`TICKS`], so half of that is the longest time that can be told.
fn idle_ticks(flows: Flows, hz: u32, tick_shift: u32) -> u32 {
    let jiffies = flows.idle_timeout.as_millis() * u128::from(hz) / 1000;
    let ticks = jiffies.div_ceil(1 << tick_shift).clamp(1, u128::from(TICKS - 1));
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

fn tokens_per_jiffy(rate: u32, hz: u32) -> u32 {
    u32::try_from((u64::from(rate) * TOKEN / u64::from(hz)).max(1)).unwrap_or(u32::MAX)
}

/// What a tenth of a second brings: shorter bursts admit too little where the machine is busy.
fn burst(rate: u32) -> u32 {
    u32::try_from((u64::from(rate) / 10).max(LEAST_BURST) * TOKEN).unwrap_or(u32::MAX)
}

pub(super) fn key_words(key: &HashKey) -> [u64; 2] {
    let both = u128::from_le_bytes(*key.bytes());
    [both as u64, (both >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compile::sample;

    #[test]
    fn a_tick_is_about_a_second() {
        assert_eq!([100, 250, 300, 1000].map(tick_shift), [7, 8, 9, 10]);
    }

    #[test]
    fn idle_times_are_rounded_up_to_ticks() {
        let ticks = |seconds, hz| {
            let flows = Flows { entries: 1, idle_timeout: Duration::from_secs(seconds) };
            idle_ticks(flows, hz, tick_shift(hz))
        };
        // A tick at 250 Hz is 256 jiffies, 1.024 s.
        assert_eq!(ticks(300, 250), 293);
        assert_eq!(ticks(10, 1000), 10);
        assert_eq!(ticks(4 * 3600, 250), 14063);
        assert!(u64::from(ticks(4 * 3600, 1000)) < TICKS);
    }

    #[test]
    fn rates_fit_their_words() {
        for hz in [100, 250, 300, 1000] {
            for rate in [1, 50, 1000, 1_000_000] {
                let per_second = f64::from(tokens_per_jiffy(rate, hz)) * f64::from(hz) / TOKEN as f64;
                assert!((per_second / f64::from(rate) - 1.0).abs() < 0.01, "{rate} at {hz}: {per_second}");
            }
        }
        assert_eq!(u64::from(burst(1)), LEAST_BURST * TOKEN);
        assert_eq!(u64::from(burst(1000)), 100 * TOKEN);
        assert_eq!(burst(1_000_000), u32::MAX);
    }

    #[test]
    fn clients_and_events_have_their_rates() {
        let mut config = sample::ingress();
        config.events.rate = 0;
        if let Role::Ingress(ingress) = &mut config.role {
            ingress.clients.prefix_length = 20;
            ingress.clients.challenge_rate = 5_000_000;
        }
        let made = globals(&config, &sample::links(), 77, 5);
        assert_eq!((made.event_rate, made.event_burst), (0, 0));
        assert_eq!(u64::from(made.challenge_rate), 5_000_000 * TOKEN / 250);
        assert_eq!(made.challenge_burst, u32::MAX);
        assert_eq!(made.prefix_netmask.to_ne_bytes(), [255, 255, 240, 0]);
        assert_eq!((made.epoch_jiffies, made.epoch_offset), (16_000, sample::EPOCH_OFFSET));
        assert_eq!([8, 24, 31, 32].map(|length| netmask(length).to_ne_bytes()[3]), [0, 0, 254, 255]);

        let egress = globals(&sample::egress(), &sample::links(), 77, 5);
        assert_eq!((egress.challenge_rate, egress.prefix_netmask, egress.proof_key), (0, 0, [0; 2]));
        assert_eq!(u64::from(egress.event_burst), 10 * TOKEN);
        assert!(egress.epoch_jiffies > 0);
    }

    #[test]
    fn the_fastest_rates_fit_where_jiffies_are_longest() {
        let most = u32::try_from(crate::config::defaults::CHALLENGE_RATE_MAX).unwrap();
        assert_eq!(u64::from(tokens_per_jiffy(most, 100)), u64::from(most) * TOKEN / 100);
    }

    #[test]
    fn globals_say_what_the_configuration_says() {
        let mut config = sample::ingress();
        config.tunnel.dscp = 46;
        config.tunnel.mtu = None;
        let globals = globals(&config, &sample::links(), 77, 5);
        assert_eq!((globals.generation, globals.table_seed), (5, 77));
        assert_eq!(globals.hash_key, [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        assert_eq!(globals.outer_start, [0x45, 0xb8]);
        assert_eq!((globals.tunnel_mtu, globals.outer_ttl), (1500, 64));
        assert_eq!((globals.edge_ifindex, globals.tunnel_ifindex), (2, 3));
        config.tunnel.mtu = Some(1400);
        assert_eq!(super::globals(&config, &sample::links(), 77, 5).tunnel_mtu, 1400);
    }
}
