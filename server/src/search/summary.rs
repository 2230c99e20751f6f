//! What an issuer did in one run: how many records of each kind, and how far each of its streams went.

use std::collections::BTreeMap;

use counterfoil_receipt::Kind;

use super::terms::Place;

/// As many streams of an issuer are told apart in one run.
pub const STREAMS_MAX: usize = 256;

const STREAM_BYTES: usize = 16 + 8 + 2;
const COUNT_BYTES: usize = 1 + 4;

/// What an issuer did, in entries that follow one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    counts: BTreeMap<u8, u32>,
    streams: BTreeMap<[u8; 16], (u64, u16)>,
    /// Whether there were more streams.
    more: bool,
}

impl Summary {
    /// Counts a record at a position of the run.
    pub fn add(&mut self, kind: Kind, place: Option<Place>, position: u16) {
        *self.counts.entry(code(kind)).or_default() += 1;
        let Some(Place { stream, number }) = place else { return };
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&stream) {
            self.more = true;
            return;
        }
        let highest = self.streams.entry(stream).or_insert((number, position));
        if number >= highest.0 {
            *highest = (number, position);
        }
    }

    /// How many records of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        self.counts
            .iter()
            .filter_map(|(code, count)| Some((*Kind::ALL.get(usize::from(*code))?, u64::from(*count))))
    }

    /// Streams, each with its highest number and where that is.
    pub fn streams(&self) -> impl Iterator<Item = ([u8; 16], u64, u16)> + '_ {
        self.streams.iter().map(|(stream, (number, position))| (*stream, *number, *position))
    }

    /// Whether there were more streams than these.
    pub const fn has_more(&self) -> bool {
        self.more
    }

    /// Appends its bytes: at most 7 KB.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.more));
        out.push(u8::try_from(self.counts.len()).expect("there are few kinds"));
        for (kind, count) in &self.counts {
            out.push(*kind);
            out.extend_from_slice(&count.to_be_bytes());
        }
        for (stream, (number, position)) in &self.streams {
            out.extend_from_slice(stream);
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&position.to_be_bytes());
        }
    }

    /// Reads what [`Summary::write`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&[more, kinds], rest) = bytes.split_first_chunk()?;
        let (counts, streams) = rest.split_at_checked(usize::from(kinds) * COUNT_BYTES)?;
        let (counts, _) = counts.as_chunks::<COUNT_BYTES>();
        let counts = counts.iter().map(|[kind, count @ ..]| (*kind, u32::from_be_bytes(*count))).collect();
        let (streams, left) = streams.as_chunks::<STREAM_BYTES>();
        let read = |bytes: &[u8; STREAM_BYTES]| {
            let (stream, rest) = bytes.split_first_chunk()?;
            let (number, position) = rest.split_first_chunk()?;
            let position = u16::from_be_bytes(*position.first_chunk()?);
            Some((*stream, (u64::from_be_bytes(*number), position)))
        };
        let streams = streams.iter().map(read).collect::<Option<_>>()?;
        left.is_empty().then_some(Self { counts, streams, more: more != 0 })
    }
}

fn code(kind: Kind) -> u8 {
    let place = Kind::ALL.iter().position(|known| *known == kind);
    place.and_then(|place| u8::try_from(place).ok()).expect("a kind is one of all")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The highest number of each stream is found, whatever order they come in; beyond the limit it is said that there is more.
    #[test]
    fn streams_and_kinds_are_summed_up() {
        let mut summary = Summary::default();
        for n in 0..300_u16 {
            let place = Place { stream: [u8::try_from(n % 7).unwrap(); 16], number: u64::from(n * 31 % 300) };
            summary.add(Kind::Receipt, Some(place), n);
        }
        summary.add(Kind::Policy, None, 300);
        let read = |summary: &Summary| {
            let mut bytes = Vec::new();
            summary.write(&mut bytes);
            assert!(!bytes.is_empty() && Summary::read(&bytes[..bytes.len() - 1]).is_none());
            Summary::read(&bytes).unwrap()
        };
        assert_eq!(read(&summary), summary);
        assert!(!summary.has_more());
        assert_eq!(summary.counts().collect::<Vec<_>>(), [(Kind::Receipt, 300), (Kind::Policy, 1)]);
        for (stream, number, position) in summary.streams() {
            let numbers = (0..300_u16).filter(|n| n % 7 == u16::from(stream[0])).map(|n| n * 31 % 300);
            assert_eq!(Some(number), numbers.max().map(u64::from));
            assert_eq!(u64::from(position * 31 % 300), number);
        }
        for n in 0..300_u64 {
            let stream = *[n.to_be_bytes(), [9; 8]].concat().first_chunk().unwrap();
            summary.add(Kind::Void, Some(Place { stream, number: n }), 7);
        }
        assert!(summary.has_more() && summary.streams().count() == STREAMS_MAX);
        assert_eq!(read(&summary), summary);
    }
}
