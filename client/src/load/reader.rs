//! Connections that read, beside those that append or alone.

use std::{
    fmt,
    io::Write as _,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use counterfoil_merkle::{
    TreeHead,
    tile::{TILE_WIDTH, TileKind, TilePath},
};

use super::{LoadError, check::Check, connection::Connection, measured::Tally, schedule::Schedule};

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// An inclusion proof by index, at the newest size.
    Proof,
    /// A hash tile of the lowest level.
    Tile,
    /// An entry bundle.
    Entries,
    /// An entry with statement and proof, by index.
    Bundle,
    /// The checkpoint.
    Checkpoint,
}

impl Reading {
    /// Everything that can be read, in the order of its values.
    pub const ALL: [Self; 5] = [Self::Proof, Self::Tile, Self::Entries, Self::Bundle, Self::Checkpoint];

    /// Its name in a [`Mix`] and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Tile => "tile",
            Self::Entries => "entries",
            Self::Bundle => "bundle",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// How often each thing is read, as shares of a whole: `proof=3,tile=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    shares: [u32; Reading::ALL.len()],
}

impl Mix {
    /// What a number from a wide range falls to.
    fn pick(&self, number: u64) -> Reading {
        let total: u64 = self.shares.iter().map(|share| u64::from(*share)).sum();
        let mut at = number % total;
        for (reading, share) in Reading::ALL.into_iter().zip(self.shares) {
            match at.checked_sub(share.into()) {
                Some(rest) => at = rest,
                None => return reading,
            }
        }
        unreachable!("the shares add up to the total")
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = [0; Reading::ALL.len()];
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let position = Reading::ALL.iter().position(|reading| reading.name() == name);
            let names = || Reading::ALL.map(Reading::name).join(", ");
            let position = position.ok_or_else(|| format!("{name:?} is none of {}", names()))?;
            shares[position] = share.parse().map_err(|_| format!("{share:?} is no share"))?;
        }
        if shares.iter().all(|share| *share == 0) {
            return Err("nothing is read".to_owned());
        }
        Ok(Self { shares })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = Reading::ALL.iter().zip(self.shares).filter(|(_, share)| *share > 0);
        let shares: Vec<_> = shares.map(|(reading, share)| format!("{}={share}", reading.name())).collect();
        f.write_str(&shares.join(","))
    }
}

/// What all connections that read share.
pub(super) struct Readers {
    pub(super) host: String,
    pub(super) mix: Mix,
    pub(super) seed: u64,
    /// The tree that is read from.
    pub(super) head: TreeHead,
    pub(super) schedule: Schedule,
    pub(super) check: Option<Arc<Check>>,
}

impl Readers {
    /// Reads over one connection until there are no more turns.
    pub(super) async fn run(
        self: Arc<Self>,
        mut connection: Connection,
        tally: Arc<Mutex<Tally>>,
    ) -> Result<(), LoadError> {
        let mut request = Vec::new();
        while let Some(turn) = self.schedule.next().await {
            let random = mixed(self.seed ^ turn.number.wrapping_mul(2));
            let (reading, index) = (self.mix.pick(random), mixed(random) % self.head.size.get());
            request.clear();
            let (path, host) = (self.path(reading, index), &self.host);
            write!(request, "GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").expect("memory can be written to");
            let answer = connection.exchange(&request).await?;
            if answer.status != 200 {
                let text = String::from_utf8_lossy(answer.body).into_owned();
                return Err(LoadError::Status { status: answer.status, answer: text });
            }
            tally.lock().unwrap_or_else(PoisonError::into_inner).read(turn.due, reading);
            if let Some(check) = self.check.clone() {
                let body = answer.body.to_vec();
                let checked = tokio::task::spawn_blocking(move || check.read(reading, index, &body));
                checked.await.map_err(|_| LoadError::Thread)??;
            }
        }
        Ok(())
    }

    fn path(&self, reading: Reading, index: u64) -> String {
        let tile = |kind| {
            let mut path = TilePath::full(kind, index / TILE_WIDTH);
            path.width = path.width_at(self.head.size);
            format!("/{path}")
        };
        match reading {
            Reading::Proof => match &self.check {
                // A proof can be held against a signed root only at that root's size.
                Some(check) => format!("/v1/proofs/inclusion?index={index}&size={}", check.head().size),
                None => format!("/v1/proofs/inclusion?index={index}"),
            },
            Reading::Tile => tile(TileKind::Hashes(0)),
            Reading::Entries => tile(TileKind::Entries),
            Reading::Bundle => format!("/v1/entries/{index}"),
            Reading::Checkpoint => "/checkpoint".to_owned(),
        }
    }
}

/// A number that looks random, from one that does not (splitmix64).
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each thing is read as often as its share says, and a mix prints as it is read.
    #[test]
    fn shares_are_kept() {
        let mix: Mix = "tile,proof=3".parse().unwrap();
        assert_eq!(mix.to_string(), "proof=3,tile=1");
        let picked: Vec<_> = (0..8).map(|number| mix.pick(number)).collect();
        let count = |reading| picked.iter().filter(|picked| **picked == reading).count();
        assert_eq!((count(Reading::Proof), count(Reading::Tile)), (6, 2));
        for (text, message) in [
            ("", "is none of proof"),
            ("tiles", "is none of"),
            ("tile=x", "is no share"),
            ("tile=0", "nothing"),
        ] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
