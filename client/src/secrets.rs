//! What keeps secrets where they belong: in the files that they were read from, and in this process' memory.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Lets no copy of this process' memory be made: neither a core file when it dies, whoever would take it, nor by another process
/// of the same user that looks into it. What it starts inherits the first.
///
/// # Errors
/// If the system does not allow it, which no Linux does.
pub fn keep_from_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A limit of nothing does not hold where cores are piped to a program; this does.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
