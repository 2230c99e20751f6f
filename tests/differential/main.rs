//! The kernel against other people's code: `tlog_tiles` and `signed_note` (Cloudflare's, modelled on Go's
//! `sumdb/tlog` and `sumdb/note`) and `ct-merkle`. Only bytes and numbers cross the border.
//!
//! Randomness is seeded, so that a failure happens again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dice;
mod notes;
mod oracle;
mod real;
mod tiles;
mod virtual_tree;
