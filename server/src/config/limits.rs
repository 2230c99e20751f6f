//! What is refused for being too large, too slow, too many or too often.

use serde::{Deserialize, Serialize};

/// What is refused for being too large, too slow or too many.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections. One more takes the place of the one whose turn it has been for longest to send or to take
    /// something; while the log itself has work to do for all of them, it waits. Default: 8192.
    pub connections_max: usize,
    /// Open connections from one address (IPv6: one /64); more are refused; 0: no limit. Default: 1024.
    pub connections_per_address_max: usize,
    /// Receipts that wait for the sequencer; more get 503. Default: 8192.
    pub queue_max: usize,
    /// Bytes of a batch request. Default: 16 MiB.
    pub batch_bytes_max: usize,
    /// Lines of a batch request. Default: 1000.
    pub batch_lines_max: usize,
    /// Bytes of all bodies and answers above 72 KiB that are on their way at a time; more get 503. Default: 512 MiB.
    pub large_bytes_max: usize,
    /// Disputes a day from one key that nobody registered, that is, from a claim key; more get 429. Default: 16.
    pub disputes_per_key_max: usize,
    /// Records other than receipts a day from one key; more get 429. Default: 10,000.
    pub records_per_key_max: usize,
    /// Seconds in which a request's headers must have come, the first byte and idle keep-alive included. Default: 15.
    pub header_timeout_s: u64,
    /// Seconds in which TLS must be agreed on. Default: 10.
    pub handshake_timeout_s: u64,
    /// Seconds in which a request's body must have come, and one more for each `bytes_per_second_min` of it. Default: 15.
    pub body_timeout_s: u64,
    /// Seconds in which an answer must have been taken, and one more for each `bytes_per_second_min` of it. Default: 30.
    pub answer_timeout_s: u64,
    /// Bytes a second that a body or an answer has to make beyond those timeouts. Default: 1024.
    pub bytes_per_second_min: u64,
    /// Seconds that a stopping server waits for requests in flight. Default: 10.
    pub drain_timeout_s: u64,
    /// Seconds that the clock may be ahead of the log's last attested time at start. Default: 7 days.
    pub clock_gap_max_s: u64,
    /// Bytes that stay free where the data directory is: with fewer nothing is taken, until an eighth more is free. 0: none.
    /// Default: 64 MiB.
    pub free_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            connections_per_address_max: 1024,
            queue_max: 8192,
            batch_bytes_max: 16 * 1024 * 1024,
            batch_lines_max: 1000,
            large_bytes_max: 512 * 1024 * 1024,
            disputes_per_key_max: 16,
            records_per_key_max: 10_000,
            header_timeout_s: 15,
            handshake_timeout_s: 10,
            body_timeout_s: 15,
            answer_timeout_s: 30,
            bytes_per_second_min: 1024,
            drain_timeout_s: 10,
            clock_gap_max_s: 7 * 24 * 3600,
            free_bytes_min: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The limits that may not be 0, by their names.
    pub(super) fn least_one(&self) -> [(&'static str, u64); 6] {
        let many = |number: usize| number as u64;
        [
            ("limits.connections_max", many(self.connections_max)),
            ("limits.queue_max", many(self.queue_max)),
            ("limits.batch_bytes_max", many(self.batch_bytes_max)),
            ("limits.batch_lines_max", many(self.batch_lines_max)),
            ("limits.large_bytes_max", many(self.large_bytes_max)),
            ("limits.bytes_per_second_min", self.bytes_per_second_min),
        ]
    }
}

/// How fast one address or one issuer may append. What comes faster gets 429, with `Retry-After`.
///
/// Each has a bucket of so many records, which fills up again at that rate. A batch is let in whole while there is one left,
/// and all of its records are counted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// Records and requests a second that one address (IPv6: one /64) may send, good or bad; 0: no limit. Default: 0.
    pub per_address: u32,
    /// What an address may send at once. Default: 1000.
    pub address_burst: u32,
    /// Records a second that one key may append; 0: no limit. Default: 0.
    pub per_issuer: u32,
    /// What a key may append at once. Default: 1000.
    pub issuer_burst: u32,
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self { per_address: 0, address_burst: 1000, per_issuer: 0, issuer_burst: 1000 }
    }
}

impl RatesConfig {
    /// The sizes of buckets, which may not be 0, by their names.
    pub(super) fn least_one(&self) -> [(&'static str, u64); 2] {
        [("rates.address_burst", self.address_burst.into()), ("rates.issuer_burst", self.issuer_burst.into())]
    }
}
