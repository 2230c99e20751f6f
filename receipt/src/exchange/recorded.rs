//! Exchanges as they were recorded: one JSON object a line.

use super::{End, Exchange, Response};
use crate::json::{
    JsonError, Value,
    field::{Field, FieldError, Reason},
};

/// An exchange read from a recording: `host`, `path`, `request_body`, `status`, `response_headers`, `response_body`; other
/// members are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The host that was asked.
    pub host: String,
    /// The path of the URL.
    pub path: String,
    /// The request's body.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The `content-type` header of the response.
    pub content_type: Option<String>,
    /// The `x-request-id` or `request-id` header of the response.
    pub request_id: Option<String>,
    /// The response's body.
    pub response: String,
}

impl Recorded {
    /// Reads one line.
    pub fn parse(line: &[u8]) -> Result<Self, RecordedError> {
        let value = Value::parse(line)?;
        let root = Field::root(&value);
        let mut members = root.object()?;
        let host = members.required("host")?.string()?.to_owned();
        let path = members.required("path")?.string()?.to_owned();
        let request = members.required("request_body")?.string()?.to_owned();
        let status = members.required("status")?;
        let status = u16::try_from(status.integer()?)
            .map_err(|_| status.error(Reason::Rule("must be an HTTP status")))?;
        let headers = members.required("response_headers")?.value();
        let response = members.required("response_body")?.string()?.to_owned();
        let header = |name: &str| {
            let members = headers.members().unwrap_or_default().iter();
            let mut found = members.filter(|member| member.name.eq_ignore_ascii_case(name));
            found.find_map(|member| member.value.text()).map(str::to_owned)
        };
        let request_id = header("x-request-id").or_else(|| header("request-id"));
        Ok(Self { host, path, request, status, content_type: header("content-type"), request_id, response })
    }

    /// The exchange, as one that ended by itself.
    pub fn exchange(&self) -> Exchange<'_> {
        Exchange {
            path: &self.path,
            request: self.request.as_bytes(),
            response: Some(Response {
                status: self.status,
                content_type: self.content_type.as_deref(),
                request_id: self.request_id.as_deref(),
                body: self.response.as_bytes(),
            }),
            end: End::Finished,
        }
    }
}

/// Why a line is no recorded exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordedError {
    /// It is no JSON that we read.
    #[error("recorded exchange, {0}")]
    Json(#[from] JsonError),
    /// One of its members is not as it must be.
    #[error("recorded exchange, {0}")]
    Field(#[from] FieldError),
}
