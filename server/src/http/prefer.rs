//! What a caller prefers (RFC 7240): to be answered at once, or after so many seconds, rather than when all is done.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header::HeaderName};

/// The request header.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The response header that says that a preference was followed.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preference that is known.
pub(super) const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");

/// How long a caller wants to wait before an asynchronous answer: not at all with `respond-async`, up to that many seconds
/// with `respond-async, wait=N`. `None` without `respond-async`. What is not understood is ignored, as the RFC has it.
pub(super) fn respond_async(headers: &HeaderMap) -> Option<Duration> {
    let (mut asked, mut wait) = (false, Duration::ZERO);
    for value in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
        for preference in value.split(',') {
            let preference = preference.split(';').next().unwrap_or_default().trim();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let (name, value) = (name.trim_end(), value.trim_start().trim_matches('"'));
            if name.eq_ignore_ascii_case("respond-async") {
                asked = true;
            } else if name.eq_ignore_ascii_case("wait")
                && let Ok(seconds) = value.parse::<u32>()
            {
                wait = Duration::from_secs(seconds.into());
            }
        }
    }
    asked.then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_the_rfc_writes_them() {
        for (lines, expected) in [
            (&[][..], None),
            (&["respond-async"], Some(0)),
            (&["Respond-Async"], Some(0)),
            (&["respond-async, wait=10"], Some(10)),
            (&["wait=10", "foo; bar=1, respond-async;x=y"], Some(10)),
            (&["respond-async, wait = \"3\""], Some(3)),
            (&["respond-async, wait=soon"], Some(0)),
            (&["wait=10"], None),
            (&["respond-asynchronously, return=minimal"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, HeaderValue::from_static(line));
            }
            assert_eq!(respond_async(&headers), expected.map(Duration::from_secs), "{lines:?}");
        }
    }
}
