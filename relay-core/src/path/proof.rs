//! Proof that a client receives at its address, without keeping state: its SYN is answered with an ACK of a number it never sent,
//! a keyed hash. A client that gets the ACK answers with a RST of that number (RFC 9293 section 3.10.7.3) and sends its SYN again.
//!
//! The number depends on the 4-tuple, the key that ingress relays share, and the epoch: any of them may get the RST.
//!
//! An ACK without SYN is what a server answers that still has an old connection of these ports (RFC 5961 section 4.2), and stateful
//! firewalls know that. A SYN-ACK they take for invalid or, worse, for the service's: then they cut off the connection that follows.

use relay_abi::image::{Globals, Service, proof};
use relay_abi::limits::CHALLENGE_BUCKET;
use relay_abi::service_state::ServiceState;
use relay_abi::{Image, Reason};

use super::parse::{IP, PAYLOAD, parse, write_ethernet};
use super::{Outcome, token};
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Header, Protocol};
use crate::wire::siphash;
use crate::wire::transport::{Ports, TCP_ACK, TCP_LENGTH};
use crate::{Frame, Tables};

/// Whether an unproven SYN of the service is to be challenged; counts it where that is a question of how many there are.
#[inline(always)]
pub(super) fn challenged<T: Tables>(
    tables: &T,
    globals: &Globals,
    state: &ServiceState,
    service: &Service,
) -> bool {
    if service.proof != proof::THRESHOLD {
        return service.proof == proof::ALWAYS;
    }
    let tick = tables.jiffies() >> (globals.tick_shift & 63);
    let until = tables.load(&state.challenged_until);
    // Over the threshold in this very tick: nothing to count, so that a flood does not make CPUs quarrel about the word.
    if until == tick + HOLD_TICKS {
        return true;
    }
    if count(tables, state, tick) > service.proof_threshold {
        tables.store(&state.challenged_until, tick + HOLD_TICKS);
        return true;
    }
    tick < until
}

/// Counts an unproven SYN. Returns how many there were in this tick.
#[inline(always)]
fn count<T: Tables>(tables: &T, state: &ServiceState, tick: u64) -> u32 {
    let seen = tables.load(&state.unproven_syns);
    if (seen >> 32) as u32 != tick as u32 && tables.swap(&state.unproven_syns, seen, tick << 32 | 1) {
        return 1;
    }
    (tables.add(&state.unproven_syns, 1) as u32).wrapping_add(1)
}

/// Turns a client's SYN, all of whose headers were found valid, into the challenge: no larger than the SYN, back the way it came.
///
/// Not inlined, and the packet is parsed again, as for ICMP errors.
#[inline(never)]
pub(super) fn challenge<F: Frame, T: Tables>(frame: &mut F, tables: &T, image: &Image) -> Outcome {
    let packet = match parse(frame) {
        Ok(packet) => packet,
        Err(reason) => return Outcome::dropped(reason),
    };
    match answer(frame, tables, &image.globals, &packet.ip) {
        Ok(()) => Outcome::sent_as(Reason::SynChallenged, frame.ingress_ifindex(), packet.ip.total_length()),
        Err(reason) => Outcome::dropped(reason),
    }
}

#[inline(always)]
fn answer<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    globals: &Globals,
    syn: &Header,
) -> Result<(), Reason> {
    let stations = ethernet::answer(frame.read_words(0)?);
    let [ports, sequence, _, offset] = frame.read_words(PAYLOAD)?;
    let hash = hash(globals, syn, Ports(ports), epoch(globals, tables.jiffies()));
    let data = data_length(syn, offset);
    if acceptable(hash as u32, u32::from_be(sequence), data)
        || !token::take_from(tables, CHALLENGE_BUCKET, globals.challenge_rate, globals.challenge_burst)
    {
        return Err(Reason::SynUnproven);
    }
    let (ip, tcp) = headers(syn, Ports(ports), hash);
    frame.trim(IP + ipv4::LENGTH + TCP_LENGTH)?;
    write_ethernet(frame, &stations)?;
    frame.write_words(IP, &ip.0)?;
    frame.write_words(PAYLOAD, &tcp)
}

/// Whether the RST with this sequence number answers a challenge of this epoch or the one before.
#[inline(always)]
pub(super) fn proves(globals: &Globals, jiffies: u64, ip: &Header, ports: Ports, sequence: u32) -> bool {
    let now = epoch(globals, jiffies);
    hash(globals, ip, ports, now) as u32 == sequence
        || hash(globals, ip, ports, now.wrapping_sub(1)) as u32 == sequence
}

/// Bytes of data behind a SYN's header: TCP Fast Open (RFC 7413).
#[inline(always)]
const fn data_length(syn: &Header, offset: u32) -> u32 {
    let headers = ipv4::LENGTH as u32 + (offset.to_ne_bytes()[0] >> 4) as u32 * 4;
    (syn.total_length() as u32).saturating_sub(headers)
}

/// Whether the client would take the number for the acknowledgement of its SYN or of some of its data, and think itself connected.
#[inline(always)]
const fn acceptable(number: u32, sequence: u32, data: u32) -> bool {
    number.wrapping_sub(sequence).wrapping_sub(1) <= data
}

/// The headers of the challenge. Its window is zero: it invites nobody to send.
#[inline(always)]
const fn headers(syn: &Header, ports: Ports, hash: u64) -> (Header, [u32; 5]) {
    const LENGTH: u16 = (ipv4::LENGTH + TCP_LENGTH) as u16;
    const START: u32 = u32::from_ne_bytes([(TCP_LENGTH as u8 / 4) << 4, TCP_ACK, 0, 0]);
    const PSEUDO: [u8; 4] = [0, Protocol::TCP.0, 0, TCP_LENGTH as u8];
    let ip = Header::atomic(0, LENGTH, TTL, Protocol::TCP, syn.destination(), syn.source());
    let (sequence, number) = (((hash >> 32) as u32).to_be(), (hash as u32).to_be());
    let ports = ports.swapped().0;
    let [c0, c1] = Sum::zero()
        .add_word(u32::from_ne_bytes(PSEUDO))
        .add_word(syn.source().word())
        .add_word(syn.destination().word())
        .add_word(ports)
        .add_word(sequence)
        .add_word(number)
        .add_word(START)
        .checksum()
        .0;
    (ip, [ports, sequence, number, START, u32::from_ne_bytes([c0, c1, 0, 0])])
}

/// The hash of a client's packet: its lower half is the number that the client has to give back. Little-endian, so that relays on
/// machines of both kinds agree.
#[inline(always)]
fn hash(globals: &Globals, ip: &Header, ports: Ports, epoch: u32) -> u64 {
    let addresses = ip.source().word().to_le() as u64 | (ip.destination().word().to_le() as u64) << 32;
    keyed(globals, addresses, ports.0.to_le() as u64 | (epoch as u64) << 32)
}

/// Not inlined: some 400 instructions, in three places.
#[inline(never)]
fn keyed(globals: &Globals, addresses: u64, rest: u64) -> u64 {
    siphash::hash(globals.proof_key, addresses, rest)
}

#[inline(always)]
const fn epoch(globals: &Globals, jiffies: u64) -> u32 {
    match jiffies.wrapping_add(globals.epoch_offset).checked_div(globals.epoch_jiffies) {
        Some(epoch) => epoch as u32,
        None => 0,
    }
}

/// How long challenges go on after the last tick with too many unproven SYNs.
const HOLD_TICKS: u64 = 10;
/// As that of other hosts, so that the answer gets everywhere.
const TTL: u8 = 64;

#[cfg(test)]
mod tests;
