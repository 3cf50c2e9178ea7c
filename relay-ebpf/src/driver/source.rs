//! Numbers of sources, and the addresses they send from. Read by the drivers and by user space.

/// How many sources there are: their numbers are below this.
pub(crate) const SOURCES: u32 = 1 << 31;

/// The address (host order) of a source: each number has another one. They look random, lie all over the address space,
/// and none is martian or belongs to the relays and services of the benchmarks.
#[inline(always)]
pub(crate) const fn address(number: u32) -> u32 {
    let mixed = number.wrapping_mul(FACTOR) % SOURCES;
    let mixed = (mixed ^ mixed >> SHIFT).wrapping_mul(FACTOR) % SOURCES;
    let mixed = mixed ^ mixed >> SHIFT;
    let network = NETWORKS[(mixed >> 24) as usize % NETWORKS.len()];
    (network as u32) << 24 | mixed & 0xff_ffff
}

/// Odd, so that multiplying by it can be undone.
pub(crate) const FACTOR: u32 = 0x9e37_79b1;
/// More than half of the bits of a number, so that mixing by it twice undoes it.
pub(crate) const SHIFT: u32 = 16;

/// The /8 networks that sources are in: spread evenly over those that hold neither martian addresses nor the benchmarks' own
/// (10, 192).
pub(crate) const NETWORKS: [u8; 128] = {
    let mut free = [0; 256];
    let mut count = 0;
    let mut network = 1;
    while network < 224 {
        if !matches!(network, 10 | 127 | 169 | 192) {
            free[count] = network;
            count += 1;
        }
        network += 1;
    }
    let mut networks = [0; 128];
    let mut index = 0;
    while index < networks.len() {
        networks[index] = free[index * count / networks.len()];
        index += 1;
    }
    networks
};
