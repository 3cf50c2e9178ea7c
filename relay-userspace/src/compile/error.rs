//! Why a valid configuration does not fit the tables of the packet path.

use std::fmt;

/// A table that is too small for the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// More rows than a table has.
    Full {
        /// What there is too much of.
        what: What,
        /// Rows needed.
        needed: usize,
        /// Rows there are.
        room: usize,
    },
    /// The endpoint table is so full that no seed spreads the endpoints over its sets.
    Crowded {
        /// Endpoints to place.
        endpoints: usize,
    },
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Services, counted once for each VIP.
    Services,
    /// Backends.
    Backends,
    /// Relays of the other tier.
    Peers,
    /// Slots of the services' pick tables.
    RingSlots,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { what, needed, room } => {
                let (noun, remedy) = match what {
                    What::Services => ("services (one for each VIP)", "configure fewer services or VIPs"),
                    What::Backends => ("backends", "configure fewer backends"),
                    What::Peers => ("peers", "configure fewer peers"),
                    What::RingSlots => ("slots for picking backends", "configure fewer services or backends"),
                };
                write!(f, "the configuration needs {needed} {noun}, the packet path has {room}; {remedy}")
            }
            Self::Crowded { endpoints } => write!(
                f,
                "cannot place {endpoints} addresses and ports (of services, backends, peers and this host) in the endpoint \
                 table; configure fewer backends or remove unused addresses from the interfaces"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Checks that `needed` rows fit.
pub(super) const fn fits(what: What, needed: usize, room: usize) -> Result<(), Error> {
    if needed > room { Err(Error::Full { what, needed, room }) } else { Ok(()) }
}
