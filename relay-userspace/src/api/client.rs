//! The commands' side of the API.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::SUDO_USER;
use crate::config::defaults::STATE_DIRECTORY;
use crate::exit::{Exit, Failure};
use crate::who;

/// How long a command waits for an answer: longer than the controller takes to give up.
const PATIENCE: Duration = Duration::from_secs(15);
const SUFFIX: &str = ".sock";

/// Which relay's controller a command talks to.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Name of the relay; may be left out when only one runs
    #[arg(long, global = true, value_name = "NAME")]
    pub node: Option<String>,

    /// Directory of the relay's control socket: `state_directory` of its configuration
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DIRECTORY)]
    pub state_directory: PathBuf,
}

impl Selection {
    /// Finds the relay's socket.
    pub fn client(&self) -> Result<Client, Failure> {
        let node = match &self.node {
            Some(node) => node.clone(),
            None => self.only()?,
        };
        Ok(Client { socket: super::socket(&self.state_directory, &node), node })
    }

    fn only(&self) -> Result<String, Failure> {
        let directory = self.state_directory.display();
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                return not_running(format!("no controller of a relay runs: there is no {directory}"));
            }
            forbidden_hint(Failure::io(format!("look for sockets in {directory}"), &error))
        };
        let mut nodes = Vec::new();
        for entry in std::fs::read_dir(&self.state_directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            nodes.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).map(str::to_owned));
        }
        nodes.sort();
        match nodes.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(not_running(format!("no controller of a relay has its socket in {directory}"))),
            _ => {
                let message =
                    format!("{} relays have sockets in {directory}: {}", nodes.len(), nodes.join(", "));
                Err(Failure::new(Exit::Usage, message).hint("choose one with --node NAME"))
            }
        }
    }
}

/// A relay's controller, reached over its socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    node: String,
}

impl Client {
    /// Talks to the controller that listens at a path.
    #[must_use]
    pub fn new(socket: &Path, node: &str) -> Self {
        Self { socket: socket.to_owned(), node: node.to_owned() }
    }

    /// The relay's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Reads.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new())
    }

    /// Makes something so.
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot write the request: {error}")))?;
        self.call(Method::PUT, path, body.into())
    }

    /// Undoes something.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path, Bytes::new())
    }

    /// Reads lines for as long as they come and `each` wants more.
    pub fn lines(&self, path: &str, each: impl FnMut(&str) -> Result<bool, Failure>) -> Result<(), Failure> {
        self.lines_until(path, pending(), each)
    }

    /// The same until `end`, which is asked for inside a runtime.
    pub fn lines_until(
        &self,
        path: &str,
        end: impl Future<Output = ()>,
        mut each: impl FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let response = self.within(self.send(Method::GET, path, Bytes::new())).await?;
            if !response.status().is_success() {
                return Err(self.within(refused(response)).await);
            }
            let mut end = pin!(end);
            let mut body = response.into_body();
            let mut rest = Vec::new();
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = &mut end => None,
                };
                let Some(frame) = frame else { return Ok(()) };
                let Ok(data) = frame.map_err(|error| self.broken(&error))?.into_data() else { continue };
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if !each(String::from_utf8_lossy(&line[..end]).as_ref())? {
                        return Ok(());
                    }
                }
            }
        })
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        runtime()?.block_on(self.within(async {
            let response = self.send(method, path, body).await?;
            if !response.status().is_success() {
                return Err(refused(response).await);
            }
            let bytes = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("cannot understand the controller of {}: {error}", self.node);
                Failure::new(Exit::Failed, message).hint("use the xdp-relay that runs this node")
            })
        }))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        // It ends with the answer; what goes wrong is seen there.
        tokio::spawn(async move { drop(connection.await) });
        let mut request =
            hyper::Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if let Some(user) = who::sudo_user() {
            request = request.header(SUDO_USER, user);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot ask for {path}: {error}")))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    async fn within<T, F: Future<Output = T>>(&self, answer: F) -> T
    where
        T: LateAnswer,
    {
        timeout(PATIENCE, answer).await.unwrap_or_else(|_elapsed| {
            let message = format!("the controller of {} does not answer", self.node);
            T::late(
                Failure::new(Exit::TimedOut, message).hint("see its log; the data plane goes on without it"),
            )
        })
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                not_running(format!("no controller runs for node {}: nobody listens at {socket}", self.node))
            }
            _ => forbidden_hint(Failure::io(format!("connect to {socket}"), error)),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let message = format!("the connection to the controller of {} broke: {error}", self.node);
        Failure::new(Exit::NotRunning, message).hint("see its log, and whether it still runs")
    }
}

/// What a call that takes too long comes to.
trait LateAnswer {
    fn late(failure: Failure) -> Self;
}

impl<T> LateAnswer for Result<T, Failure> {
    fn late(failure: Failure) -> Self {
        Err(failure)
    }
}

impl LateAnswer for Failure {
    fn late(failure: Self) -> Self {
        failure
    }
}

fn not_running(message: String) -> Failure {
    Failure::new(Exit::NotRunning, message).hint(
        "start it with `xdp-relay run --config FILE`, or name it with --node and --state-directory; what was blocked \
         stays blocked without it",
    )
}

fn forbidden_hint(failure: Failure) -> Failure {
    if failure.exit == Exit::Permission { failure.hint("use root, as with `sudo`") } else { failure }
}

/// What the controller said instead of an answer.
async fn refused(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    serde_json::from_slice(&body)
        .ok()
        .as_ref()
        .and_then(Failure::from_json)
        .unwrap_or_else(|| Failure::new(Exit::Failed, format!("the controller answered {status}")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start an event loop", &error))
}
