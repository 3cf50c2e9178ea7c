//! What the API asks of the controller's loop.

use std::net::Ipv4Addr;

use tokio::sync::{mpsc, oneshot};

use super::view;
use crate::actions::{Done, Order, Verdict};
use crate::exit::{Exit, Failure};

/// Requests that may wait for the loop.
const WAITING: usize = 64;

/// Where an answer goes. That nobody waits for it any more is fine.
pub type Answer<T> = oneshot::Sender<Result<T, Failure>>;

/// What the API asks of the controller's loop.
#[derive(Debug)]
pub enum Request {
    /// What this relay is.
    Node(Answer<view::Node>),
    /// To do something; answered when it is in force and on disk.
    Do(Order, Answer<Done>),
    /// The prefixes of a kind.
    Rules(Verdict, Extent, Answer<view::Rules>),
    /// Who is banned.
    Bans(Answer<view::Bans>),
    /// The limits, of one service or all.
    Limits(Option<String>, Answer<view::Limits>),
}

/// Which of the listed prefixes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All but those of files that decided about no packet.
    Brief,
    /// All.
    All,
    /// Those that an address is in.
    Covering(Ipv4Addr),
}

/// The API's end of the way to the loop. Its clones lead to the same loop.
#[derive(Clone, Debug)]
pub struct Requests(mpsc::Sender<Request>);

impl Requests {
    /// Makes both ends.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer.
    pub async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, Failure> {
        let (sender, answer) = oneshot::channel();
        let stopping = || Failure::new(Exit::NotRunning, "the relay's controller is stopping");
        self.0.send(request(sender)).await.map_err(|_closed| stopping())?;
        answer.await.map_err(|_dropped| stopping())?
    }
}
