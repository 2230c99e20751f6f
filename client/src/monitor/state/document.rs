//! The state as JSON.

use std::{collections::BTreeMap, path::Path};

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, TreeSize,
    checkpoint::SignedCheckpoint,
    growth::Growth,
    key::VerifierKey,
    tile::{TILE_LEVEL_MAX, TileId, TileTree},
    tree::Subtree,
};
use counterfoil_receipt::{
    Id, PublicKey, Timestamp,
    audit::{
        Audit, Erasures, Streams, Times,
        erasures::{Empty, Order},
        streams::{Ahead, Stream, StreamKey},
        times::{Attested, Turn},
    },
};
use serde::{Deserialize, Serialize};

use super::{Newest, Pending, State, StateError, agenda::AgendaDocument};
use crate::monitor::{cosigners::WitnessSeen, views::View};

const VERSION: u32 = 1;

/// The first line of `monitor.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    version: u32,
    /// Which state this is, counted from 1, and the digest of the one before it.
    number: u64,
    previous: String,
    log_key: String,
    clock_key: Option<String>,
    size: u64,
    root: String,
    /// Hashes of the ragged tile of each level, from the lowest up.
    edge: Vec<Vec<String>>,
    newest: Option<NewestDocument>,
    /// Checkpoint, and when it was first seen, in ms.
    pending: Vec<(String, u64)>,
    /// Date of the newest entry, in ms.
    at: Option<u64>,
    /// Index and date.
    turns: Vec<(u64, u64)>,
    /// Size, earliest and latest time in seconds.
    attested: Vec<(u64, u64, u64)>,
    streams: Vec<StreamDocument>,
    streams_overflowed: bool,
    erasures: ErasuresDocument,
    agenda: AgendaDocument,
    /// In ms.
    advanced: Option<u64>,
    views: BTreeMap<String, View>,
    witnesses: BTreeMap<String, WitnessSeen>,
    keeps: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewestDocument {
    checkpoint: String,
    /// Hashes of what its tree has right of what was read.
    right: Vec<String>,
    /// When it was first seen, in ms.
    seen: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamDocument {
    key: String,
    next: u64,
    last: Option<String>,
    proven_from: u64,
    ahead: Vec<AheadDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErasuresDocument {
    /// Leaf hash, index, issuer and claim key.
    empty: Vec<(String, u64, String, Option<String>)>,
    orders: Vec<OrderDocument>,
    gone: Vec<String>,
    operator: Option<String>,
    /// Key and successor.
    successors: Vec<(String, String)>,
    overflowed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderDocument {
    record: u64,
    /// In ms.
    at: u64,
    about: String,
    signer: String,
    target: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AheadDocument {
    number: u64,
    id: String,
    previous: Option<String>,
    index: u64,
    at: u64,
}

impl Document {
    pub(super) fn of(
        state: &State,
        log: &VerifierKey,
        clock: Option<&VerifierKey>,
        number: u64,
        previous: Hash,
    ) -> Self {
        let (audit, head) = (&state.audit, state.head());
        let hashes = |tile: &TileTree| {
            let positions = 0..=u16::from(u8::MAX);
            positions.map_while(|position| tile.hash(position)).map(|hash| hash.to_string()).collect()
        };
        let edge = |level| audit.frontier().tile(level).map(hashes).unwrap_or_default();
        let times = audit.times();
        let mut streams: Vec<_> = audit.streams().followed.iter().map(StreamDocument::of).collect();
        streams.sort_by(|one, other| one.key.cmp(&other.key));
        Self {
            version: VERSION,
            number,
            previous: previous.to_string(),
            log_key: log.to_string(),
            clock_key: clock.map(ToString::to_string),
            size: head.size.get(),
            root: head.root.to_string(),
            edge: (0..=TILE_LEVEL_MAX).map(edge).collect(),
            newest: state.newest.as_ref().map(NewestDocument::of),
            pending: state.pending.iter().map(|p| (p.checkpoint.to_string(), p.seen.millis())).collect(),
            at: times.at.map(Timestamp::millis),
            turns: times.turns.iter().map(|turn| (turn.index.get(), turn.at.millis())).collect(),
            attested: times.attested.iter().map(|a| (a.size.get(), a.earliest_s, a.latest_s)).collect(),
            streams,
            streams_overflowed: audit.streams().overflowed,
            erasures: ErasuresDocument::of(audit.erasures()),
            agenda: AgendaDocument::of(&state.agenda),
            advanced: state.advanced.map(Timestamp::millis),
            views: state.views.clone(),
            witnesses: state.witnesses.clone(),
            keeps: state.keeps,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn previous(&self) -> Option<Hash> {
        self.previous.parse().ok()
    }

    /// The state, if it is that of this log and holds together; the tiles are still to be checked.
    pub(super) fn restore(
        self,
        log: &VerifierKey,
        clock: Option<&VerifierKey>,
        path: &Path,
    ) -> Result<State, StateError> {
        let path = path.to_owned();
        if self.version != VERSION {
            return Err(StateError::Version { path, version: self.version });
        }
        if self.log_key != log.to_string() {
            return Err(StateError::OtherLog { path, kept: self.log_key, given: log.to_string() });
        }
        if let (Some(kept), Some(given)) = (&self.clock_key, clock.map(ToString::to_string))
            && *kept != given
        {
            return Err(StateError::OtherLog { path, kept: kept.clone(), given });
        }
        self.read(log, clock).ok_or(StateError::Damaged { path })
    }

    fn read(self, log: &VerifierKey, clock: Option<&VerifierKey>) -> Option<State> {
        let kept = match self.clock_key {
            Some(key) => Some(key.parse().ok()?),
            None => None,
        };
        let size = TreeSize::new(self.size).ok()?;
        let frontier = frontier(size, &self.edge)?;
        if frontier.root().to_string() != self.root {
            return None;
        }
        let newest = match self.newest {
            Some(newest) => Some(newest.read(&frontier)?),
            None => None,
        };
        let times = Times {
            at: moment(self.at)?,
            turns: self.turns.into_iter().map(turn).collect::<Option<_>>()?,
            attested: self.attested.into_iter().map(attested).collect::<Option<_>>()?,
        };
        let followed = self.streams.into_iter().map(StreamDocument::read).collect::<Option<_>>()?;
        let streams = Streams { followed, overflowed: self.streams_overflowed };
        let audit = Audit::resume(log.clone(), clock.cloned().or(kept), frontier, times, streams)
            .with_erasures(self.erasures.read()?);
        let (views, witnesses, keeps) = (self.views, self.witnesses, self.keeps);
        let pending = self.pending.into_iter().map(pending).collect::<Option<_>>()?;
        let agenda = self.agenda.read()?;
        Some(State {
            audit,
            agenda,
            newest,
            pending,
            advanced: moment(self.advanced)?,
            views,
            witnesses,
            keeps,
        })
    }
}

impl NewestDocument {
    fn of(newest: &Newest) -> Self {
        Self {
            checkpoint: newest.checkpoint.to_string(),
            right: newest.ahead.right().iter().map(ToString::to_string).collect(),
            seen: newest.seen.millis(),
        }
    }

    fn read(self, frontier: &Frontier) -> Option<Newest> {
        let checkpoint: SignedCheckpoint = self.checkpoint.parse().ok()?;
        let cover = Subtree::whole(frontier.size()).cover();
        let own: Vec<Hash> = cover.into_iter().map(|node| frontier.node(node)).collect::<Option<_>>()?;
        let right: Vec<Hash> = self.right.iter().map(|hash| hash.parse().ok()).collect::<Option<_>>()?;
        let size = checkpoint.unverified().head.size;
        let ahead = Growth::new(frontier.size(), size, own, right).ok()?;
        Some(Newest { checkpoint, ahead, seen: Timestamp::from_millis(self.seen)? })
    }
}

impl StreamDocument {
    fn of((key, stream): (&StreamKey, &Stream)) -> Self {
        let ahead = |(number, ahead): (&u64, &Ahead)| AheadDocument {
            number: *number,
            id: ahead.id.to_string(),
            previous: ahead.previous.map(|id| id.to_string()),
            index: ahead.index.get(),
            at: ahead.at.millis(),
        };
        Self {
            key: key.0.to_string(),
            next: stream.next,
            last: stream.last.map(|id| id.to_string()),
            proven_from: stream.proven_from,
            ahead: stream.ahead.iter().map(ahead).collect(),
        }
    }

    fn read(self) -> Option<(StreamKey, Stream)> {
        let ahead = |ahead: AheadDocument| {
            let index = LeafIndex::new(ahead.index).ok()?;
            let (id, previous) = (ahead.id.parse().ok()?, optional(ahead.previous)?);
            Some((ahead.number, Ahead { id, previous, index, at: Timestamp::from_millis(ahead.at)? }))
        };
        let stream = Stream {
            next: self.next,
            last: optional(self.last)?,
            proven_from: self.proven_from,
            ahead: self.ahead.into_iter().map(ahead).collect::<Option<_>>()?,
        };
        Some((StreamKey(self.key.parse().ok()?), stream))
    }
}

impl ErasuresDocument {
    fn of(erasures: &Erasures) -> Self {
        let key = |key: &PublicKey| key.to_string();
        let empty = |(leaf, empty): (&Hash, &Empty)| {
            let Empty { index, issuer, claim } = empty;
            (leaf.to_string(), index.get(), key(issuer), claim.as_ref().map(key))
        };
        let order = |order: &Order| OrderDocument {
            record: order.record.get(),
            at: order.at.millis(),
            about: order.about.to_string(),
            signer: key(&order.signer),
            target: order.target.map(LeafIndex::get),
        };
        Self {
            empty: erasures.empty.iter().map(empty).collect(),
            orders: erasures.orders.iter().map(order).collect(),
            gone: erasures.gone.iter().map(ToString::to_string).collect(),
            operator: erasures.operator.as_ref().map(key),
            successors: erasures.successors.iter().map(|(old, new)| (key(old), key(new))).collect(),
            overflowed: erasures.overflowed,
        }
    }

    fn read(self) -> Option<Erasures> {
        let index = |index| LeafIndex::new(index).ok();
        let key = |text: Option<String>| text.map_or(Some(None), |text| text.parse().ok().map(Some));
        let empty = |(leaf, position, issuer, claim): (String, u64, String, Option<String>)| {
            let empty = Empty { index: index(position)?, issuer: issuer.parse().ok()?, claim: key(claim)? };
            Some((leaf.parse().ok()?, empty))
        };
        let order = |order: OrderDocument| {
            Some(Order {
                record: index(order.record)?,
                at: Timestamp::from_millis(order.at)?,
                about: order.about.parse().ok()?,
                signer: order.signer.parse().ok()?,
                target: match order.target {
                    Some(target) => Some(index(target)?),
                    None => None,
                },
            })
        };
        let successor = |(old, new): (String, String)| Some((old.parse().ok()?, new.parse().ok()?));
        Some(Erasures {
            empty: self.empty.into_iter().map(empty).collect::<Option<_>>()?,
            orders: self.orders.into_iter().map(order).collect::<Option<_>>()?,
            gone: self.gone.into_iter().map(|leaf| leaf.parse().ok()).collect::<Option<_>>()?,
            operator: key(self.operator)?,
            successors: self.successors.into_iter().map(successor).collect::<Option<_>>()?,
            overflowed: self.overflowed,
        })
    }
}

fn pending((checkpoint, seen): (String, u64)) -> Option<Pending> {
    Some(Pending { checkpoint: checkpoint.parse().ok()?, seen: Timestamp::from_millis(seen)? })
}

fn moment(millis: Option<u64>) -> Option<Option<Timestamp>> {
    millis.map_or(Some(None), |millis| Timestamp::from_millis(millis).map(Some))
}

fn optional(id: Option<String>) -> Option<Option<Id>> {
    id.map_or(Some(None), |id| id.parse().ok().map(Some))
}

fn turn((index, at): (u64, u64)) -> Option<Turn> {
    Some(Turn { index: LeafIndex::new(index).ok()?, at: Timestamp::from_millis(at)? })
}

fn attested((size, earliest_s, latest_s): (u64, u64, u64)) -> Option<Attested> {
    Some(Attested { size: TreeSize::new(size).ok()?, earliest_s, latest_s })
}

fn frontier(size: TreeSize, edge: &[Vec<String>]) -> Option<Frontier> {
    let mut tiles = Vec::new();
    for (id, width) in TileId::ragged(size) {
        let hashes = edge.get(usize::from(id.level))?;
        if hashes.len() as u64 != width {
            return None;
        }
        let hashes: Option<Vec<Hash>> = hashes.iter().map(|hash| hash.parse().ok()).collect();
        tiles.push(TileTree::from_hashes(hashes?));
    }
    Frontier::from_tiles(size, tiles).ok()
}
