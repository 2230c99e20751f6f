//! What is in the spool: where each exchange lies, what is still to be delivered, which segments are done with. Rebuilt from
//! the records themselves at every start.

use std::collections::{BTreeMap, HashMap};

use counterfoil_receipt::{Timestamp, statement::Numbering};

use super::record::{ExchangeId, Head, Record, Spooled};

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Where its frame starts.
    pub offset: u64,
    /// The frame's length.
    pub length: u32,
}

/// An exchange that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it lies.
    pub place: Place,
    /// Its place in the spool.
    pub sequence: u64,
    /// When it was over.
    pub completed: Timestamp,
    /// Where the proof lies that its receipt is in the log, once it is.
    pub delivered: Option<Place>,
    /// Whether openings and claim key were handed to the operator.
    pub pushed: bool,
}

/// Everything that is known of the spool's records.
#[derive(Debug)]
pub struct State {
    /// Whose receipts are made now, and where the numbers go on.
    head: Head,
    exchanges: HashMap<ExchangeId, Kept>,
    /// Exchanges whose receipts are not in the log, by their place in the spool.
    undelivered: BTreeMap<u64, ExchangeId>,
    /// Exchanges that were not handed to the operator, by their place in the spool.
    unpushed: BTreeMap<u64, ExchangeId>,
    segments: BTreeMap<u64, Segment>,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    exchanges: Vec<ExchangeId>,
    newest: Option<Timestamp>,
}

/// What is done with an exchange before its segment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// Whether openings and claim keys are handed to the operator.
    pub push: bool,
}

impl State {
    /// A spool with nothing in it.
    pub fn new(head: Head) -> Self {
        Self {
            head,
            exchanges: HashMap::new(),
            undelivered: BTreeMap::new(),
            unpushed: BTreeMap::new(),
            segments: BTreeMap::new(),
        }
    }

    /// Takes a record that lies in the spool for good.
    pub fn take(&mut self, record: &Record, place: Place) {
        let segment = self.segments.entry(place.segment).or_default();
        segment.bytes += u64::from(place.length);
        match record {
            Record::Head(head) => self.head = head.clone(),
            Record::Exchange(spooled) => self.exchange(spooled, place),
            Record::Delivered(delivered) => {
                // The exchange may have expired since: then nobody asks for its proof.
                if let Some(exchange) = self.undelivered.remove(&delivered.sequence)
                    && let Some(kept) = self.exchanges.get_mut(&exchange)
                {
                    kept.delivered = Some(place);
                }
            }
            Record::Pushed { sequence } => {
                if let Some(exchange) = self.unpushed.remove(sequence)
                    && let Some(kept) = self.exchanges.get_mut(&exchange)
                {
                    kept.pushed = true;
                }
            }
        }
    }

    fn exchange(&mut self, spooled: &Spooled, place: Place) {
        let Spooled { sequence, exchange, completed, number, id, .. } = spooled;
        let kept = Kept { place, sequence: *sequence, completed: *completed, delivered: None, pushed: false };
        self.exchanges.insert(*exchange, kept);
        self.undelivered.insert(*sequence, *exchange);
        self.unpushed.insert(*sequence, *exchange);
        let segment = self.segments.entry(place.segment).or_default();
        segment.exchanges.push(*exchange);
        segment.newest = segment.newest.max(Some(*completed));
        self.head.sequence = sequence + 1;
        // There is a place after it: the writer gives none without.
        if let Some(next) = number.next() {
            self.head.next = Numbering { number: next, previous: Some(*id), ..self.head.next };
        }
    }

    /// Whose receipts are made now, and where numbers go on.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// An exchange by its name.
    pub fn find(&self, exchange: &ExchangeId) -> Option<&Kept> {
        self.exchanges.get(exchange)
    }

    /// The oldest exchanges whose receipts are not in the log, from one place in the spool on.
    pub fn undelivered(&self, from: u64) -> impl Iterator<Item = Kept> {
        self.undelivered.range(from..).filter_map(|(_, exchange)| self.exchanges.get(exchange)).copied()
    }

    /// How many receipts are not in the log.
    pub fn undelivered_count(&self) -> usize {
        self.undelivered.len()
    }

    /// The oldest exchanges that were not handed to the operator, from one place in the spool on.
    pub fn unpushed(&self, from: u64) -> impl Iterator<Item = Kept> {
        self.unpushed.range(from..).filter_map(|(_, exchange)| self.exchanges.get(exchange)).copied()
    }

    /// How many bytes all segments have.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// The bytes of one segment.
    pub fn segment_bytes(&self, segment: u64) -> u64 {
        self.segments.get(&segment).map_or(0, |segment| segment.bytes)
    }

