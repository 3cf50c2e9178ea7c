//! A packet whose every access is checked against its bounds.

use relay_abi::Reason;

/// One Ethernet frame. Offsets count from its first byte, in bytes; after the head moved they count from the new front.
pub trait Frame {
    /// The interface the frame came in on.
    fn ingress_ifindex(&self) -> u32;

    /// Bytes in the frame. In the kernel a call, which costs a nanosecond or two.
    fn length(&self) -> usize;

    /// The `N` bytes at `at`, which is a constant: without CAP_PERFMON the kernel refuses to add a variable to a packet pointer.
    ///
    /// # Errors
    /// [`Reason::FrameTruncated`] where the frame ends before them.
    fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], Reason>;

    /// The `N` words of 4 bytes at `at`, each as it stands in memory.
    ///
    /// # Errors
    /// As [`Frame::read`].
    fn read_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason>;

    /// The `N` words of 4 bytes at `at`, which may vary. In the kernel a call.
    ///
    /// # Errors
    /// As [`Frame::read`].
    fn load_words<const N: usize>(&self, at: usize) -> Result<[u32; N], Reason>;

    /// Overwrites the two bytes at `at`, which may vary. In the kernel a call.
    ///
    /// # Errors
    /// As [`Frame::write_pair`].
    fn store_pair(&mut self, at: usize, pair: [u8; 2]) -> Result<(), Reason>;

    /// Overwrites the two bytes at `at`.
    ///
    /// # Errors
    /// [`Reason::Internal`] where the frame ends before them: callers have looked before.
    fn write_pair(&mut self, at: usize, bytes: [u8; 2]) -> Result<(), Reason>;

    /// Overwrites the `N` words of 4 bytes at `at`.
    ///
    /// # Errors
    /// As [`Frame::write_pair`].
    fn write_words<const N: usize>(&mut self, at: usize, words: &[u32; N]) -> Result<(), Reason>;

    /// Adds `bytes` bytes, of any content, in front.
    ///
    /// # Errors
    /// [`Reason::HeadRoom`] where the driver left no room; the frame is as it was.
    fn grow_head(&mut self, bytes: u16) -> Result<(), Reason>;

    /// Removes `bytes` bytes in front.
    ///
    /// # Errors
    /// [`Reason::Internal`] where the frame is shorter; the frame is as it was.
    fn shrink_head(&mut self, bytes: u16) -> Result<(), Reason>;

    /// Cuts the frame off behind `length` bytes.
    ///
    /// # Errors
    /// [`Reason::Internal`] where the frame is shorter; the frame is as it was.
    fn trim(&mut self, length: usize) -> Result<(), Reason>;
}
