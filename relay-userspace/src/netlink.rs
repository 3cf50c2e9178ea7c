//! What the kernel says of links, addresses, routes and neighbours, in our own words. Decides nothing.
//!
//! The crates below change their interface every few months: no other file names them but `inspect/netlink.rs`, which
//! asks once, without a runtime, for commands that run and end.

use std::io;
use std::net::Ipv4Addr;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};

use crate::config::valid::AttachMode;
use crate::load::Present;
use crate::neighbours::{Entry, LinkFacts, OwnAddress, State, Way};

/// Bytes of the socket that receives events: a flush of a full neighbour table fits.
const EVENT_BUFFER: usize = 4 << 20;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or different.
    Link(LinkFacts),
    /// A link is gone.
    LinkGone(u32),
    /// Addresses, routes or rules are not what they were.
    Routing,
    /// A neighbour is new or different.
    Neighbour(Entry),
    /// A neighbour entry was removed.
    NeighbourGone {
        /// Interface it was on.
        ifindex: u32,
        /// Its address.
        address: Ipv4Addr,
    },
    /// Events were lost: everything has to be read again.
    Lost,
}

type Messages = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

/// A conversation with the kernel. Lives inside a tokio runtime.
pub struct Netlink {
    /// On a socket of its own, so that a flood of events cannot push out an answer.
    requests: Handle,
    events: Messages,
}

/// A question the kernel refused.
#[derive(Debug)]
pub struct Refused {
    attempted: &'static str,
    error: rtnetlink::Error,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}: {}", self.attempted, self.error)
    }
}

impl std::error::Error for Refused {}

fn refused(attempted: &'static str) -> impl Fn(rtnetlink::Error) -> Refused {
    move |error| Refused { attempted, error }
}

impl Netlink {
    /// Opens the sockets. Events that happen from now on are reported.
    pub fn open() -> io::Result<Self> {
        let (connection, requests, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { requests, events: subscribe()? })
    }

    /// Waits for the next event that may matter.
    pub async fn next_event(&mut self) -> Event {
        loop {
            let Some(message) = self.events.next().await else {
                tracing::warn!("the netlink socket for events closed; opening another");
                match subscribe() {
                    Ok(events) => self.events = events,
                    Err(error) => {
                        tracing::error!("cannot open a netlink socket: {error}");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
                return Event::Lost;
            };
            if let Some(event) = event(message) {
                return event;
            }
        }
    }

    /// Every link.
    pub async fn links(&self) -> Result<Vec<LinkFacts>, Refused> {
        let links: Vec<LinkMessage> =
            self.requests.link().get().execute().try_collect().await.map_err(refused("list the links"))?;
        Ok(links.iter().filter_map(link).collect())
    }

    /// Every IPv4 address of this host.
    pub async fn addresses(&self) -> Result<Vec<OwnAddress>, Refused> {
        let addresses: Vec<AddressMessage> = self
            .requests
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("list the addresses"))?;
        Ok(addresses.iter().filter_map(address).collect())
    }

    /// Every IPv4 neighbour.
    pub async fn neighbours(&self) -> Result<Vec<Entry>, Refused> {
        let neighbours: Vec<NeighbourMessage> = self
            .requests
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet)
            .execute()
            .try_collect()
            .await
            .map_err(refused("list the neighbours"))?;
        Ok(neighbours.iter().filter_map(neighbour).collect())
    }

    /// The way the kernel would send to an address; `None` when it has none that crosses a link.
    pub async fn route(&self, to: Ipv4Addr, from: Option<Ipv4Addr>) -> Option<Way> {
        let mut question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 32).build();
        if let Some(from) = from {
            question.header.source_prefix_length = 32;
            question.attributes.push(RouteAttribute::Source(RouteAddress::Inet(from)));
        }
        let answers = self.requests.route().get(question).execute();
        let answer = std::pin::pin!(answers).next().await?.ok()?;
        way(&answer, to)
    }

    /// Makes the kernel find out the link-layer address of a neighbour, as if it had a packet for it.
    ///
    /// Must not be used on a permanent entry, which would lose that state.
    pub async fn solicit(&self, ifindex: u32, address: Ipv4Addr) {
        let mut message = question(ifindex, address, NeighbourState::None);
        message.header.flags = NeighbourFlags::Use;
        self.tell(message, NLM_F_CREATE | NLM_F_REPLACE).await;
    }

    /// Makes the kernel ask a neighbour at once whether it is still there. Its entry stays valid meanwhile; without an
    /// answer it fails after three seconds.
    ///
    /// Must not be used on a permanent entry, which would lose that state.
    pub async fn probe(&self, ifindex: u32, address: Ipv4Addr) {
        self.tell(question(ifindex, address, NeighbourState::Probe), NLM_F_REPLACE).await;
    }

    /// A refusal is normal (the link is down, the entry just went) and mended by the next round.
    async fn tell(&self, message: NeighbourMessage, flags: u16) {
        let what = format!("{message:?}");
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let Ok(mut answers) = self.requests.clone().request(request) else { return };
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                tracing::debug!("the kernel refused {what}: {error}");
            }
        }
    }
}

