//! The published topology with everything that runs in it: the relays, the web server, the name server, four captures.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::capture::{Capture, Captured};
use relay_tests::relay::Relay;
use relay_tests::relay_config::{RelayConfig, Service};
use relay_tests::topology::addresses::{BACKEND, VIP};
use relay_tests::topology::plan::{CLIENT_DEVICE, SERVICE_DEVICE};
use relay_tests::topology::{Namespace, Options, Place, Topology, mount_bpffs};
use relay_tests::traffic::udp::{Echo, ask};
use relay_tests::waiting::wait_until;
use relay_tests::web_service::{HTTPS_PORT, WHO_AM_I_PORT, WebService};

use crate::findings::Findings;
use crate::interrupt;
use crate::resolver::Resolver;
use crate::standing;

pub(crate) const DIAGRAM: &str = "
  client ----(1)---- ingress relay ====(2)====(3)==== egress relay ----(4)---- service
  198.51.100.2       192.168.100.10                   10.0.0.2                 192.168.100.51
  curl, ping         VIP; 10.0.0.1       IPIP                                  nginx, TLS, UDP
";

/// The client's ports of the services that answer over UDP.
pub(crate) const ECHO: u16 = 7000;
pub(crate) const WHO_AM_I: u16 = 5300;

/// The four points of the way, in the direction from the client to the service.
pub(crate) const POINTS: [&str; 4] = ["1 client", "2 tunnel, ingress", "3 tunnel, egress", "4 service"];

const WARM_UP_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) ingress: Relay,
    pub(crate) egress: Relay,
    pub(crate) web: WebService,
    resolver: Resolver,
    points: Vec<Capture>,
    // Last: it is removed when everything in it has ended.
    topology: Topology,
}

impl Stage {
    pub(crate) fn build(name: &str) -> Result<Self> {
        mount_bpffs()?;
        let topology = Topology::build_named(name, Options { watched_tunnel: true, ..Options::default() })?;
        // Before the relays: the client's link must be watched from the first frame on.
        let points = capture_points(&topology)?;
        let resolver = Resolver::start(topology.at(Place::Client)?, VIP, topology.directory())?;
        let web = WebService::start(topology.at(Place::Service)?, BACKEND, topology.directory())?;
        let relay = |place| {
            interrupt::check()?;
            let mut relay = Relay::new(&topology, RelayConfig::of(&topology, place, &services())?)?;
            relay.start().with_context(|| format!("start the {} relay", place.label()))?;
            Ok::<_, anyhow::Error>(relay)
        };
        let egress = relay(Place::Egress)?;
        let ingress = relay(Place::Ingress)?;
        interrupt::check()?;
        let stage = Self { ingress, egress, web, resolver, points, topology };
        stage.warm_up()?;
        Ok(stage)
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(crate) fn client(&self) -> Result<&Namespace> {
        self.topology.at(Place::Client)
    }

    pub(crate) fn start_echo(&self) -> Result<Echo> {
        Echo::start(self.topology.at(Place::Service)?, SocketAddrV4::new(BACKEND, ECHO))
    }

    /// The frames of the four points, in the order of [`POINTS`].
    pub(crate) fn end_captures(&mut self) -> Result<Vec<Captured>> {
        std::mem::take(&mut self.points).into_iter().map(Capture::finish).collect()
    }

    /// Both controllers still run, and their programs run in native mode.
    pub(crate) fn check_relays(&mut self, findings: &mut Findings) {
        findings.native_xdp = true;
        for relay in [&mut self.ingress, &mut self.egress] {
            if let Err(error) = relay.must_be_native() {
                findings.native_xdp = false;
                findings.note(&error);
            }
            if let Err(error) = relay.must_run() {
                findings.note(&error);
            }
        }
    }

    /// Leaves everything running; `standing::remove` removes it.
    pub(crate) fn leave_up(mut self) {
        self.ingress.leave_running();
        self.egress.leave_running();
        self.web.into_process().leave_running();
        self.resolver.leave_running();
        self.topology.keep();
    }

    /// Stops everything in order and removes it.
    pub(crate) fn remove(mut self) -> Result<()> {
        for relay in [&mut self.ingress, &mut self.egress] {
            // One that ended before its time was reported already.
            if relay.must_run().is_ok() {
                relay.unload()?;
                ensure!(!relay.is_pinned(), "`unload` left pins of {}", relay.node());
            }
        }
        let name = self.topology.name().to_owned();
        drop(self);
        standing::remove(&name)?;
        Ok(())
    }

    /// Waits until a packet goes to the service and back: every neighbour is known then.
    fn warm_up(&self) -> Result<()> {
        let echo = self.start_echo()?;
        let (client, target) = (self.client()?, SocketAddrV4::new(VIP, ECHO));
        let came = wait_until("the first answer through both relays", WARM_UP_PATIENCE, || {
            interrupt::check()?;
            Ok(ask(client, target, b"warm-up packet", Duration::from_millis(200))?.is_some())
        });
        drop(echo.finish()?);
        came.with_context(|| {
            format!("the relays wrote:\n{}\n{}", self.ingress.log().trim_end(), self.egress.log().trim_end())
        })
    }
}

fn capture_points(topology: &Topology) -> Result<Vec<Capture>> {
    let switch = topology.at(Place::Switch)?;
    let port = |place| topology.switch_port(place);
    let places = [
        (topology.at(Place::Client)?, CLIENT_DEVICE.to_owned()),
        (switch, port(Place::Ingress)?),
        (switch, port(Place::Egress)?),
        (topology.at(Place::Service)?, SERVICE_DEVICE.to_owned()),
    ];
    let captures = POINTS.iter().zip(places);
    captures.map(|(point, (namespace, device))| Capture::start(point, namespace, &device)).collect()
}

/// What the relays carry: one service keeps its port, one is listening on another one than clients ask for.
fn services() -> Vec<Service> {
    vec![
        Service::new("web", "tcp", HTTPS_PORT, HTTPS_PORT),
        Service::new("echo", "udp", ECHO, ECHO),
        Service::new("who", "udp", WHO_AM_I, WHO_AM_I_PORT),
    ]
}

/// Reads the address out of `address:port`.
pub(crate) fn address_of(text: &str) -> Option<Ipv4Addr> {
    text.split_once(':')?.0.parse().ok()
}
