//! How the API says no: as the commands do, in JSON.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::exit::{Exit, Failure};

/// A failure as an answer.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    failure: Failure,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure.exit {
            Exit::Usage => StatusCode::BAD_REQUEST,
            Exit::Permission => StatusCode::FORBIDDEN,
            Exit::NotFound => StatusCode::NOT_FOUND,
            Exit::Changes => StatusCode::CONFLICT,
            Exit::ConfigInvalid => StatusCode::UNPROCESSABLE_ENTITY,
            Exit::NotRunning => StatusCode::SERVICE_UNAVAILABLE,
            Exit::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Exit::Ok | Exit::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, failure }
    }
}

impl Refusal {
    /// No room for another connection.
    pub(super) fn busy() -> Self {
        let failure = Failure::new(Exit::TimedOut, "too many connections to the controller");
        let failure = failure.hint("try again when other commands have ended");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, failure }
    }

    /// A request that cannot be read.
    pub(super) fn unreadable(status: StatusCode, message: String) -> Self {
        Self { status, failure: Failure::new(Exit::Usage, message) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure.json())).into_response()
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            Refusal::unreadable(rejection.status(), format!("cannot read the request: {rejection}"))
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Refusal::unreadable(StatusCode::BAD_REQUEST, format!("the body is not what is expected: {error}"))
        })
    }
}

/// What a request's path names.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|rejection: PathRejection| {
            Refusal::unreadable(rejection.status(), rejection.body_text())
        })
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|rejection: QueryRejection| {
            Refusal::unreadable(rejection.status(), rejection.body_text())
        })
    }
}
