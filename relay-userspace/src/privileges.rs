//! Capabilities: having those that are needed, giving up the others.

use caps::{CapSet, Capability, CapsHashSet};

use crate::exit::{Exit, Failure};

/// What loading and serving need: CAP_BPF for maps, programs and generations, CAP_NET_ADMIN for XDP and neighbours.
const NEEDED: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];

/// Refuses to start without a needed capability, before a library fails in its own words.
pub(crate) fn require() -> Result<(), Failure> {
    let held = caps::read(None, CapSet::Effective)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the capabilities: {error}")))?;
    let missing: Vec<String> =
        NEEDED.iter().filter(|needed| !held.contains(needed)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Permission, format!("cannot load a relay without {}", missing.join(" and ")))
        .hint("run as root, or give it CAP_BPF and CAP_NET_ADMIN (AmbientCapabilities= in a unit)"))
}

/// Drops every capability but those, for good. That this fails is said, and no reason to stop.
pub(crate) fn drop_unneeded() {
    let attempt = || -> Result<(), caps::errors::CapsError> {
        caps::clear(None, CapSet::Ambient)?;
        caps::clear(None, CapSet::Inheritable)?;
        let permitted = caps::read(None, CapSet::Permitted)?;
        let kept: CapsHashSet =
            NEEDED.into_iter().filter(|capability| permitted.contains(capability)).collect();
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)
    };
    if let Err(error) = attempt() {
        tracing::warn!("cannot drop capabilities: {error}");
    }
}

/// Drops every capability of this thread: each thread has its own.
pub(crate) fn drop_all() {
    let sets = [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];
    if let Err(error) = sets.into_iter().try_for_each(|set| caps::clear(None, set)) {
        tracing::warn!("cannot drop capabilities: {error}");
    }
}
