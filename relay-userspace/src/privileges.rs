//! Giving up what serving does not need.

use caps::{CapSet, Capability, CapsHashSet};

/// What serving needs: CAP_BPF to publish generations, CAP_NET_ADMIN to solicit neighbours and to attach again.
const NEEDED: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];

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
