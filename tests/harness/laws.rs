//! What holds for everything that a stranger can send, whatever the bytes: laws for a fuzzer, and for the corpora that it leaves.
//!
//! A law panics if it is broken. It says whether the bytes were accepted, so that a corpus can be seen to reach beyond the
//! first check. `tests/fuzz` runs each of them under libFuzzer; `tests/corpora` runs the kept corpora through them.

mod records;
mod requests;
mod stored;
mod streams;
mod texts;
mod tiles;
mod trust;
mod vectors;
mod witnessing;

pub use records::{bundle, disclosure, entry, envelope, json, statement};
pub use requests::request;
pub use stored::{commit_record, spool_record};
pub use streams::{content_coding, exchange};
pub use texts::{checkpoint, evidence, note, tlog_proof};
pub use tiles::{entry_bundle, tile, tile_path};
pub use trust::{policy, trust_file, witness_list};
pub use witnessing::{add_checkpoint, witness_answer};

/// A law, and the name of its corpus and of its fuzz target.
#[derive(Clone, Copy)]
pub struct Law {
    /// The name.
    pub name: &'static str,
    /// Panics if the law is broken; says whether the bytes were accepted.
    pub check: fn(&[u8]) -> bool,
}

/// All of them.
pub const LAWS: [Law; 23] = [
    Law { name: "note", check: note },
    Law { name: "checkpoint", check: checkpoint },
    Law { name: "tlog_proof", check: tlog_proof },
    Law { name: "evidence", check: evidence },
    Law { name: "tile", check: tile },
    Law { name: "tile_path", check: tile_path },
    Law { name: "entry_bundle", check: entry_bundle },
    Law { name: "json", check: json },
    Law { name: "entry", check: entry },
    Law { name: "envelope", check: envelope },
    Law { name: "statement", check: statement },
    Law { name: "bundle", check: bundle },
    Law { name: "disclosure", check: disclosure },
    Law { name: "policy", check: policy },
    Law { name: "trust_file", check: trust_file },
    Law { name: "witness_list", check: witness_list },
    Law { name: "add_checkpoint", check: add_checkpoint },
    Law { name: "witness_answer", check: witness_answer },
    Law { name: "commit_record", check: commit_record },
    Law { name: "spool_record", check: spool_record },
    Law { name: "exchange", check: exchange },
    Law { name: "content_coding", check: content_coding },
    Law { name: "request", check: request },
];
