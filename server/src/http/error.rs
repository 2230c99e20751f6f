//! Errors as callers see them: RFC 9457 problem details. Inner layers speak no HTTP; this is the one place that maps.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use counterfoil_receipt::{admission::Refused, envelope::EnvelopeError, key::KeyError, statement::Rule};
use serde::Serialize;
use tracing::{error, warn};

use crate::{
    quota::Spent,
    search::{cursor::CursorError, follow::FollowError, page::PageError},
    tiles::ReadError,
    tokens::Denied,
};

/// The media type of a problem detail.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a problem's `type` begins with; its code follows.
pub const PROBLEM_TYPE: &str = "https://counterfoil.dev/problems/";

/// Most characters of a problem's detail.
const DETAIL_CHARS_MAX: usize = 1000;

/// How long a caller should wait before trying again, in seconds.
pub(super) const RETRY_AFTER_S: &str = "1";

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The record may not enter.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Box<Refused>,
        /// What its author can publish: a refusal that the operator signed, as an envelope.
        signed: Option<String>,
    },
    /// Its key has appended as much as it may.
    #[error(transparent)]
    Quota(#[from] Spent),
    /// It comes faster than it may.
    #[error("{who} sends faster than this log takes it from one; the next may come in {wait_s} s")]
    TooFast {
        /// What goes too fast.
        who: &'static str,
        /// When the next may come, in seconds.
        wait_s: u64,
    },
    /// Who asks may not, by the token that it shows or does not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The body is too large.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body did not come in time, or broke off.
    #[error("the body did not come whole, or not in time")]
    Body,
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
    /// A cursor was changed, or belongs to something else.
    #[error("cursor: {0}")]
    Cursor(#[from] CursorError),
    /// There is no search index.
    #[error("this log has no search index: its configuration says so")]
    SearchOff,
    /// The search index cannot answer.
    #[error("the search index cannot answer now")]
    Unindexed {
        /// Why: for the log's operator alone.
        reason: String,
    },
    /// More records than are answered at once.
    #[error("more than {limit} records are about this: ask /v1/receipts?about= for them page by page")]
    TooManyRecords {
        /// The limit.
        limit: usize,
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
    /// There is no memory left for what is as large as this.
    #[error("too much is on its way at a time; nothing of this request was stored")]
    Busy,
    /// The log is not written to now. Nothing was promised.
    #[error("the log takes no receipts at present; nothing of this request was stored")]
    Stopped,
    /// The disk is full, or about to be. Nothing was promised.
    #[error("the log has no room at present; nothing of this request that is new to it was stored")]
    NoRoom,
    /// The log stopped while the receipt was on its way.
    #[error("the log stopped before it could answer; send the receipt again, it will not be stored twice")]
    Unknown,
    /// Nothing is published yet.
    #[error("the log is starting")]
    Starting,
    /// A handler panicked: a bug of ours.
    #[error("the server met a bug of its own; send a receipt again, it will not be stored twice")]
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
    /// The rule of admission that was broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// The refusal, signed by the operator: an envelope that the record's author can publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<serde_json::Value>,
}

/// Writes the table of problems down once: status, code and title of each.
macro_rules! classes {
    ($($(#[$note:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// A class of problems: what a caller can tell apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Class {
            $($(#[$note])* $name,)*
        }

        impl Class {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The status that it is answered with.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// The code by which it is counted: the end of its type.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// In a few words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

classes! {
    /// No envelope.
    Envelope = BAD_REQUEST, "envelope", "Malformed envelope";
    /// A part of the address is malformed.
    Parameter = BAD_REQUEST, "parameter", "Malformed parameter";
    /// A cursor that no answer gave for this question.
    Cursor = BAD_REQUEST, "cursor", "Bad cursor";
    /// A token is due that is good here.
    Token = UNAUTHORIZED, "token", "Token due";
    /// The token is good for something else.
    Scope = FORBIDDEN, "scope", "Token of another scope";
    /// A key that may not sign this, or not now.
    Signer = FORBIDDEN, "signer", "Signer not entitled";
    /// It is not there.
    NotFound = NOT_FOUND, "not-found", "Not found";
    /// The address knows other methods.
    Method = METHOD_NOT_ALLOWED, "method", "Method not allowed";
    /// The body did not come.
    Body = REQUEST_TIMEOUT, "body", "Incomplete request";
    /// Too many bytes.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "Too large";
    /// Too many lines.
    TooManyLines = PAYLOAD_TOO_LARGE, "too-many-lines", "Too many lines";
    /// The signature does not verify.
    Signature = UNPROCESSABLE_ENTITY, "signature", "Bad signature";
    /// The signature is good, what it signs is not.
    Statement = UNPROCESSABLE_ENTITY, "statement", "Invalid statement";
    /// Meant for another log.
    OtherLog = UNPROCESSABLE_ENTITY, "other-log", "Meant for another log";
    /// It breaks another rule of admission.
    Rule = UNPROCESSABLE_ENTITY, "rule", "Rule of admission broken";
    /// More records than are answered at once.
    TooManyRecords = UNPROCESSABLE_ENTITY, "too-many-records", "Too many records";
    /// Its key has appended as much as it may in a day, or its key or address sends too fast.
    Quota = TOO_MANY_REQUESTS, "quota", "Quota spent";
    /// A bug of ours.
    Bug = INTERNAL_SERVER_ERROR, "bug", "Bug";
    /// The log cannot read what it has.
    Unreadable = INTERNAL_SERVER_ERROR, "unreadable", "Unreadable";
    /// The configuration wants no search index.
    SearchOff = NOT_IMPLEMENTED, "search-off", "No search";
    /// The search index cannot answer now.
    Unindexed = SERVICE_UNAVAILABLE, "unindexed", "No search index";
    /// Too many wait.
    Full = SERVICE_UNAVAILABLE, "full", "Queue full";
    /// Too much is on its way.
    Busy = SERVICE_UNAVAILABLE, "busy", "Too busy";
    /// Nothing is written now.
    Stopped = SERVICE_UNAVAILABLE, "stopped", "Not writing";
    /// The disk has no room.
    NoRoom = SERVICE_UNAVAILABLE, "no-room", "No room";
    /// The log stopped on the way.
    UnknownOutcome = SERVICE_UNAVAILABLE, "unknown-outcome", "Outcome unknown";
    /// Nothing is published yet.
    Starting = SERVICE_UNAVAILABLE, "starting", "Starting";
}

impl ApiError {
    /// What a caller can tell about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused { reason, .. } => refusal_class(reason),
            Self::Quota(_) | Self::TooFast { .. } => Class::Quota,
            Self::Denied(Denied::Scope { .. }) => Class::Scope,
            Self::Denied(_) => Class::Token,
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Body => Class::Body,
            Self::TooManyLines { .. } => Class::TooManyLines,
            Self::Parameter { .. } => Class::Parameter,
            Self::Cursor(_) => Class::Cursor,
            Self::SearchOff => Class::SearchOff,
            Self::Unindexed { .. } => Class::Unindexed,
            Self::TooManyRecords { .. } => Class::TooManyRecords,
            Self::NotFound { .. } | Self::NoRoute => Class::NotFound,
            Self::Method => Class::Method,
            Self::Full => Class::Full,
            Self::Busy => Class::Busy,
            Self::Stopped => Class::Stopped,
            Self::NoRoom => Class::NoRoom,
            Self::Unknown => Class::UnknownOutcome,
            Self::Starting => Class::Starting,
            Self::Panicked => Class::Bug,
            Self::Read(_) => Class::Unreadable,
        }
    }

    /// The code by which the problem is counted: the end of its type.
    pub fn code(&self) -> &'static str {
        self.class().code()
    }

    /// The problem detail.
    pub fn problem(&self) -> Problem {
        let class = self.class();
        let (rule, refusal) = match self {
            Self::Refused { reason, signed } => {
                let refusal = signed.as_deref().and_then(|signed| serde_json::from_str(signed).ok());
                (reason.rule().map(Rule::as_str), refusal)
            }
            _ => (None, None),
        };
        Problem {
            kind: format!("{PROBLEM_TYPE}{}", class.code()),
            title: class.title(),
            status: class.status().as_u16(),
            detail: printable(&self.to_string()),
            rule,
            refusal,
        }
    }
}

/// What would be let in (RFC 6750, section 3).
fn challenge(denied: Denied) -> HeaderValue {
    let challenge = match denied {
        Denied::Missing { needed } => format!("Bearer scope=\"{needed}\""),
        Denied::Scope { needed } => format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\""),
        Denied::Unknown | Denied::Expired => "Bearer error=\"invalid_token\"".to_owned(),
    };
    HeaderValue::from_str(&challenge).expect("names of scopes are plain text")
}

/// A message as it may be shown on a terminal, for it can quote what a caller sent: without control characters, and those that
/// reorder text.
fn printable(message: &str) -> String {
    let reorders = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = |c: char| if c.is_control() || reorders(c) { char::REPLACEMENT_CHARACTER } else { c };
    message.chars().take(DETAIL_CHARS_MAX).map(shown).collect()
}

fn refusal_class(refused: &Refused) -> Class {
    match refused {
        Refused::Envelope(EnvelopeError::TooLong { .. } | EnvelopeError::StatementTooLong { .. }) => {
            Class::TooLarge
        }
        Refused::Envelope(EnvelopeError::Signature(KeyError::Signature | KeyError::SignatureForm)) => {
            Class::Signature
        }
        Refused::Envelope(_) => Class::Envelope,
        Refused::Statement(_) => Class::Statement,
        Refused::OtherLog { .. } => Class::OtherLog,
        Refused::Operator
        | Refused::Registrar { .. }
        | Refused::KeyUnknown { .. }
        | Refused::KeyRole { .. }
        | Refused::KeyWindow { .. }
        | Refused::KeyRevoked { .. }
        | Refused::Signer { .. }
        | Refused::OwnCase { .. } => Class::Signer,
        _ => Class::Rule,
    }
}

impl From<PageError> for ApiError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Files(error) => Self::Unindexed { reason: error.to_string() },
            PageError::Read(error) => Self::Read(error),
            PageError::Unreadable(error) => Self::Read(ReadError::Entry { index: error.index }),
            PageError::Panicked => Self::Panicked,
        }
    }
}

impl From<FollowError> for ApiError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Files(error) => PageError::Files(error).into(),
            FollowError::Read(error) => Self::Read(error),
            FollowError::Unreadable(error) => PageError::Unreadable(error).into(),
            FollowError::Page(error) => error.into(),
            FollowError::Record { index, .. } => Self::Read(ReadError::Entry { index }),
        }
    }
}

impl From<EnvelopeError> for ApiError {
    fn from(error: EnvelopeError) -> Self {
        Self::Refused { reason: Box::new(error.into()), signed: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // What went wrong inside is for the operator to know; callers are told what it means for them.
        match &self {
            Self::Read(error) => error!(%error, "the log cannot read its own records"),
            Self::Unindexed { reason } => warn!(reason, "the search index cannot answer"),
            _ => {}
        }
        let problem = self.problem();
        let status = self.class().status();
        let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(Code(self.code()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if let Self::Denied(denied) = &self {
            headers.insert(header::WWW_AUTHENTICATE, challenge(*denied));
        }
        if let Self::Quota(Spent { wait_s, .. }) | Self::TooFast { wait_s, .. } = &self {
            headers.insert(header::RETRY_AFTER, (*wait_s).into());
        }
        response
    }
}
