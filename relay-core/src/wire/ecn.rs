//! Explicit congestion notification across a tunnel (RFC 6040).

/// The ECN bits of a type of service byte.
pub const MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The inner type of service byte after decapsulation, by figure 4 of RFC 6040 section 4.2; `None` where the packet must be
/// dropped. The inner DSCP stays (pipe model, RFC 2983).
#[inline(always)]
pub const fn decapsulate(inner: u8, outer: u8) -> Option<u8> {
    match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => None,
        (ECT_0 | ECT_1, CE) => Some(inner | CE),
        (ECT_0, ECT_1) => Some(inner & !MASK | ECT_1),
        _ => Some(inner),
    }
}
