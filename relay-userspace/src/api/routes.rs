//! Which request does what.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRef, Request as Call, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::events::{drops, events};
use super::peer::Caller;
use super::refusal::{Body, Path, Query, Refusal};
use super::request::{Extent, Request, Requests};
use super::view;
use crate::actions::{Done, Key, Order, Value, Verdict, What, parse_address, parse_prefix};
use crate::events::Journal;
use crate::exit::{Exit, Failure};

/// Bytes of a request's body.
const BODY_BYTES: usize = 64 * 1024;
/// How long an answer may take until it begins.
const ANSWER_TIME: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Shared {
    requests: Requests,
    journal: Journal,
}

impl FromRef<Shared> for Journal {
    fn from_ref(shared: &Shared) -> Self {
        shared.journal.clone()
    }
}

type Answered<T> = Result<Json<T>, Refusal>;

/// Every route.
pub fn router(requests: Requests, journal: Journal) -> Router {
    Router::new()
        .route("/v1/node", get(node))
        .route("/v1/blocks", get(|shared, wanted| rules(Verdict::Block, shared, wanted)))
        .route("/v1/blocks/{address}/{length}", put(block).delete(unblock))
        .route("/v1/allows", get(|shared, wanted| rules(Verdict::Allow, shared, wanted)))
        .route("/v1/allows/{address}/{length}", put(allow).delete(disallow))
        .route("/v1/bans", get(bans))
        .route("/v1/bans/{address}", delete(lift))
        .route("/v1/limits", get(limits).delete(reset_all))
        .route("/v1/limits/{service}", put(set_limits).delete(reset))
        .route("/v1/events", get(events))
        .route("/v1/drops/{address}", get(drops))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Shared { requests, journal })
}

async fn in_time(call: Call, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIME, next.run(call)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Refusal::from(Failure::new(Exit::TimedOut, "the request took too long")).into_response()
        }
    }
}

async fn unknown(call: Call) -> Refusal {
    let failure = Failure::new(Exit::NotFound, format!("there is no {}", call.uri().path()));
    failure.hint("everything is below /v1").into()
}

async fn wrong_method(call: Call) -> Refusal {
    let message = format!("{} does not take {}", call.uri().path(), call.method());
    Refusal::unreadable(StatusCode::METHOD_NOT_ALLOWED, message)
}

async fn node(State(shared): State<Shared>) -> Answered<view::Node> {
    Ok(Json(shared.requests.ask(Request::Node).await?))
}

/// Which prefixes are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WhichRules {
    all: bool,
    covering: Option<Ipv4Addr>,
}

async fn rules(
    verdict: Verdict,
    State(shared): State<Shared>,
    Query(wanted): Query<WhichRules>,
) -> Answered<view::Rules> {
    let extent = match (wanted.covering, wanted.all) {
        (Some(address), _) => Extent::Covering(address),
        (None, true) => Extent::All,
        (None, false) => Extent::Brief,
    };
    Ok(Json(shared.requests.ask(|answer| Request::Rules(verdict, extent, answer)).await?))
}

async fn bans(State(shared): State<Shared>) -> Answered<view::Bans> {
    Ok(Json(shared.requests.ask(Request::Bans).await?))
}

/// Why something is done, and for how long.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Terms {
    reason: Option<String>,
    duration_seconds: Option<u64>,
}

/// Why something is undone.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Undone {
    reason: Option<String>,
    /// Of limits: which, separated by commas.
    limits: Option<String>,
}

async fn ask(shared: &Shared, caller: Caller, reason: Option<String>, what: What) -> Answered<Done> {
    let order = Order { who: caller.0, reason, what };
    Ok(Json(shared.requests.ask(|answer| Request::Do(order, answer)).await?))
}

async fn add(
    verdict: Verdict,
    shared: Shared,
    caller: Caller,
    Path((address, length)): Path<(String, String)>,
    Body(terms): Body<Terms>,
) -> Answered<Done> {
    let prefix = parse_prefix(&format!("{address}/{length}"))?;
    let lasts = terms.duration_seconds.map(Duration::from_secs);
    ask(&shared, caller, terms.reason, What::Add(verdict, prefix, lasts)).await
}

async fn remove(
    verdict: Verdict,
    shared: Shared,
    caller: Caller,
    Path((address, length)): Path<(String, String)>,
    Query(undone): Query<Undone>,
) -> Answered<Done> {
    let prefix = parse_prefix(&format!("{address}/{length}"))?;
    ask(&shared, caller, undone.reason, What::Remove(verdict, prefix)).await
}

type Prefix = Path<(String, String)>;

async fn block(
    State(shared): State<Shared>,
    caller: Caller,
    prefix: Prefix,
    terms: Body<Terms>,
) -> Answered<Done> {
    add(Verdict::Block, shared, caller, prefix, terms).await
}

async fn allow(
    State(shared): State<Shared>,
    caller: Caller,
    prefix: Prefix,
    terms: Body<Terms>,
) -> Answered<Done> {
    add(Verdict::Allow, shared, caller, prefix, terms).await
}

async fn unblock(
    State(shared): State<Shared>,
    caller: Caller,
    prefix: Prefix,
    undone: Query<Undone>,
) -> Answered<Done> {
    remove(Verdict::Block, shared, caller, prefix, undone).await
}

async fn disallow(
    State(shared): State<Shared>,
    caller: Caller,
    prefix: Prefix,
    undone: Query<Undone>,
) -> Answered<Done> {
    remove(Verdict::Allow, shared, caller, prefix, undone).await
}

async fn lift(
    State(shared): State<Shared>,
    caller: Caller,
    Path(address): Path<String>,
    Query(undone): Query<Undone>,
) -> Answered<Done> {
    let address = parse_address(&address)?;
    ask(&shared, caller, undone.reason, What::Lift(address)).await
}

/// Which limits are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    service: Option<String>,
}

async fn limits(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Answered<view::Limits> {
    Ok(Json(shared.requests.ask(|answer| Request::Limits(wanted.service, answer)).await?))
}

/// What limits are to be, why and for how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLimits {
    limits: BTreeMap<Key, Value>,
    duration_seconds: u64,
    #[serde(default)]
    reason: Option<String>,
}

async fn set_limits(
    State(shared): State<Shared>,
    caller: Caller,
    Path(service): Path<String>,
    Body(new): Body<NewLimits>,
) -> Answered<Done> {
    let lasts = Duration::from_secs(new.duration_seconds);
    ask(&shared, caller, new.reason, What::SetLimits(service, new.limits, lasts)).await
}

async fn reset(
    State(shared): State<Shared>,
    caller: Caller,
    Path(service): Path<String>,
    Query(undone): Query<Undone>,
) -> Answered<Done> {
    let keys = keys(undone.limits.as_deref())?;
    ask(&shared, caller, undone.reason, What::ResetLimits(Some(service), keys)).await
}

async fn reset_all(
    State(shared): State<Shared>,
    caller: Caller,
    Query(undone): Query<Undone>,
) -> Answered<Done> {
    let keys = keys(undone.limits.as_deref())?;
    ask(&shared, caller, undone.reason, What::ResetLimits(None, keys)).await
}

fn keys(names: Option<&str>) -> Result<Vec<Key>, Failure> {
    names.map_or_else(|| Ok(Vec::new()), |names| names.split(',').map(str::parse).collect())
}
