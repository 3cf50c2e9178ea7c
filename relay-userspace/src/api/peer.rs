//! Who is at the other end of a connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::net::UnixStream;

use super::SUDO_USER;
use crate::who::{self, Who};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    uid: u32,
    streams: Arc<AtomicBool>,
}

impl Peer {
    /// Asks the kernel.
    pub(super) fn of(stream: &UnixStream) -> std::io::Result<Self> {
        Ok(Self { uid: stream.peer_cred()?.uid(), streams: Arc::default() })
    }

    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// The answer goes on until one side has enough: it has no time limit.
    pub(super) fn streams(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed)
    }
}

/// Who sent a request.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Who);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // A request without a peer has not come through the socket; then nobody is named.
        let uid = parts.extensions.get::<Peer>().map_or(u32::MAX, Peer::uid);
        let claim = parts.headers.get(SUDO_USER).and_then(|value| value.to_str().ok()).and_then(who::claimed);
        let claim_too = claim.clone();
        let who = tokio::task::spawn_blocking(move || Who::of(uid, claim)).await;
        Ok(Self(who.unwrap_or(Who { uid, user: None, sudo_user: claim_too })))
    }
}
