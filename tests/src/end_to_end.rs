//! A whole system under test: topology, both relays, the service, the client-side capture; and the checks that every
//! end-to-end test ends with.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::capture::{Capture, Captured};
use crate::conservation::Balance;
use crate::hiding::{HidingReport, scan};
use crate::process::output_of;
use crate::relay::Relay;
use crate::relay_config::{RelayConfig, Service, Translate};
use crate::topology::addresses::{BACKEND, CLIENT, HIDDEN, MORE_CLIENTS, VIP};
use crate::topology::plan::{ATTACKER_DEVICE, CLIENT_DEVICE, SERVICE_DEVICE};
use crate::topology::{Namespace, Options, Place, Topology, mount_bpffs};
use crate::traffic::fetch::Browser;
use crate::traffic::flood::{Flood, Pour};
use crate::traffic::raw::Wire;
use crate::traffic::udp::{Echo, ask};
use crate::waiting::wait_until;
use crate::web_service::{HTTPS_PORT, WHO_AM_I_PORT, WebService};

/// The client's ports of the services of a test.
pub const WEB: u16 = HTTPS_PORT;
pub const ECHO: u16 = 7000;
pub const WHO_AM_I: u16 = 5300;

const WARM_UP_PATIENCE: Duration = Duration::from_secs(15);
const FETCH_LIMIT: Duration = Duration::from_secs(120);

/// What to set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub options: Options,
    pub translate: Translate,
    /// Runs nginx; a test of bare packets can do without.
    pub web: bool,
    pub ingress_extra: String,
    pub egress_extra: String,
    /// What the ingress relay asks of clients, as [`RelayConfig::ask`] takes it: service, table, keys.
    pub asks: Vec<(Option<&'static str>, &'static str, String)>,
    /// Places asked for in the client table.
    pub client_entries: u32,
    /// Services beside those of every test.
    pub more_services: Vec<Service>,
    /// A fixed name, for a system that outlives this process.
    pub name: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: Options::default(),
            translate: Translate::Ingress,
            web: false,
            ingress_extra: String::new(),
            egress_extra: String::new(),
            asks: Vec::new(),
            client_entries: 1024,
            more_services: Vec::new(),
            name: None,
        }
    }
}

/// The system under test. [`EndToEnd::finish`] must be called: it is the test.
#[derive(Debug)]
pub struct EndToEnd {
    pub ingress: Relay,
    pub egress: Relay,
    /// Set by a test in which the client forges packets with hidden addresses: what it sends is then not held against the
    /// relay, and its checksums may be wrong. What it receives always is.
    pub client_forges: bool,
    /// Set by a test that takes links down or overloads them: packets may be lost after the verdict, if they are counted.
    pub may_lose: bool,
    web: Option<WebService>,
    client_capture: Capture,
    client_address_of_service: SocketAddrV4,
    // Last: it is removed when everything in it has ended.
    topology: Topology,
}

/// What the checks at the end found.
#[derive(Debug)]
pub struct Verdict {
    pub hiding: HidingReport,
    pub ingress: Balance,
    pub egress: Balance,
    pub client_capture: Captured,
}

