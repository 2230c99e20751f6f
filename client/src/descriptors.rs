//! How many files and connections this process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have `wanted` files and connections open, or as many as the system allows it to ask for; how many that
/// is now. Nothing is ever taken away.
pub fn raise(wanted: u64) -> io::Result<u64> {
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
    fn limits_only_rise() {
        let before = getrlimit(Resource::Nofile);
        let (current, maximum) = (before.current.unwrap_or(u64::MAX), before.maximum.unwrap_or(u64::MAX));
        assert_eq!(raise(1).unwrap(), current);
        assert_eq!(raise(current.saturating_add(1)).unwrap(), current.saturating_add(1).min(maximum));
        assert_eq!(getrlimit(Resource::Nofile).maximum, before.maximum);
    }
}
