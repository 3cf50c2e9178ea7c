//! Interfaces, addresses, neighbours and routes, asked for by rtnetlink without an event loop.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as KernelState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is a link, as far as the driver tells.
    pub carrier: bool,
    /// What the kernel calls the kind of a virtual interface: `veth`, `bond`, `vlan`.
    pub kind: Option<String>,
    /// For a veth: whether its other end is in another network namespace.
    pub peer_elsewhere: bool,
    /// Index of the other end of a veth, or of the interface a VLAN is on.
    pub lower: Option<u32>,
    /// The XDP program on it.
    pub xdp: Option<Xdp>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// Where it runs.
    pub mode: XdpMode,
    /// Its number.
    pub program_id: u32,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Driver,
    /// In the kernel's generic hook.
    Generic,
    /// In the network card.
    Hardware,
    /// In more than one of them.
    Several,
}

impl XdpMode {
    /// The word in the configuration and in output.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Generic => "generic",
            Self::Hardware => "hardware",
            Self::Several => "several",
        }
    }
}

/// An IPv4 address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface that has it.
    pub ifindex: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix_length: u8,
}

/// An entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface it is on.
    pub ifindex: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// What is known of it.
    pub state: NeighbourState,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Its link-layer address is known.
    Known,
    /// It is being asked for.
    Asked,
    /// It did not answer.
    Failed,
}

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What becomes of a packet.
    pub kind: RouteKind,
    /// The interface it leaves by.
    pub ifindex: u32,
    /// The next hop, unless the address is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// A limit of the route itself.
    pub mtu: Option<u32>,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it on.
    Unicast,
    /// Takes it in: the address is this host's.
    Local,
    /// Refuses it, or nothing of the kind.
    Other,
}

/// A socket to ask the kernel by.
pub struct Kernel {
    socket: Socket,
    sequence: u32,
}

impl Kernel {
    /// Opens a socket in the network namespace of this process.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All interfaces.
    pub fn interfaces(&mut self) -> io::Result<Vec<Interface>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(self
            .ask(request, NLM_F_DUMP)?
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(interface(&link)),
                _ => None,
            })
            .collect())
    }

    /// All IPv4 addresses.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet;
        Ok(self
            .ask(RouteNetlinkMessage::GetAddress(request), NLM_F_DUMP)?
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => address(&message),
                _ => None,
            })
            .collect())
    }

    /// All IPv4 neighbours.
    pub fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Inet;
        Ok(self
            .ask(RouteNetlinkMessage::GetNeighbour(request), NLM_F_DUMP)?
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message),
                _ => None,
            })
            .collect())
    }

    /// The way to an address; `None` when there is none.
    pub fn route(&mut self, to: Ipv4Addr) -> io::Result<Option<Route>> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        request.header.destination_prefix_length = 32;
        request.header.flags = RouteFlags::LookupTable;
        request.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(to)));
        match self.ask(RouteNetlinkMessage::GetRoute(request), 0) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => Some(route(message)),
                _ => None,
            })),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the kernel ask for a neighbour's link-layer address. Needs CAP_NET_ADMIN.
    pub fn resolve(&mut self, ifindex: u32, address: Ipv4Addr) -> io::Result<()> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Inet;
        request.header.ifindex = ifindex;
        request.header.flags = NeighbourFlags::Use;
        request.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        let flags = NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK;
        self.ask(RouteNetlinkMessage::NewNeighbour(request), flags).map(drop)
    }

    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let answer =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = (answer.header.length as usize).next_multiple_of(4).clamp(1, rest.len());
                rest = &rest[length..];
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
            if flags & NLM_F_DUMP != NLM_F_DUMP {
                return Ok(answers);
            }
        }
    }
}

fn interface(message: &LinkMessage) -> Interface {
    let flags = message.header.flags;
    let mut found = Interface {
        ifindex: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..Interface::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Link(index) => found.lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => found.peer_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                found.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::Xdp(parts) => found.xdp = xdp(parts),
            _ => {}
        }
    }
    found
}

fn xdp(parts: &[LinkXdp]) -> Option<Xdp> {
    let mode = parts.iter().find_map(|part| match part {
        LinkXdp::Attached(XdpAttached::Driver) => Some(XdpMode::Driver),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpMode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(XdpMode::Hardware),
        LinkXdp::Attached(XdpAttached::Multiple) => Some(XdpMode::Several),
        _ => None,
    })?;
    let program = |wanted: fn(&LinkXdp) -> Option<u32>| parts.iter().find_map(wanted);
    // With programs in several places the kernel gives a number for each of them only.
    let program_id = program(|part| if let LinkXdp::ProgId(id) = part { Some(*id) } else { None })
        .or_else(|| program(|part| if let LinkXdp::DrvProgId(id) = part { Some(*id) } else { None }))
        .unwrap_or(0);
    Some(Xdp { mode, program_id })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let of = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // On a point-to-point link the local address is not the one the kernel calls the address.
    let found = of(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
    .or_else(|| {
        of(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    match found? {
        IpAddr::V4(address) => {
            Some(Address { ifindex: message.header.index, address, prefix_length: message.header.prefix_len })
        }
        IpAddr::V6(_) => None,
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    let state = match message.header.state {
        KernelState::Incomplete | KernelState::None => NeighbourState::Asked,
        KernelState::Failed => NeighbourState::Failed,
        _ => NeighbourState::Known,
    };
    Some(Neighbour { ifindex: message.header.ifindex, address, state })
}

fn route(message: &RouteMessage) -> Route {
    let kind = match message.header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        _ => RouteKind::Other,
    };
    let mut found = Route { kind, ifindex: 0, gateway: None, mtu: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => found.ifindex = *ifindex,
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => found.gateway = Some(*gateway),
            RouteAttribute::Metrics(metrics) => {
                found.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_seen_without_privileges() {
        let mut kernel = Kernel::open().unwrap();
        let interfaces = kernel.interfaces().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert_eq!((loopback.ifindex, loopback.xdp), (1, None));
        if loopback.up {
            let addresses = kernel.addresses().unwrap();
            assert!(addresses.contains(&Address {
                ifindex: 1,
                address: Ipv4Addr::LOCALHOST,
                prefix_length: 8
            }));
            let route = kernel.route(Ipv4Addr::LOCALHOST).unwrap().unwrap();
            assert_eq!((route.kind, route.ifindex), (RouteKind::Local, 1));
        }
        kernel.neighbours().unwrap();
    }

    #[test]
    fn programs_in_driver_and_generic_hook_are_told_apart() {
        let of = |attached| xdp(&[LinkXdp::Attached(attached), LinkXdp::ProgId(7)]).map(|xdp| xdp.mode);
        assert_eq!(of(XdpAttached::None), None);
        assert_eq!(of(XdpAttached::Driver), Some(XdpMode::Driver));
        assert_eq!(of(XdpAttached::SocketBuffer), Some(XdpMode::Generic));
        assert_eq!(xdp(&[]), None);
    }
}