    /// Whether a segment holds exchanges.
    pub fn segment_has_exchanges(&self, segment: u64) -> bool {
        self.segments.get(&segment).is_some_and(|segment| !segment.exchanges.is_empty())
    }

    /// The newest segment.
    pub fn newest_segment(&self) -> Option<u64> {
        self.segments.keys().next_back().copied()
    }

    /// Forgets the oldest segments, as far as all in them is done with and was over before `expired`, and names them.
    ///
    /// Oldest first and never the newest: proofs lie behind what they prove.
    pub fn forget(&mut self, expired: Timestamp, duties: Duties) -> Vec<u64> {
        let mut forgotten = Vec::new();
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.first_entry()
        {
            let is_done = |exchange| {
                let kept: Option<&Kept> = self.exchanges.get(exchange);
                kept.is_none_or(|kept| kept.delivered.is_some() && (kept.pushed || !duties.push))
            };
            let is_expired = oldest.get().newest.is_none_or(|newest| newest < expired);
            if !is_expired || !oldest.get().exchanges.iter().all(is_done) {
                break;
            }
            let (number, segment) = oldest.remove_entry();
            for exchange in segment.exchanges {
                if let Some(kept) = self.exchanges.remove(&exchange) {
                    self.unpushed.remove(&kept.sequence);
                }
            }
            forgotten.push(number);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::{
        Id,
        statement::{Number, StreamId},
    };
    use zeroize::Zeroizing;

    use super::{super::record::Delivered, *};

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn head() -> Head {
        let next = Numbering { stream: StreamId::new([1; 16]), number: Number::FIRST, previous: None };
        Head { log: "log.example".to_owned(), issuer: "key".to_owned(), next, sequence: 0 }
    }

    fn exchange(sequence: u64) -> Record {
        Record::Exchange(Spooled {
            sequence,
            exchange: [u8::try_from(sequence).unwrap(); 16],
            credential: [0; 32],
            completed: at(sequence * 10),
            number: Number::new(sequence).unwrap(),
            id: Id::of_statement(&[u8::try_from(sequence).unwrap()]),
            envelope: String::new(),
            openings: Zeroizing::new(String::new()),
            claim: None,
        })
    }

    fn delivered(sequence: u64) -> Record {
        Record::Delivered(Delivered { sequence, entry: String::new(), proof: String::new() })
    }

    fn place(segment: u64, offset: u64) -> Place {
        Place { segment, offset, length: 100 }
    }

    #[test]
    fn numbers_go_on_where_the_last_receipt_is() {
        let mut state = State::new(head());
        for sequence in 0..3 {
            assert_eq!(state.head().next.number.get(), sequence);
            state.take(&exchange(sequence), place(1, sequence * 100));
        }
        assert_eq!(state.head().next.previous, Some(Id::of_statement(&[2])));
        assert_eq!(state.undelivered(1).map(|kept| kept.sequence).collect::<Vec<_>>(), [1, 2]);
        state.take(&delivered(1), place(1, 300));
        assert_eq!(state.undelivered(0).map(|kept| kept.sequence).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(state.find(&[1; 16]).unwrap().delivered, Some(place(1, 300)));
        assert_eq!((state.undelivered_count(), state.bytes(), state.find(&[9; 16])), (2, 400, None));
    }

    /// A segment goes when all in it is delivered, handed over and expired, and everything before it has gone.
    #[test]
    fn segments_go_oldest_first_when_they_are_done_with() {
        let mut state = State::new(head());
        for sequence in 0..6 {
            state.take(&exchange(sequence), place(1 + sequence / 2, 0));
        }
        let (push, keep) = (Duties { push: true }, Duties { push: false });
        assert_eq!(state.forget(at(1000), keep), [0_u64; 0]);
        for sequence in [0, 1, 3, 4, 5] {
            state.take(&delivered(sequence), place(3, 0));
        }
        assert_eq!(state.forget(at(10), keep), [0_u64; 0], "the second one is of that moment");
        assert_eq!(state.forget(at(11), push), [0_u64; 0], "nothing was handed over");
        assert_eq!(state.forget(at(11), keep), [1]);
        assert_eq!(state.find(&[0; 16]), None);
        assert_eq!(state.forget(at(1000), keep), [0_u64; 0], "2 is not delivered");
        state.take(&delivered(2), place(3, 0));
        assert_eq!(state.forget(at(1000), keep), [2], "the newest stays");
        state.take(&delivered(0), place(3, 0));
        assert_eq!(state.unpushed(0).map(|kept| kept.sequence).collect::<Vec<_>>(), [4, 5]);
        state.take(&Record::Pushed { sequence: 4 }, place(3, 0));
        assert_eq!(state.unpushed(0).count(), 1);
    }
}
