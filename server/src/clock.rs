//! The wall clock, held against the monotonic one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use counterfoil_receipt::Timestamp;

/// How far the wall clock may run ahead of the monotonic one: no entry is dated into the future by a bad time server.
pub const AHEAD_MAX: Duration = Duration::from_secs(5);

/// A wall clock that notices when it was set forward.
#[derive(Debug)]
pub struct Clock {
    read: fn() -> Result<Timestamp, ClockError>,
    wall: Timestamp,
    monotonic: Instant,
}

impl Clock {
    /// Starts from what the wall clock says now.
    pub fn start() -> Result<Self, ClockError> {
        Self::start_from(wall_now)
    }

    /// As [`Clock::start`], from a wall clock of one's own.
    pub fn start_from(read: fn() -> Result<Timestamp, ClockError>) -> Result<Self, ClockError> {
        Ok(Self { read, wall: read()?, monotonic: Instant::now() })
    }

    /// What the wall clock says, unless it ran ahead.
    pub fn now(&self) -> Result<Timestamp, ClockError> {
        check(self.wall, self.monotonic.elapsed(), (self.read)()?)
    }
}

/// What the wall clock says, unchecked.
pub fn wall_now() -> Result<Timestamp, ClockError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ClockError::Impossible)?;
    let millis = u64::try_from(since.as_millis()).map_err(|_| ClockError::Impossible)?;
    Timestamp::from_millis(millis).ok_or(ClockError::Impossible)
}

fn check(start: Timestamp, elapsed: Duration, now: Timestamp) -> Result<Timestamp, ClockError> {
    let latest = u128::from(start.millis()) + (elapsed + AHEAD_MAX).as_millis();
    if u128::from(now.millis()) > latest {
        return Err(ClockError::RanAhead { expected_max: latest, got: now });
    }
    Ok(now)
}

/// Why the time cannot be believed. Writing stops until a person has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// Before 1970, or beyond the year 287396.
    #[error("the system's clock shows an impossible time")]
    Impossible,
    /// The wall clock was set forward.
    #[error(
        "the system's clock jumped ahead: {got} ms, where at most {expected_max} ms can be; correct it and restart"
    )]
    RanAhead {
        /// The latest that can be, in ms.
        expected_max: u128,
        /// What the clock shows.
        got: Timestamp,
    },
    /// At start, the wall clock is far ahead of what the log last attested.
    #[error(
        "the system's clock is {ahead_s} s ahead of the log's last time; if that is right, start with --confirm-clock"
    )]
    Gap {
        /// How far, in seconds.
        ahead_s: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_ahead_is_noticed_and_a_step_back_is_not_an_error() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(check(at(10_000), second, at(11_000)), Ok(at(11_000)));
        assert_eq!(check(at(10_000), second, at(16_000)), Ok(at(16_000)));
        assert!(matches!(check(at(10_000), second, at(16_001)), Err(ClockError::RanAhead { .. })));
        assert_eq!(check(at(10_000), second, at(3_000)), Ok(at(3_000)));
    }
}
