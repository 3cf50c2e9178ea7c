//! Steps of the path as functions that the verifier looks at by themselves ("global functions"), as if with any arguments: what it has seen once, it
//! does not walk again for each way that leads there.
//!
//! Such a function is handed the kernel's context and numbers, and finds everything else anew.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use relay_core::{Apart, path};

use crate::frame::XdpFrame;
use crate::tables::MapTables;

impl Apart for MapTables {
    #[inline(always)]
    fn judge<F: relay_core::Frame>(&self, _frame: &F, service: u16, generation: u64) -> u32 {
        relay_judge(self.context(), service as u32, generation)
    }

    #[inline(always)]
    fn judge_error<F: relay_core::Frame>(&self, _frame: &F, service: u16, generation: u64) -> u32 {
        relay_judge_error(self.context(), service as u32, generation)
    }

    #[inline(always)]
    fn account(&self, key: u64, demand: u64, generation: u64) -> u32 {
        relay_account(self.context(), key, demand, generation)
    }

    #[inline(always)]
    fn clamp<F: relay_core::Frame>(&self, _frame: &F, tcp: usize, options: u32, tunnel_mtu: u16) -> u64 {
        relay_clamp(self.context(), tcp as u32, options, tunnel_mtu as u32)
    }

    #[inline(always)]
    fn dropped(&self, key: u64, class: u32, length: u16) {
        relay_dropped(self.context(), key, class, length as u32);
    }

    #[inline(always)]
    fn not_forwarded<F: relay_core::Frame>(&self, _frame: &F, service: u16, answered: u16) {
        relay_not_forwarded(self.context(), service as u32, answered as u32);
    }

    #[inline(always)]
    fn returned<F: relay_core::Frame>(&self, _frame: &F) {
        relay_returned(self.context());
    }

    #[inline(always)]
    fn report(&self, code: u8, length: usize) {
        relay_report(self.context(), code as u32, length as u32);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_judge(context: *mut xdp_md, service: u32, generation: u64) -> u32 {
    let context = taken(context);
    path::judge(&XdpFrame::new(&context), &MapTables::new(&context), service as u16, generation)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_account(context: *mut xdp_md, key: u64, demand: u64, generation: u64) -> u32 {
    path::account(&MapTables::new(&taken(context)), key, demand, generation)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_clamp(context: *mut xdp_md, tcp: u32, options: u32, tunnel_mtu: u32) -> u64 {
    // The arguments are known to be small; here the verifier is told.
    path::clamp(&XdpFrame::new(&taken(context)), tcp as usize & 63, options & 63, tunnel_mtu as u16)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_dropped(context: *mut xdp_md, key: u64, class: u32, length: u32) -> u32 {
    path::dropped(&MapTables::new(&taken(context)), key, class, length as u16);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_not_forwarded(context: *mut xdp_md, service: u32, answered: u32) -> u32 {
    let context = taken(context);
    path::not_forwarded(&XdpFrame::new(&context), &MapTables::new(&context), service as u16, answered as u16);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_judge_error(context: *mut xdp_md, service: u32, generation: u64) -> u32 {
    let context = taken(context);
    path::judge_error(&XdpFrame::new(&context), &MapTables::new(&context), service as u16, generation)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_returned(context: *mut xdp_md) -> u32 {
    let context = taken(context);
    path::returned(&XdpFrame::new(&context), &MapTables::new(&context));
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_report(context: *mut xdp_md, code: u32, length: u32) -> u32 {
    path::report(&MapTables::new(&taken(context)), code as u8, length as usize);
    0
}

/// The context, which the compiler must not think unused: the verifier asks for it in every call.
#[inline(always)]
fn taken(mut context: *mut xdp_md) -> XdpContext {
    // SAFETY: the instruction copies a register to itself.
    unsafe { asm!("{context} = {context}", context = inout(reg) context, options(readonly, nostack)) };
    XdpContext::new(context)
}
