//! The packet over XDP's pointers.

use core::arch::asm;
use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;
use relay_abi::Reason;
use relay_core::Frame;

/// A frame in an XDP program. Pointers are read anew for each access, for moving the head or tail makes old ones invalid.
pub(crate) struct XdpFrame {
    context: *mut xdp_md,
}

impl XdpFrame {
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self { context: context.as_ptr().cast() }
    }

    /// The kernel's context.
    #[inline(always)]
    pub(crate) fn context(&self) -> *mut xdp_md {
        self.context
    }

    /// The packet's first byte and the one behind its last.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the kernel hands a valid context to the program.
        let start = unsafe { (*self.context).data };
        // SAFETY: as above.
        let end = unsafe { (*self.context).data_end };
        let (start, mut end) = (start as usize, end as usize);
        // The context says 32 bits, the verifier 64: the compiler must not carry the end through a register's half, which to
        // the verifier is a pointer cut in two.
        // SAFETY: the instruction copies a register to itself.
        unsafe { asm!("{end} = {end}", end = inout(reg) end, options(pure, nomem, nostack)) };
        (start, end)
    }

    /// A pointer to the bytes from `at`, if `length` bytes stand there.
    #[inline(always)]
    fn bytes(&self, at: usize, length: usize) -> Option<*mut u8> {
        let (start, end) = self.bounds();
        if start + at + length > end { None } else { Some((start + at) as *mut u8) }
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        // SAFETY: the kernel hands a valid context to the program.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context is valid. Subtracting the pointers would ask for CAP_PERFMON at load.
        (unsafe { bpf_xdp_get_buff_len(self.context) }) as usize
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], Reason> {
        let bytes = self.bytes(at, N).ok_or(Reason::FrameTruncated)?;
        // SAFETY: `bytes` checked that N bytes stand there; an array of bytes has alignment 1.
        Ok(unsafe { *bytes.cast::<[u8; N]>() })
    }

    #[inline(always)]
    fn read_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason> {
        let bytes = self.bytes(at, 4 * N).ok_or(Reason::FrameTruncated)?.cast::<u32>();
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: `bytes` checked that N words stand there.
            let place = unsafe { bytes.add(index) };
            // SAFETY: as above.
            *word = unsafe { place.read_unaligned() };
        }
        Ok(words)
    }

    #[inline(always)]
    fn load_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason> {
        // Not zeroed first: that would be a loop, which the verifier refuses without CAP_PERFMON.
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        // SAFETY: the context is valid, and the buffer has the length given; the helper checks the packet's bounds.
        let refused = unsafe {
            bpf_xdp_load_bytes(
                self.context,
                at as u32,
                words.as_mut_ptr().cast(),
                size_of::<[u32; N]>() as u32,
            )
        };
        if refused == 0 {
            // SAFETY: the helper has written all of it.
            Ok(unsafe { words.assume_init() })
        } else {
            Err(Reason::FrameTruncated)
        }
    }

    #[inline(always)]
    fn store_pair(&mut self, at: usize, mut pair: [u8; 2]) -> Result<(), Reason> {
        // SAFETY: as in `load_words`.
        let refused = unsafe { bpf_xdp_store_bytes(self.context, at as u32, pair.as_mut_ptr().cast(), 2) };
        if refused == 0 { Ok(()) } else { Err(Reason::Internal) }
    }

    #[inline(always)]
    fn write_pair(&mut self, at: usize, pair: [u8; 2]) -> Result<(), Reason> {
        let bytes = self.bytes(at, 2).ok_or(Reason::Internal)?.cast::<u16>();
        // SAFETY: `bytes` checked that two bytes stand there; no reference into the packet is alive.
        unsafe { bytes.write_unaligned(u16::from_ne_bytes(pair)) };
        Ok(())
    }

    #[inline(always)]
    fn write_words<const N: usize>(&mut self, at: usize, words: &[u32; N]) -> Result<(), Reason> {
        let bytes = self.bytes(at, 4 * N).ok_or(Reason::Internal)?.cast::<u32>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: `bytes` checked that N words stand there.
            let place = unsafe { bytes.add(index) };
            // SAFETY: as above; no reference into the packet is alive.
            unsafe { place.write_unaligned(*word) };
        }
        Ok(())
    }

    #[inline(always)]
    fn grow_head(&mut self, bytes: u16) -> Result<(), Reason> {
        // SAFETY: the context is valid; the helper checks the room.
        let refused = unsafe { bpf_xdp_adjust_head(self.context, -(bytes as i32)) };
        if refused == 0 { Ok(()) } else { Err(Reason::HeadRoom) }
    }

    #[inline(always)]
    fn shrink_head(&mut self, bytes: u16) -> Result<(), Reason> {
        // SAFETY: as in `grow_head`.
        let refused = unsafe { bpf_xdp_adjust_head(self.context, bytes as i32) };
        if refused == 0 { Ok(()) } else { Err(Reason::Internal) }
    }

    #[inline(always)]
    fn trim(&mut self, length: usize) -> Result<(), Reason> {
        let excess = self.length().checked_sub(length).ok_or(Reason::Internal)?;
        // SAFETY: as in `grow_head`.
        let refused = unsafe { bpf_xdp_adjust_tail(self.context, -(excess as i32)) };
        if refused == 0 { Ok(()) } else { Err(Reason::Internal) }
    }
}
