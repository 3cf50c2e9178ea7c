//! The host's network state at one moment, for commands that run and end: interfaces, addresses, routes, neighbours,
//! offloads. Asks the kernel through sockets, never through /sys, which may show another network namespace.

mod echo;
mod ethtool;
mod genetlink;
mod netlink;

pub use echo::{SMALLEST, echo};
pub use ethtool::{Offloads, offloads};
pub use genetlink::{XdpFeatures, xdp_features};
pub use netlink::{Address, Interface, Kernel, Neighbour, NeighbourState, Route, RouteKind, Xdp, XdpMode};