fn subscribe() -> io::Result<Messages> {
    let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv4Rule,
    ])?;
    let socket: &rtnetlink::sys::TokioSocket = connection.socket_mut();
    grow(socket);
    tokio::spawn(connection);
    Ok(messages.map(|(message, _)| message).boxed())
}

/// Asks for a larger receive buffer, past the limit for ordinary users if we may. A small one works as well: lost
/// events are noticed.
fn grow(socket: &impl std::os::fd::AsRawFd) {
    let size = EVENT_BUFFER as libc::c_int;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the descriptor is open, the value is an int and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result == 0 {
            return;
        }
    }
}

fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Lost),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(message) => link(&message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) => {
            // A bridge reports with its own family that a port left; the link stays.
            (message.header.interface_family == AddressFamily::Unspec)
                .then_some(Event::LinkGone(message.header.index))
        }
        RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_)
        | RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(Event::Routing),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message).map(Event::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message)
            .map(|entry| Event::NeighbourGone { ifindex: entry.ifindex, address: entry.address }),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Option<LinkFacts> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut facts = LinkFacts {
        ifindex: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        programs: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name.clone_from(name),
            LinkAttribute::Address(mac) => facts.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::Xdp(attributes) => {
                facts.programs = attributes.iter().filter_map(program).collect();
            }
            _ => {}
        }
    }
    Some(facts)
}

fn program(attribute: &LinkXdp) -> Option<Present> {
    let (program_id, mode) = match attribute {
        LinkXdp::DrvProgId(id) => (*id, Some(AttachMode::Driver)),
        LinkXdp::SkbProgId(id) => (*id, Some(AttachMode::Generic)),
        LinkXdp::HwProgId(id) => (*id, None),
        _ => return None,
    };
    Some(Present { program_id, mode })
}

fn address(message: &AddressMessage) -> Option<OwnAddress> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    // IFA_LOCAL is ours; IFA_ADDRESS is the other end on a point-to-point link.
    let found = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(std::net::IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    let secondary = message.header.flags.contains(AddressHeaderFlags::Secondary);
    Some(OwnAddress {
        ifindex: message.header.index,
        address: found,
        primary: !secondary && message.header.scope == AddressScope::Universe,
    })
}

fn neighbour(message: &NeighbourMessage) -> Option<Entry> {
    if message.header.family != AddressFamily::Inet || message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(destination)) => {
                address = Some(*destination);
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = match message.header.state {
        NeighbourState::Reachable => State::Reachable,
        NeighbourState::Stale => State::Stale,
        NeighbourState::Delay => State::Delay,
        NeighbourState::Probe => State::Probe,
        NeighbourState::Permanent | NeighbourState::Noarp => State::Fixed,
        NeighbourState::Incomplete => State::Incomplete,
        NeighbourState::Failed => State::Failed,
        _ => State::Unknown,
    };
    Some(Entry { ifindex: message.header.ifindex, address: address?, mac, state })
}

fn way(answer: &RouteMessage, to: Ipv4Addr) -> Option<Way> {
    if answer.header.kind != RouteType::Unicast {
        return None;
    }
    let mut ifindex = None;
    let mut neighbour = to;
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => neighbour = *gateway,
            // An IPv6 gateway: its neighbour entry is in another table.
            RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    Some(Way { ifindex: ifindex?, neighbour })
}

fn question(ifindex: u32, address: Ipv4Addr, state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = ifindex;
    message.header.state = state;
    message.header.kind = RouteType::Unspec;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    message
}
