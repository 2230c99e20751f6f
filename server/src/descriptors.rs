//! How many files and connections this process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that a log has open beside its connections, with room to spare.
const FILES: usize = 512;

/// Makes room for so many connections beside the log's own files, as far as the system allows it; how many there is room for.
pub(crate) fn make_room(connections: usize) -> usize {
    let wanted = connections.saturating_add(FILES);
    let allowed = raise(wanted as u64).unwrap_or_else(|error| {
        warn!(%error, "the limit of open files cannot be raised");
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    });
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if allowed >= wanted {
        return connections;
    }
    let connections = allowed.saturating_sub(FILES).max(allowed / 2).max(1);
    warn!(
        allowed,
        wanted, connections, "the system lets too few files be open: raise its limit (ulimit -Hn)"
    );
    connections
}

/// Lets this process have `wanted` files and connections open, or as many as the system allows it to ask for; how many that
/// is now. Nothing is ever taken away.
fn raise(wanted: u64) -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (current, maximum) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = wanted.min(maximum);
    if raised <= current {
        return Ok(current);
    }
    let maximum = (maximum < u64::MAX).then_some(maximum);
    setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum })?;
    Ok(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More is there when it was asked for, nothing is taken away, and no more is promised than there is.
    #[test]
    fn there_is_room_for_as_many_as_are_promised() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let allowed =
            || getrlimit(Resource::Nofile).current.map_or(usize::MAX, |it| usize::try_from(it).unwrap());
        let before = allowed();
        assert_eq!(make_room(1), 1);
        assert!(allowed() >= before);
        let promised = make_room(before);
        assert!(promised >= 1 && promised < allowed() && promised <= before);
        assert!(make_room(usize::MAX) < allowed() || maximum.is_none());
        assert_eq!(getrlimit(Resource::Nofile).maximum, maximum);
    }
}
