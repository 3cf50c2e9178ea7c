use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::sync::oneshot;

use super::client::Client;
use super::*;
use crate::actions::{Done, Order, Verdict, What};
use crate::events::Journal;
use crate::exit::{Exit, Failure};

/// A server whose loop knows nothing but to repeat what was asked.
struct Running {
    directory: tempfile::TempDir,
    journal: Journal,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Vec<Order>>>,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = socket(directory.path(), "a");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let journal = Journal::new("a");
        let served = journal.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(&path).unwrap();
                let (requests, mut asked) = Requests::channel();
                let _task = tokio::spawn(server.serve(router(requests, served)));
                ready.send(()).unwrap();
                let mut orders = Vec::new();
                let mut stopped = std::pin::pin!(stopped);
                loop {
                    tokio::select! {
                        _ = &mut stopped => return orders,
                        Some(request) = asked.recv() => orders.extend(repeat(request)),
                    }
                }
            })
        });
        is_ready.recv().unwrap();
        Self { directory, journal, stop: Some(stop), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        socket(self.directory.path(), "a")
    }

    fn client(&self) -> Client {
        Client::new(&self.socket(), "a")
    }

    fn finish(mut self) -> Vec<Order> {
        self.stop.take().unwrap().send(()).unwrap();
        let orders = self.thread.take().unwrap().join().unwrap();
        assert!(!self.socket().exists(), "the socket is still there");
        orders
    }
}

fn repeat(request: Request) -> Option<Order> {
    match request {
        Request::Node(to) => drop(to.send(Ok(view::Node {
            schema_version: SCHEMA_VERSION,
            node: "a".into(),
            role: "ingress".into(),
            version: "0".into(),
            generation: 7,
            services: Vec::new(),
        }))),
        Request::Rules(_, _, to) => drop(to.send(Err(Failure::new(Exit::Failed, "no lists").hint("none")))),
        Request::Bans(to) => {
            drop(to.send(Ok(view::Bans { schema_version: 1, node: "a".into(), bans: vec![] })));
        }
        // Nobody answers.
        Request::Limits(_, to) => drop(to),
        Request::Do(order, to) => {
            let done = Done {
                schema_version: 1,
                action: order.what.action().into(),
                target: order.what.target(),
                result: "added".into(),
                expires: None,
                note: None,
            };
            drop(to.send(Ok(done)));
            return Some(order);
        }
    }
    None
}

fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may have seen enough and gone.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_asked_reaches_the_loop_with_who_asks_and_why() {
    let running = Running::start();
    let client = running.client();
    let node: view::Node = client.get("/v1/node").unwrap();
    assert_eq!(node.generation, 7);
    let body = serde_json::json!({ "reason": "floods", "duration_seconds": 600 });
    let done: Done = client.put("/v1/blocks/192.0.2.0/24", &body).unwrap();
    assert_eq!((done.action.as_str(), done.target.as_str()), ("block.add", "192.0.2.0/24"));
    client.delete::<Done>("/v1/allows/192.0.2.7/32?reason=was%20a%20test").unwrap();
    client.delete::<Done>("/v1/bans/192.0.2.7").unwrap();
    let limits =
        serde_json::json!({ "limits": { "client_packets": 5, "burst": "1s" }, "duration_seconds": 9 });
    client.put::<Done>("/v1/limits/web", &limits).unwrap();
    client.delete::<Done>("/v1/limits/web?limits=burst,client_bytes").unwrap();
    let orders = running.finish();
    assert_eq!(orders.len(), 5);
    // SAFETY: geteuid has no preconditions and cannot fail.
    assert!(orders.iter().all(|order| order.who.uid == unsafe { libc::geteuid() }));
    let What::Add(Verdict::Block, _, Some(lasts)) = orders[0].what else { panic!("{:?}", orders[0]) };
    assert_eq!((lasts, orders[0].reason.as_deref()), (Duration::from_secs(600), Some("floods")));
    assert_eq!(orders[1].reason.as_deref(), Some("was a test"));
    let What::ResetLimits(Some(_), keys) = &orders[4].what else { panic!("{:?}", orders[4]) };
    assert_eq!(keys.len(), 2);
}

