//! The entry points.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use relay_abi::Verdict;
use relay_core::{Apart as _, Frame as _, Outcome};

use crate::count::count;
use crate::frame::XdpFrame;
use crate::tables::MapTables;

/// The program of an ingress relay.
#[xdp]
pub(crate) fn ingress(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&context);
    let tables = MapTables::new(&context);
    let outcome = relay_core::ingress(&mut frame, &tables);
    finish(&frame, &tables, outcome)
}

/// The program of an egress relay.
#[xdp]
pub(crate) fn egress(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&context);
    let tables = MapTables::new(&context);
    let outcome = relay_core::egress(&mut frame, &tables);
    finish(&frame, &tables, outcome)
}

#[inline(always)]
fn finish(frame: &XdpFrame, tables: &MapTables, outcome: Outcome) -> u32 {
    let code = outcome.code();
    match outcome.sent() {
        Some((ifindex, total_length)) if ifindex == frame.ingress_ifindex() => {
            count(frame.context(), Verdict::Transmit, code, ETHERNET + total_length as u64);
            xdp_action::XDP_TX
        }
        Some((ifindex, total_length)) => {
            count(frame.context(), Verdict::Redirect, code, ETHERNET + total_length as u64);
            // SAFETY: the helper takes plain numbers; an interface that is gone makes the kernel drop and count the frame.
            (unsafe { bpf_redirect(ifindex, 0) }) as u32
        }
        None if outcome.passed() => {
            count(frame.context(), Verdict::Pass, code, frame.length() as u64);
            xdp_action::XDP_PASS
        }
        None => {
            let length = frame.length();
            count(frame.context(), Verdict::Drop, code, length as u64);
            tables.report(code, length);
            xdp_action::XDP_DROP
        }
    }
}

/// Bytes of the Ethernet header.
const ETHERNET: u64 = 14;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // A panic that can be reached is an endless loop to the verifier, which refuses it.
    loop {}
}

/// Read by the kernel: which helpers the program may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
