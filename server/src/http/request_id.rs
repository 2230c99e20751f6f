//! Ids of requests: by one that an answer shows, its line in the log is found.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Where the id stands, in a request and in its answer.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Most bytes of an id that a caller gives.
const BYTES_MAX: usize = 64;

/// Gives ids to requests: they differ within one life of the server, and nearly surely from those of others.
pub(super) struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    /// Ids from a random one on.
    pub(super) fn new() -> Self {
        let mut start = [0; 8];
        getrandom::fill(&mut start).expect("the system gives random bytes");
        Self { next: AtomicU64::new(u64::from_be_bytes(start)) }
    }

    /// The id that a request brings, if it is one that a log line can have; else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_id = |value: &&HeaderValue| {
            (1..=BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(allowed)
        };
        headers.get(X_REQUEST_ID).filter(is_id).cloned().unwrap_or_else(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            HeaderValue::from_str(&format!("{number:016x}")).expect("hex digits are plain text")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could break a line of the log, or fill it, is not taken.
    #[test]
    fn an_id_is_kept_or_made() {
        let ids = RequestIds::new();
        let of = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            ids.of(&headers).to_str().unwrap().to_owned()
        };
        let longest = "a".repeat(BYTES_MAX);
        for good in ["a", "0b-1.c_D", &longest] {
            assert_eq!(of(good.as_bytes()), good);
        }
        let longer = longest + "a";
        let mut made = std::collections::BTreeSet::new();
        for bad in [&b""[..], b"a b", b"a\"", b"\xff", b"\x1b[2J", b"a\tb", longer.as_bytes()] {
            // Some are no header's value to begin with.
            if HeaderValue::from_bytes(bad).is_ok() {
                let id = of(bad);
                assert!(id.len() == 16 && made.insert(id.clone()), "{id}");
            }
        }
        assert!(made.len() >= 4 && made.insert(ids.of(&HeaderMap::new()).to_str().unwrap().to_owned()));
    }
}
