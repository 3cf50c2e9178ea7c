//! The socket: who may connect, how many, and for how long.

use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::peer::Peer;
use super::refusal::Refusal;
use crate::exit::{Exit, Failure};

/// Connections at a time; one more is told to come again.
const CONNECTIONS: usize = 32;
/// Refused connections at a time; one more is closed without a word.
const REFUSALS: usize = 8;
/// How long a caller may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last, unless it follows events.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Pause after a connection that could not be accepted: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens. Its file is removed with it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens at a path; callers wait until [`Self::serve`]. A socket that is there is replaced: only the holder of the node's
    /// lock may call this. Must be called inside the runtime.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        remove_stale(path)?;
        let failed = |error: io::Error| {
            let failure = Failure::io(format!("listen on {}", path.display()), &error);
            match error.kind() {
                io::ErrorKind::InvalidInput => failure
                    .hint("the name of a socket has at most 107 bytes: choose a shorter state_directory"),
                _ => failure,
            }
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let server = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(server)
    }

    /// Answers callers, for ever.
    pub async fn serve(self, router: Router) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        // SAFETY: geteuid has no preconditions and cannot fail.
        let own = unsafe { libc::geteuid() };
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection to {}: {error}", self.path.display());
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = match Peer::of(&stream) {
                Ok(peer) => peer,
                Err(error) => {
                    tracing::debug!("cannot find out who connected: {error}");
                    continue;
                }
            };
            let (router, slot) = if ![0, own].contains(&peer.uid()) {
                (refusing(&forbidden(&peer)), Arc::clone(&refusals).try_acquire_owned())
            } else if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                (router.clone(), Ok(slot))
            } else {
                (refusing(&Refusal::busy()), Arc::clone(&refusals).try_acquire_owned())
            };
            if let Ok(slot) = slot {
                tokio::spawn(connection(stream, peer, router, slot));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A file that stays is replaced by the next start.
        drop(fs::remove_file(&self.path));
    }
}

/// Removes a socket that another process left behind.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format!("replace {}", path.display()), &error);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path).map_err(failed),
        Ok(_) => {
            Err(Failure::new(Exit::Failed, format!("{} is in the way: it is not a socket", path.display()))
                .hint("remove it, or choose another state_directory"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn forbidden(peer: &Peer) -> Refusal {
    let failure = Failure::new(Exit::Permission, format!("user {} may not control this relay", peer.uid()));
    failure.hint("use root, as with `sudo`").into()
}

/// Answers everything with the same refusal.
fn refusing(refusal: &Refusal) -> Router {
    let refusal = refusal.clone();
    Router::new().fallback(move || std::future::ready(refusal.clone()))
}

/// Answers one request.
async fn connection(stream: UnixStream, peer: Peer, router: Router, _slot: OwnedSemaphorePermit) {
    let service = TowerToHyperService::new(router.layer(Extension(peer.clone())));
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = answered => {
            if let Err(error) = result {
                tracing::debug!("a connection to the control socket ended: {error}");
            }
        }
        () = too_long(&peer) => tracing::debug!("a connection to the control socket took too long"),
    }
}

async fn too_long(peer: &Peer) {
    sleep(CONNECTION_TIME).await;
    if peer.is_streaming() {
        pending::<()>().await;
    }
}
