//! Room on the disk: below a floor of free bytes nothing more is taken, so that what was taken can still be settled.

use std::{error::Error, io, iter};

/// A floor of free bytes, and whether it was last found broken.
#[derive(Debug)]
pub struct Room {
    floor: u64,
    short: bool,
}

impl Room {
    /// Keeps so many bytes free; 0: none.
    pub const fn new(floor: u64) -> Self {
        Self { floor, short: false }
    }

    /// Whether there is room for more, with so many bytes free. Once there was not, an eighth of the floor more has to be
    /// free before there is: what hovers about the floor does not change its mind with every batch.
    pub const fn allows(&mut self, free: u64) -> bool {
        let needed = if self.short { self.floor.saturating_add(self.floor / 8) } else { self.floor };
        self.short = free < needed;
        !self.short
    }
}

/// Whether an error comes of a full disk or a spent quota.
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guard::GuardError, objects::StoreError, stop::Stop};

    #[test]
    fn the_floor_is_kept_until_there_is_an_eighth_more() {
        let mut room = Room::new(800);
        let told = [800, 799, 800, 899, 900, 800, 0].map(|free| room.allows(free));
        assert_eq!(told, [true, false, false, false, true, true, false]);
        assert!(Room::new(0).allows(0), "no floor");
    }

    /// However deep it lies in what the store, the guard or the system say.
    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let stops = |errno: rustix::io::Errno| {
            let source = || io::Error::from_raw_os_error(errno.raw_os_error());
            let object = object_store::Error::Generic { store: "test", source: Box::new(source()) };
            [
                Stop::from(StoreError::Commit { number: 7, source: source() }),
                Stop::from(StoreError::Object { name: "tile/0/000".into(), source: object }),
                Stop::from(GuardError::Io { path: "guard".into(), source: source() }),
            ]
        };
        assert!(stops(rustix::io::Errno::NOSPC).iter().all(|stop| is_full(stop)));
        assert!(stops(rustix::io::Errno::DQUOT).iter().all(|stop| is_full(stop)));
        assert!(!stops(rustix::io::Errno::IO).iter().any(|stop| is_full(stop)));
    }
}
