//! The programs that costs are counted over, and the one at the other end of the link.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// What the cost of relaying is counted over: sends the packet back as it is.
#[xdp]
pub(crate) fn baseline_tx(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// What the cost of dropping is counted over.
#[xdp]
pub(crate) fn baseline_drop(_context: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Takes what the measured program sent, at the other end of the link.
#[xdp]
pub(crate) fn sink(_context: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}
