//! A frame in memory with room around it, all of which is poisoned: what is not written shows.

use relay_abi::Reason;
use relay_core::Frame;

/// What the room around a frame is made of.
pub const POISON: u8 = 0xa5;
/// Bytes in front of a frame, as the kernel leaves them.
const HEAD_ROOM: usize = 256;
const TAIL_ROOM: usize = 320;

/// A frame of the host's runs.
#[derive(Clone, Debug)]
pub struct MemFrame {
    room: Vec<u8>,
    start: usize,
    end: usize,
    ifindex: u32,
    writes: usize,
    can_grow: bool,
    can_trim: bool,
}

impl MemFrame {
    /// A frame that came in on `ifindex`.
    #[must_use]
    pub fn new(bytes: &[u8], ifindex: u32) -> Self {
        let mut room = vec![POISON; HEAD_ROOM + bytes.len() + TAIL_ROOM];
        room[HEAD_ROOM..HEAD_ROOM + bytes.len()].copy_from_slice(bytes);
        let end = HEAD_ROOM + bytes.len();
        Self { room, start: HEAD_ROOM, end, ifindex, writes: 0, can_grow: true, can_trim: true }
    }

    /// The same, whose head or end cannot be moved.
    #[must_use]
    pub const fn stiff(mut self, head: bool, end: bool) -> Self {
        (self.can_grow, self.can_trim) = (!head, !end);
        self
    }

    /// The frame as it stands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// How often it was changed.
    #[must_use]
    pub const fn writes(&self) -> usize {
        self.writes
    }

    /// Whether nothing was written outside the frame.
    #[must_use]
    pub fn kept_its_bounds(&self) -> bool {
        self.room[..self.start].iter().all(|byte| *byte == POISON)
    }

    fn place(&self, at: usize, length: usize) -> Option<usize> {
        let first = self.start.checked_add(at)?;
        (first.checked_add(length)? <= self.end).then_some(first)
    }
}

impl Frame for MemFrame {
    fn ingress_ifindex(&self) -> u32 {
        self.ifindex
    }

    fn length(&self) -> usize {
        self.end - self.start
    }

    fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], Reason> {
        let first = self.place(at, N).ok_or(Reason::FrameTruncated)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.room[first..first + N]);
        Ok(bytes)
    }

    fn read_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason> {
        let mut words = [0; N];
        // All or nothing, as the kernel's side does it.
        self.place(at, 4 * N).ok_or(Reason::FrameTruncated)?;
        for (index, word) in words.iter_mut().enumerate() {
            *word = u32::from_ne_bytes(self.read(at + 4 * index)?);
        }
        Ok(words)
    }

    fn load_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason> {
        self.read_words(at)
    }

    fn store_pair(&mut self, at: usize, pair: [u8; 2]) -> Result<(), Reason> {
        self.write_pair(at, pair)
    }

    fn write_pair(&mut self, at: usize, bytes: [u8; 2]) -> Result<(), Reason> {
        let first = self.place(at, 2).ok_or(Reason::Internal)?;
        self.room[first..first + 2].copy_from_slice(&bytes);
        self.writes += 1;
        Ok(())
    }

    fn write_words<const N: usize>(&mut self, at: usize, words: &[u32; N]) -> Result<(), Reason> {
        let first = self.place(at, 4 * N).ok_or(Reason::Internal)?;
        for (index, word) in words.iter().enumerate() {
            self.room[first + 4 * index..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        self.writes += 1;
        Ok(())
    }

    fn grow_head(&mut self, bytes: u16) -> Result<(), Reason> {
        let start = self.start.checked_sub(usize::from(bytes)).filter(|_| self.can_grow);
        self.start = start.ok_or(Reason::HeadRoom)?;
        self.writes += 1;
        Ok(())
    }

    fn shrink_head(&mut self, bytes: u16) -> Result<(), Reason> {
        // The kernel wants an Ethernet header to be left.
        if self.length() < usize::from(bytes) + 14 {
            return Err(Reason::Internal);
        }
        let start = self.start + usize::from(bytes);
        self.room[self.start..start].fill(POISON);
        self.start = start;
        self.writes += 1;
        Ok(())
    }

    fn trim(&mut self, length: usize) -> Result<(), Reason> {
        if !self.can_trim || self.length() < length {
            return Err(Reason::Internal);
        }
        self.room[self.start + length..self.end].fill(POISON);
        self.end = self.start + length;
        self.writes += 1;
        Ok(())
    }
}
