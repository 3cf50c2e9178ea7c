//! The journal, a JSON object a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;

use super::peer::Peer;
use super::refusal::{Path, Query, Refusal};
use super::{SCHEMA_VERSION, view};
use crate::actions::parse_address;
use crate::events::{Filter, Journal, Record};

/// Records shown of those that were, unless the caller says how many.
const RECENT: usize = 100;

/// Which records are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// Those to come as well, until one side has enough.
    follow: bool,
    /// How many of those that were.
    limit: Option<usize>,
    /// Only drops for these reasons, separated by commas.
    reasons: Option<String>,
    /// Only of clients of this prefix.
    client: Option<String>,
}

/// Shows and follows the journal.
pub(super) async fn events(
    State(journal): State<Journal>,
    peer: Option<Extension<Peer>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let reasons: Vec<String> =
        wanted.reasons.iter().flat_map(|reasons| reasons.split(',')).map(str::to_owned).collect();
    let filter = Filter::new(&reasons, wanted.client.as_deref())?;
    let limit = wanted.limit.unwrap_or(RECENT);
    let body = if wanted.follow {
        if let Some(Extension(peer)) = peer {
            peer.streams();
        }
        let (last, subscription) = journal.follow(filter, limit);
        let from = (VecDeque::from(last), subscription);
        Body::from_stream(stream::unfold(from, |(mut last, mut subscription)| async move {
            let record = match last.pop_front() {
                Some(record) => record,
                None => subscription.next().await?,
            };
            Some((line(&record), (last, subscription)))
        }))
    } else {
        Body::from_stream(stream::iter(journal.last(&filter, limit)).map(|record| line(&record)))
    };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Shows what of a client was dropped lately.
pub(super) async fn drops(
    State(journal): State<Journal>,
    Path(address): Path<String>,
) -> Result<Json<view::Drops>, Refusal> {
    let client = parse_address(&address)?;
    let drops = journal.drops_of(client);
    Ok(Json(view::Drops { schema_version: SCHEMA_VERSION, node: journal.node().to_owned(), client, drops }))
}

fn line(record: &Arc<Record>) -> Result<String, Infallible> {
    Ok(format!("{}\n", record.json()))
}
