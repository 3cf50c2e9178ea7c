//! Which ingress relay a flow came through: learned from forward packets, asked by packets on their way back.

use relay_abi::Tally;
use relay_abi::flow::{ANSWERED, BUSY, Flow, FlowKey, FlowSet, KEY_BITS, age, peer, state};
use relay_abi::image::Globals;

use crate::Tables;

/// Notes that a forward packet of the flow came in through `through`. Never fails: a flow that finds no place is tallied.
#[inline(always)]
pub(super) fn learn<T: Tables>(tables: &T, globals: &Globals, key: FlowKey, through: u16) {
    let tick = tables.jiffies() >> globals.tick_shift;
    let Some(set) = tables.flow_set(key.set(globals.table_seed, globals.flow_mask)) else { return };
    if let Some((flow, word)) = find(tables, set, key) {
        let new = state(key, word & ANSWERED != 0, tick, through);
        if new != word {
            if peer(word) != through {
                tables.tally(Tally::FlowMoved);
            }
            // Lost to another CPU: that one saw the flow just now as well.
            let _ = tables.swap(&flow.state, word, new);
        }
        return;
    }
    insert(tables, globals, key, through);
}

/// The peer through which the flow came, if the flow is known; with `answer`, notes that the service has answered.
#[inline(always)]
pub(super) fn through<T: Tables>(tables: &T, globals: &Globals, key: FlowKey, answer: bool) -> Option<u16> {
    let set = tables.flow_set(key.set(globals.table_seed, globals.flow_mask))?;
    let Some((flow, word)) = find(tables, set, key) else {
        return tables.spilled_flow(&key).map(peer);
    };
    if answer {
        let tick = tables.jiffies() >> globals.tick_shift;
        let new = state(key, true, tick, peer(word));
        if new != word {
            if word & ANSWERED == 0 {
                tables.tally(Tally::FlowAnswered);
            }
            let _ = tables.swap(&flow.state, word, new);
        }
    }
    Some(peer(word))
}

/// The flow and its state word as read.
#[inline(always)]
fn find<'set, T: Tables>(tables: &T, set: &'set FlowSet, key: FlowKey) -> Option<(&'set Flow, u64)> {
    for flow in &set.0 {
        let word = tables.load(&flow.state);
        if word & KEY_BITS == key.ports && tables.load(&flow.addresses) == key.addresses {
            // The addresses belong to this state only if nobody replaced the entry between the two reads.
            if tables.load(&flow.state) & KEY_BITS == key.ports && word != BUSY {
                return Some((flow, word));
            }
        }
    }
    None
}

/// Puts a new flow in the place of none, else of an idle one, else of the unanswered one that was seen least
/// recently; live flows that the service has answered keep theirs.
///
/// Not inlined: new flows are rare beside packets of known ones.
#[inline(never)]
fn insert<T: Tables>(tables: &T, globals: &Globals, key: FlowKey, through: u16) {
    let tick = tables.jiffies() >> globals.tick_shift;
    let Some(set) = tables.flow_set(key.set(globals.table_seed, globals.flow_mask)) else { return };
    let new = state(key, false, tick, through);
    if let Some((flow, word)) = unused(tables, set) {
        return replace(tables, flow, word, key, new, Tally::FlowCreated);
    }
    if let Some((flow, word)) = idle(tables, globals, set, tick) {
        return replace(tables, flow, word, key, new, Tally::FlowDisplaced);
    }
    if let Some((flow, word)) = unanswered(tables, set, tick) {
        return replace(tables, flow, word, key, new, Tally::FlowDisplaced);
    }
    let known = tables.spilled_flow(&key);
    if known != Some(new) && !tables.spill_flow(&key, new) {
        tables.tally(Tally::FlowUnrecorded);
    } else if known.is_none() {
        tables.tally(Tally::FlowSpilled);
    }
}

/// A place where there never was a flow.
#[inline(always)]
fn unused<'set, T: Tables>(tables: &T, set: &'set FlowSet) -> Option<(&'set Flow, u64)> {
    for flow in &set.0 {
        let word = tables.load(&flow.state);
        if word == 0 {
            return Some((flow, word));
        }
    }
    None
}

/// A flow that was not seen for longer than the configured time.
#[inline(always)]
fn idle<'set, T: Tables>(
    tables: &T,
    globals: &Globals,
    set: &'set FlowSet,
    tick: u64,
) -> Option<(&'set Flow, u64)> {
    for flow in &set.0 {
        let word = tables.load(&flow.state);
        if word != BUSY && age(word, tick) > globals.flow_idle_ticks as u64 {
            return Some((flow, word));
        }
    }
    None
}

/// The flow without an answer that was seen least recently.
#[inline(always)]
fn unanswered<'set, T: Tables>(tables: &T, set: &'set FlowSet, tick: u64) -> Option<(&'set Flow, u64)> {
    const { assert!(BUSY & ANSWERED != 0) };
    let mut victim = None;
    let mut oldest = 0;
    for flow in &set.0 {
        let word = tables.load(&flow.state);
        if word & ANSWERED == 0 && (victim.is_none() || age(word, tick) > oldest) {
            oldest = age(word, tick);
            victim = Some((flow, word));
        }
    }
    victim
}

/// Takes the place of a flow whose state word was `word`.
#[inline(always)]
fn replace<T: Tables>(tables: &T, flow: &Flow, word: u64, key: FlowKey, new: u64, tally: Tally) {
    if !tables.swap(&flow.state, word, BUSY) {
        // Another CPU took the place; this flow's next packet finds another.
        tables.tally(Tally::FlowUnrecorded);
        return;
    }
    tables.store(&flow.addresses, key.addresses);
    tables.store(&flow.state, new);
    tables.tally(tally);
}
