//! Errors as callers see them: RFC 9457 problem details. Inner layers speak no HTTP; this is the one place that maps.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use counterfoil_receipt::{admission::Refusal, envelope::EnvelopeError, key::KeyError};
use serde::Serialize;
use tracing::error;

use crate::{queue::SubmitError, tiles::ReadError};

/// The media type of a problem detail.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How long a caller should wait before trying again, in seconds.
const RETRY_AFTER_S: &str = "1";

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The record may not enter.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The body is too large.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body did not come in time, or broke off.
    #[error("the body did not arrive: {reason}")]
    Body {
        /// Why.
        reason: String,
    },
    /// More lines than a batch may have.
    #[error("a batch has at most {limit} lines")]
    TooManyLines {
        /// The limit.
        limit: usize,
    },
    /// A part of the address or query is malformed.
    #[error("{name}: {reason}")]
    Parameter {
        /// Which part.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such thing, or not at that size.
    #[error("{what} is not in the published log")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// No such address.
    #[error("no such resource")]
    NoRoute,
    /// The address knows other methods.
    #[error("this resource does not take that method")]
    Method,
    /// As many receipts wait as may. Nothing was promised.
    #[error("too many receipts are waiting; nothing of this request was stored")]
    Full,
    /// The log is not written to now. Nothing was promised.
    #[error("the log takes no receipts at present; nothing of this request was stored")]
    Stopped,
    /// The log stopped while the receipt was on its way.
    #[error("the log stopped before it could answer; send the receipt again, it will not be stored twice")]
    Unknown,
    /// Nothing is published yet.
    #[error("the log is starting")]
    Starting,
    /// A handler panicked: a bug of ours.
    #[error("the server met a bug of its own; nothing of this request was stored")]
    Panicked,
    /// Something that the log has cannot be read.
    #[error("the log cannot read its own records")]
    Read(#[from] ReadError),
}

/// The code of a problem, carried along with a response so that it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// A problem detail.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// What kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// In a few words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// What is wrong, and where.
    pub detail: String,
}

impl ApiError {
    /// Status, code and title: one line a kind.
    fn class(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Refused(refusal) => refusal_class(refusal),
            Self::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Self::Body { .. } => (S::REQUEST_TIMEOUT, "body", "Incomplete request"),
            Self::TooManyLines { .. } => (S::PAYLOAD_TOO_LARGE, "too-many-lines", "Too many lines"),
            Self::Parameter { .. } => (S::BAD_REQUEST, "parameter", "Malformed parameter"),
            Self::NotFound { .. } | Self::NoRoute => (S::NOT_FOUND, "not-found", "Not found"),
            Self::Method => (S::METHOD_NOT_ALLOWED, "method", "Method not allowed"),
            Self::Full => (S::SERVICE_UNAVAILABLE, "full", "Queue full"),
            Self::Stopped => (S::SERVICE_UNAVAILABLE, "stopped", "Not writing"),
            Self::Unknown => (S::SERVICE_UNAVAILABLE, "unknown-outcome", "Outcome unknown"),
            Self::Starting => (S::SERVICE_UNAVAILABLE, "starting", "Starting"),
            Self::Panicked => (S::INTERNAL_SERVER_ERROR, "bug", "Bug"),
            Self::Read(_) => (S::INTERNAL_SERVER_ERROR, "unreadable", "Unreadable"),
        }
    }

    /// The code by which the problem is counted: the end of its type.
    pub fn code(&self) -> &'static str {
        self.class().1
    }

    /// The problem detail.
    pub fn problem(&self) -> Problem {
        let (status, code, title) = self.class();
        Problem {
            kind: format!("https://counterfoil.dev/problems/{code}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
        }
    }
}

fn refusal_class(refusal: &Refusal) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match refusal {
        Refusal::Envelope(EnvelopeError::TooLong { .. } | EnvelopeError::StatementTooLong { .. }) => {
            (S::PAYLOAD_TOO_LARGE, "too-large", "Too large")
        }
        Refusal::Envelope(EnvelopeError::Signature(KeyError::Signature | KeyError::SignatureForm)) => {
            (S::UNPROCESSABLE_ENTITY, "signature", "Bad signature")
        }
        Refusal::Envelope(_) => (S::BAD_REQUEST, "envelope", "Malformed envelope"),
        Refusal::UnknownIssuer { .. } => (S::FORBIDDEN, "unknown-issuer", "Unknown issuer"),
        Refusal::NotAnIssuer { .. } => (S::FORBIDDEN, "not-an-issuer", "Not an issuer"),
        Refusal::IssuerNotValid { .. } => (S::FORBIDDEN, "issuer-not-valid", "Issuer not valid"),
        Refusal::OtherLog { .. } => (S::UNPROCESSABLE_ENTITY, "other-log", "Meant for another log"),
        Refusal::Kind { .. } => (S::UNPROCESSABLE_ENTITY, "kind", "Kind of record not taken"),
        _ => (S::UNPROCESSABLE_ENTITY, "statement", "Invalid statement"),
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full => Self::Full,
            SubmitError::Closed => Self::Stopped,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Read(error) = &self {
            error!(%error, "the log cannot read its own records");
        }
        let problem = self.problem();
        let status = self.class().0;
        let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(Code(self.code()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}