impl EndToEnd {
    pub fn start(setup: Setup) -> Result<Self> {
        mount_bpffs()?;
        let mut options = setup.options.clone();
        options.service_holds_vip = setup.translate == Translate::None;
        let topology = match &setup.name {
            Some(name) => Topology::build_named(name, options)?,
            None => Topology::build(options)?,
        };
        let client_capture = Capture::start("client side", topology.at(Place::Client)?, CLIENT_DEVICE)?;
        let web = if setup.web { Some(start_web(&topology, setup.translate)?) } else { None };
        let services = services(&setup);
        let relay = |place, extra: &str| {
            let mut config = RelayConfig::of(&topology, place, &services)?;
            config.extra = extra.to_owned();
            config.client_entries = setup.client_entries;
            for (service, table, keys) in &setup.asks {
                config.ask(*service, table, keys);
            }
            let mut relay = Relay::new(&topology, config)?;
            relay.start().with_context(|| format!("start the {} relay", place.label()))?;
            Ok::<_, anyhow::Error>(relay)
        };
        let egress = relay(Place::Egress, &setup.egress_extra)?;
        let ingress = relay(Place::Ingress, &setup.ingress_extra)?;
        let system = Self {
            ingress,
            egress,
            client_forges: false,
            may_lose: false,
            web,
            client_capture,
            client_address_of_service: SocketAddrV4::new(VIP, ECHO),
            topology,
        };
        system.warm_up()?;
        Ok(system)
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    pub fn client(&self) -> Result<&Namespace> {
        self.topology.at(Place::Client)
    }

    pub fn service(&self) -> Result<&Namespace> {
        self.topology.at(Place::Service)
    }

    pub fn web(&self) -> Result<&WebService> {
        self.web.as_ref().context("this test runs no web service; set `web` in its set-up")
    }

    /// Where the client-side frames of the whole test are.
    pub fn client_capture(&self) -> &Capture {
        &self.client_capture
    }

    /// Another capture, on the service host.
    pub fn capture_service(&self) -> Result<Capture> {
        Capture::start("service side", self.service()?, SERVICE_DEVICE)
    }

    /// A capture of the tunnel, if a switch is on it.
    pub fn capture_tunnel(&self) -> Result<Capture> {
        let port = self.topology.switch_port(Place::Egress)?;
        Capture::start("tunnel", self.topology.at(Place::Switch)?, &port)
    }

    /// Makes the client so many clients more, each with an address of its own: [`MORE_CLIENTS`] plus 1 and so on.
    pub fn add_clients(&self, count: u8) -> Result<Vec<Ipv4Addr>> {
        let address = |number: u8| Ipv4Addr::from(u32::from(MORE_CLIENTS) + u32::from(number));
        let all: Vec<Ipv4Addr> = (1..=count).map(address).collect();
        let lines: String =
            all.iter().map(|address| format!("address add {address}/32 dev {CLIENT_DEVICE}\n")).collect();
        let batch = self.topology.directory().join("more-clients");
        std::fs::write(&batch, lines).with_context(|| format!("write {}", batch.display()))?;
        output_of(self.client()?.command("ip").arg("-batch").arg(&batch))?;
        let network = format!("{MORE_CLIENTS}/24");
        self.topology.at(Place::Ingress)?.ip(&["route", "add", &network, "via", &CLIENT.to_string()])?;
        Ok(all)
    }

    /// An echo at the service for the client's [`Self::echo_target`].
    pub fn start_echo(&self) -> Result<Echo> {
        Echo::start(self.service()?, SocketAddrV4::new(self.service_address(), ECHO))
    }

    pub fn echo_target(&self) -> SocketAddrV4 {
        self.client_address_of_service
    }

    /// The address the service's sockets have.
    pub fn service_address(&self) -> Ipv4Addr {
        if self.topology.options().service_holds_vip { VIP } else { BACKEND }
    }

    /// A way to send forged packets from the client to its gateway.
    pub fn client_wire(&self) -> Result<Wire> {
        self.wire(Place::Client, CLIENT_DEVICE)
    }

    /// A way to send forged packets from the attacker to its gateway.
    pub fn attacker_wire(&self) -> Result<Wire> {
        self.wire(Place::Attacker, ATTACKER_DEVICE)
    }

    /// Floods a service from the attacker.
    pub fn flood(&self, pour: Pour) -> Result<Flood> {
        let attacker = self.topology.at(Place::Attacker)?;
        Flood::start(attacker, ATTACKER_DEVICE, self.gateway(Place::Attacker)?, pour)
    }

    /// A way to send forged packets from the service host to its gateway.
    pub fn service_wire(&self) -> Result<Wire> {
        self.wire(Place::Service, SERVICE_DEVICE)
    }

    fn wire(&self, place: Place, device: &str) -> Result<Wire> {
        Wire::open(self.topology.at(place)?, device, self.gateway(place)?)
    }

    fn gateway(&self, place: Place) -> Result<Ipv4Addr> {
        let default = format!("{} has no default route", place.label());
        let routes = self.topology.plan().routes.iter().filter(|route| route.place == place);
        let gateway = routes.filter_map(|route| route.text.strip_prefix("default via ")).next();
        gateway.context(default)?.parse().context("read a gateway's address")
    }

    /// Asks the service as whom it sees the client.
    pub fn who_am_i(&self, patience: Duration) -> Result<Option<String>> {
        let answer =
            ask(self.client()?, SocketAddrV4::new(VIP, who_am_i_port(&self.topology)), b"?", patience)?;
        Ok(answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Calls `work` with a client that fetches from the VIP.
    pub fn browse<T>(&self, work: impl FnOnce(&Browser<'_>, &WebService) -> Result<T>) -> Result<T> {
        let web = self.web()?;
        let authority = web.authority();
        let target = SocketAddrV4::new(VIP, WEB);
        let browser =
            Browser { client: self.client()?, target, authority: &authority, limit: FETCH_LIMIT, from: None };
        work(&browser, web)
    }

    /// The checks that end every test; then everything is unloaded and must be gone.
    pub fn finish(self) -> Result<Verdict> {
        let (mut ingress, mut egress) = (self.ingress, self.egress);
        ingress.must_run()?;
        egress.must_run()?;
        let mut balances = Vec::new();
        for relay in [&ingress, &egress] {
            relay.must_be_native()?;
            balances.push(relay.balance()?);
        }
        let client_capture = self.client_capture.finish()?;
        let hiding = scan(&client_capture.frames, &HIDDEN, self.client_forges);
        keep_capture_if_asked(&client_capture)?;
        hiding.must_be_clean()?;
        client_capture.must_be_complete()?;
        client_capture.must_have_right_checksums(self.client_forges)?;
        for balance in &balances {
            balance.must_hold()?;
            if !self.may_lose {
                balance.must_be_lossless()?;
            }
        }
        for relay in [&mut ingress, &mut egress] {
            relay.unload()?;
            if relay.is_pinned() {
                bail!("`unload` left pins of {}", relay.node());
            }
        }
        let [ingress, egress] = <[Balance; 2]>::try_from(balances)
            .map_err(|found| anyhow::anyhow!("{} balances for two relays", found.len()))?;
        drop(self.web);
        drop(self.topology);
        Ok(Verdict { hiding, ingress, egress, client_capture })
    }

    /// Leaves everything standing; `remove_named` with the name of the set-up removes it.
    pub fn leave_up(mut self) {
        self.ingress.leave_running();
        self.egress.leave_running();
        if let Some(web) = self.web.take() {
            web.into_process().leave_running();
        }
        self.topology.keep();
    }

    /// Waits until a packet goes to the service and back: every neighbour is known then.
    fn warm_up(&self) -> Result<()> {
        let echo = self.start_echo()?;
        let client = self.client()?;
        let mut tries = 0;
        let came = wait_until("the first answer through both relays", WARM_UP_PATIENCE, || {
            tries += 1;
            Ok(ask(client, self.echo_target(), b"warm-up packet", Duration::from_millis(200))?.is_some())
        });
        drop(echo.finish()?);
        came.with_context(|| {
            let counters = [&self.ingress, &self.egress].map(|relay| {
                relay.counters().map_or_else(|error| error.to_string(), |counters| format!("{counters:?}"))
            });
            format!("{tries} tries; {}\n{}\n{}", counters.join("\n"), self.ingress.log(), self.egress.log())
        })
    }
}

/// The services of a test: one a kind, one of them with another port behind it.
fn services(setup: &Setup) -> Vec<Service> {
    let mut services = vec![
        Service::new("web", "tcp", WEB, HTTPS_PORT),
        Service::new("echo", "udp", ECHO, ECHO),
        Service::new("who", "udp", WHO_AM_I, WHO_AM_I_PORT),
    ];
    services.extend(setup.more_services.iter().cloned());
    if setup.translate == Translate::None {
        for service in &mut services {
            service.translate = Translate::None;
            service.port = service.backend_port;
        }
    }
    services
}

fn who_am_i_port(topology: &Topology) -> u16 {
    if topology.options().service_holds_vip { WHO_AM_I_PORT } else { WHO_AM_I }
}

fn start_web(topology: &Topology, translate: Translate) -> Result<WebService> {
    let address = match translate {
        Translate::Ingress => BACKEND,
        Translate::None => VIP,
    };
    WebService::start(topology.at(Place::Service)?, address, topology.directory())
}

/// `RELAY_KEEP_CAPTURES=<directory>` keeps the client-side capture of each test, for wireshark.
fn keep_capture_if_asked(capture: &Captured) -> Result<()> {
    let Some(directory) = std::env::var_os("RELAY_KEEP_CAPTURES") else { return Ok(()) };
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("capture").replace("::", "_");
    capture.write_pcap(&PathBuf::from(directory).join(format!("{name}.pcap")))
}
