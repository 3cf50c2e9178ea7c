//! Relays driven at the machine's full speed: packets made in the kernel by live-frame test runs, from as many sources as one
//! likes, on any CPU. For benchmarks, and for tests of what shows only at speed.

pub mod account;
pub mod driver;
pub mod kernel_lru;
pub mod lists;
mod mapping;
pub mod packets;
pub mod relay;
pub mod sources;
pub mod stage;
pub mod two_cpus;

pub use account::Account;
pub use driver::Driver;
pub use packets::Packet;
pub use relay::Relay;
pub use sources::Order;
pub use stage::Stage;
pub use two_cpus::TwoCpus;

/// Where the VIP, the relays and the service's host are.
pub mod addresses {
    use std::net::Ipv4Addr;

    /// Of all services.
    pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    /// The relay driven.
    pub const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    /// The relay of the other tier.
    pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    /// The service's host.
    pub const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
}