#[test]
fn refusals_are_the_same_failures_at_the_other_end() {
    let running = Running::start();
    let client = running.client();
    let refused = |result: Result<serde_json::Value, Failure>| result.unwrap_err();
    let failed = refused(client.get("/v1/blocks"));
    assert_eq!((failed.exit, failed.hint.as_deref()), (Exit::Failed, Some("none")));
    let bits = refused(client.put("/v1/blocks/192.0.2.7/24", &serde_json::json!({})));
    assert_eq!(bits.exit, Exit::Usage);
    assert!(bits.hint.unwrap().contains("did you mean 192.0.2.0/24"));
    assert_eq!(refused(client.get("/v1/nothing")).exit, Exit::NotFound);
    assert_eq!(refused(client.get("/v1/limits")).exit, Exit::NotRunning);
    let wrong = [
        client.delete("/v1/node"),
        client.put("/v1/blocks/192.0.2.0/24", &serde_json::json!({ "resaon": "x" })),
        client.put("/v1/blocks/192.0.2.0/24", &serde_json::json!({ "duration_seconds": -1 })),
        client.put("/v1/blocks/192.0.2.0/24", &"x".repeat(100_000)),
        client
            .put("/v1/limits/web", &serde_json::json!({ "limits": { "clients": 5 }, "duration_seconds": 9 })),
        client.delete("/v1/limits?limits=client_packet"),
        client.get("/v1/events?follow=maybe"),
    ];
    for (index, result) in wrong.into_iter().enumerate() {
        assert_eq!(refused(result).exit, Exit::Usage, "{index}");
    }
    assert!(running.finish().is_empty());
}

#[test]
fn the_socket_is_for_its_owner_and_a_dead_one_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket(directory.path(), "a");
    drop(UnixListener::bind(&path).unwrap());
    let gone = Client::new(&path, "a").get::<view::Node>("/v1/node").unwrap_err();
    assert_eq!(gone.exit, Exit::NotRunning);
    assert!(gone.hint.unwrap().contains("xdp-relay run"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let server = Server::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(server);
    assert!(!path.exists());
    assert_eq!(Client::new(&path, "a").get::<view::Node>("/v1/node").unwrap_err().exit, Exit::NotRunning);
    std::fs::write(&path, "not a socket").unwrap();
    assert!(Server::bind(&path).unwrap_err().message.contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
}

#[test]
fn followers_get_events_as_they_come() {
    let running = Running::start();
    let tell =
        |journal: &Journal, number: usize| journal.tell("test", &serde_json::json!({ "number": number }));
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].as_u64();
    tell(&running.journal, 0);
    let mut seen = Vec::new();
    running
        .client()
        .lines("/v1/events?follow=true", |line| {
            seen.push(number(line));
            tell(&running.journal, seen.len());
            Ok(seen.len() < 5)
        })
        .unwrap();
    assert_eq!(seen, (0..5).map(Some).collect::<Vec<_>>());
    let mut latest = Vec::new();
    let mut take = |line: &str| {
        latest.push(number(line));
        Ok(true)
    };
    running.client().lines("/v1/events?limit=2", &mut take).unwrap();
    running.client().lines("/v1/events?reasons=blocked,land&client=192.0.2.0/24", &mut take).unwrap();
    assert_eq!(latest, [Some(4), Some(5)]);
    let unknown = running.client().lines("/v1/events?reasons=blokced", |_| Ok(true)).unwrap_err();
    assert_eq!(unknown.exit, Exit::Usage);
    running.finish();
}

#[test]
fn too_many_connections_are_told_to_come_again_and_room_comes_back() {
    let running = Running::start();
    let path = running.socket();
    let idle: Vec<UnixStream> = (0..32).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = running.client().get::<view::Node>("/v1/node").unwrap_err();
    assert_eq!(refused.exit, Exit::TimedOut, "{refused}");
    // Those that say nothing are not waited for long.
    while running.client().get::<view::Node>("/v1/node").is_err() {
        assert!(Instant::now() < deadline, "no room again");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(idle);
    running.finish();
}

#[test]
fn a_thousand_bad_requests_leave_it_serving() {
    let running = Running::start();
    let path = running.socket();
    let seeds: [&[u8]; 6] = [
        b"GET /v1/node HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PUT /v1/blocks/192.0.2.0/24 HTTP/1.1\r\nhost: a\r\ncontent-length: 15\r\n\r\n{\"reason\": \"x\"}",
        b"DELETE /v1/bans/192.0.2.7 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PUT /v1/limits/web HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nf\r\n{\"limits\": null}\r\n0\r\n\r\n",
        b"GET /v1/events?follow=false HTTP/1.1\r\nhost: a\r\nx-sudo-user: alice\r\n\r\n",
        b"GET /v1/limits?service=web HTTP/1.0\r\n\r\n",
    ];
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for round in 0..1000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..1 + random.next_u32() % 8 {
            let at = random.next_u32() as usize % bytes.len().max(1);
            if bytes.is_empty() {
                break;
            }
            match random.next_u32() % 4 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes.insert(at, random.next_u32() as u8),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let answer = raw(&path, &bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{round}: {answer}");
    }
    let long = [b"GET /".as_slice(), &[b'a'; 100_000]].concat();
    assert!(!raw(&path, &long).starts_with("HTTP/1.1 200"));
    assert!(running.client().get::<view::Node>("/v1/node").is_ok());
    running.finish();
}
