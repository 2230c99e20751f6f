//! All records of a log in order, read once, and proven complete by the root over them.
//!
//! What a walk hands out is the log's word until it has ended: only then is it known that these are all the entries of the
//! tree, and no others.

use std::collections::HashMap;

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, TreeHead, TreeSize,
    bundle::parse_bundle,
    tile::{TILE_WIDTH, TileKind, TilePath},
    tree::TreeError,
};
use counterfoil_receipt::{
    Entry, Kind, Statement,
    admission::{Candidate, Chain, Ledger, Link, NotAdmitted, Replay},
    completeness::Completeness,
    entry::EntryError,
    standing::{Docket, Matter, Record},
    statement::{FrameError, Origin, Subject},
};

use crate::{
    log::{Log, LogError},
    source::SourceError,
};

/// A walk through a log from its first entry on.
#[derive(Debug)]
pub struct Walk<'l> {
    log: &'l Log,
    signed: TreeHead,
    to: TreeSize,
    frontier: Frontier,
}

/// A leaf as it was read.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Where it is.
    pub index: LeafIndex,
    /// Its hash.
    pub hash: Hash,
    /// The entry; none if this program cannot read it.
    pub entry: Option<Entry>,
}

impl<'l> Walk<'l> {
    /// A walk through the first `to` entries of a log, whose tree of size and root `signed` was signed.
    ///
    /// # Errors
    /// [`TreeError`] if the tree has not so many.
    pub fn new(log: &'l Log, signed: TreeHead, to: TreeSize) -> Result<Self, TreeError> {
        if to > signed.size {
            return Err(TreeError::Backwards { old: to, new: signed.size });
        }
        Ok(Self { log, signed, to, frontier: Frontier::new() })
    }

    /// How far it went.
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The leaves of the next bundle; none at the end, once it is proven that all of them were those of the signed tree.
    pub async fn next(&mut self) -> Result<Option<Vec<Leaf>>, WalkError> {
        if self.frontier.size() == self.to {
            self.prove().await?;
            return Ok(None);
        }
        let path = self.path(TileKind::Entries);
        let bytes = self.log.source().fetch_tile(path).await.map_err(LogError::Source)?;
        let bytes = bytes.ok_or(LogError::Gone { path })?;
        let items = parse_bundle(&bytes).map_err(|reason| LogError::Bundle { path, reason })?;
        if items.len() as u64 != path.width {
            return Err(LogError::Gone { path }.into());
        }
        let mut leaves = Vec::with_capacity(items.len());
        for item in items {
            let (index, hash) = (self.frontier.size().next_index(), Hash::leaf(item));
            self.frontier.push(hash, drop).map_err(LogError::Tree)?;
            leaves.push(Leaf { index, hash, entry: Entry::parse(item).ok() });
        }
        Ok(Some(leaves))
    }

    /// The statements that go with the leaves that [`Walk::next`] gave last; none if the log shows none to strangers.
    pub async fn statements(&self) -> Result<Option<Vec<Bytes>>, WalkError> {
        let last = self.frontier.size().get().saturating_sub(1);
        let path = TilePath::full(TileKind::Statements, last / TILE_WIDTH);
        let path = TilePath { width: path.width_at(self.to), ..path };
        let bytes = match self.log.source().fetch_tile(path).await {
            Ok(bytes) => bytes.ok_or(LogError::Gone { path })?,
            Err(SourceError::Status { status: 401 | 403, .. }) => return Ok(None),
            Err(error) => return Err(LogError::Source(error).into()),
        };
        let items = parse_bundle(&bytes).map_err(|reason| LogError::Bundle { path, reason })?;
        if items.len() as u64 != path.width {
            return Err(LogError::Gone { path }.into());
        }
        Ok(Some(items.into_iter().map(|item| bytes.slice_ref(item)).collect()))
    }

    fn path(&self, kind: TileKind) -> TilePath {
        let path = TilePath::full(kind, self.frontier.size().get() / TILE_WIDTH);
        TilePath { width: path.width_at(self.to), ..path }
    }

    async fn prove(&self) -> Result<(), WalkError> {
        let read = self.frontier.head();
        if read.size == self.signed.size {
            return if read == self.signed {
                Ok(())
            } else {
                Err(WalkError::OtherTree { size: read.size, read: read.root, signed: self.signed.root })
            };
        }
        self.log.consistency(read, self.signed).await?;
        Ok(())
    }
}

/// What a docket gathered, and what it could not see.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The docket.
    pub docket: Docket,
    /// Whether the log keeps its statements from strangers.
    pub withheld: bool,
}

/// Takes records in index order, and asks for those statements that it needs.
trait Reader {
    /// Whether the statement of this record is needed.
    fn needs(&self, leaf: Hash, entry: &Entry) -> bool;
    /// Takes the next record.
    fn take(&mut self, record: Record);
    /// Takes the next entry, which cannot be read.
    fn pass(&mut self);
}

impl Reader for Docket {
    fn needs(&self, leaf: Hash, entry: &Entry) -> bool {
        self.needs(leaf, entry)
    }

    fn take(&mut self, record: Record) {
        self.take(record);
    }

    fn pass(&mut self) {
        self.pass();
    }
}

impl Reader for Completeness {
    fn needs(&self, _: Hash, entry: &Entry) -> bool {
        self.needs(entry)
    }

    fn take(&mut self, Record { index, leaf, entry, statement }: Record) {
        self.take(index, leaf, &entry, statement.as_ref());
    }

    fn pass(&mut self) {
        self.pass();
    }
}

/// Takes a reader through a log. Gives whether the log keeps its statements from strangers.
async fn go_through(
    mut walk: Walk<'_>,
    reader: &mut impl Reader,
    progress: &mut dyn FnMut(TreeSize),
) -> Result<bool, WalkError> {
    let mut withheld = false;
    while let Some(leaves) = walk.next().await? {
        let first = leaves.first().map_or(0, |leaf| leaf.index.get());
        let mut statements = None;
        for Leaf { index, hash: leaf, entry } in leaves {
            let Some(entry) = entry else {
                reader.pass();
                continue;
            };
            let mut statement = None;
            if reader.needs(leaf, &entry) && !withheld {
                if statements.is_none() {
                    statements = walk.statements().await?;
                    withheld = statements.is_none();
                }
                let slot = usize::try_from(index.get() - first).unwrap_or(usize::MAX);
                let bytes = statements.as_ref().and_then(|statements| statements.get(slot));
                statement = read(&entry, index, bytes.map_or(&[][..], |bytes| bytes))?;
            }
            reader.take(Record { index, leaf, entry, statement });
        }
        progress(walk.size());
    }
    Ok(withheld)
}

/// Gathers from a log what concerns the matter of a docket: all entries, and those statements that are needed.
pub async fn gather(
    walk: Walk<'_>,
    mut docket: Docket,
    progress: &mut dyn FnMut(TreeSize),
) -> Result<Gathered, WalkError> {
    let withheld = go_through(walk, &mut docket, progress).await?;
    Ok(Gathered { docket, withheld })
}

/// Takes an issuer's streams through a log: all entries, and the statements of the issuer's own.
///
/// Gives whether the log keeps its statements from strangers: then what entries say of numbers is the log's word.
pub async fn complete(
    walk: Walk<'_>,
    audit: &mut Completeness,
    progress: &mut dyn FnMut(TreeSize),
) -> Result<bool, WalkError> {
    go_through(walk, audit, progress).await
}

/// What a record of a log is all about: the receipt, or whatever its chain ends at. None if there is no such record.
///
/// `is` picks the record. The answer is proven once the walk has ended.
pub async fn find_matter(
    mut walk: Walk<'_>,
    is: &dyn Fn(LeafIndex, Hash, &Entry) -> bool,
    progress: &mut dyn FnMut(TreeSize),
) -> Result<Option<Matter>, WalkError> {
    // What each follow-up is about; receipts are about nothing and leave no trace.
    let (mut above, mut outside) = (HashMap::new(), HashMap::new());
    let mut found = None;
    while let Some(leaves) = walk.next().await? {
        let first = leaves.first().map_or(0, |leaf| leaf.index.get());
        for Leaf { index, hash, entry } in leaves {
            let Some(entry) = entry else { continue };
            if let Some(about) = entry.about {
                above.insert(hash, about);
            }
            if entry.kind == Kind::Dispute && entry.about.is_none() {
                let statements = walk.statements().await?.unwrap_or_default();
                let slot = usize::try_from(index.get() - first).unwrap_or(usize::MAX);
                let bytes = statements.get(slot).map_or(&[][..], |bytes| bytes);
                match read(&entry, index, bytes)?.map(|statement| statement.subject) {
                    Some(Subject::Promise(id)) => outside.insert(hash, Matter::Promise(id)),
                    Some(Subject::Elsewhere(leaf)) => outside.insert(hash, Matter::Elsewhere(leaf)),
                    _ => None,
                };
            }
            if found.is_none() && is(index, hash, &entry) {
                found = Some(hash);
            }
        }
        progress(walk.size());
    }
    let Some(mut leaf) = found else { return Ok(None) };
    // A record is about an earlier one, so this ends.
    while let Some(about) = above.get(&leaf) {
        leaf = *about;
    }
    Ok(Some(outside.remove(&leaf).unwrap_or(Matter::Record(leaf))))
}

/// Who holds which role in a log by the end of a walk: from the records that decide so, each judged by those before it.
///
/// # Errors
/// [`WalkError::NotAdmitted`] if the log took one that it should not have.
pub async fn ledger(mut walk: Walk<'_>, progress: &mut dyn FnMut(TreeSize)) -> Result<Ledger, WalkError> {
    let mut ledger = Ledger::new(walk.log.known().key.name().as_str().parse::<Origin>()?);
    let mut cards: HashMap<Hash, Link> = HashMap::new();
    while let Some(leaves) = walk.next().await? {
        let first = leaves.first().map_or(0, |leaf| leaf.index.get());
        let mut statements = None;
        for Leaf { index, hash, entry } in leaves {
            let Some(entry) = entry.filter(|entry| Ledger::is_changed_by(entry.kind)) else { continue };
            if statements.is_none() {
                statements = Some(walk.statements().await?.ok_or(WalkError::Withheld)?);
            }
            let slot = usize::try_from(index.get() - first).unwrap_or(usize::MAX);
            let bytes = statements.as_ref().and_then(|statements| statements.get(slot));
            let bytes = bytes.map_or(&[][..], |bytes| bytes);
            let statement = read(&entry, index, bytes)?;
            let chain = Chain::of(entry.about).fill(|leaf| cards.get(&leaf).cloned());
            ledger.skip_to(TreeSize::new(index.get()).map_err(LogError::Tree)?);
            let record = Candidate::logged(&entry, statement.as_ref());
            let judged = ledger.judge(&record, &chain, entry.at).map(drop).map_err(NotAdmitted::from);
            let taken = judged.and_then(|()| Ok(ledger.take(&record, hash)?));
            taken.map_err(|reason| WalkError::NotAdmitted { index, reason })?;
            cards.insert(hash, Link::new(index, hash, entry, bytes));
        }
        progress(walk.size());
    }
    ledger.skip_to(walk.size());
    Ok(ledger)
}

/// The statement of an entry; none if its slot is empty.
fn read(entry: &Entry, index: LeafIndex, bytes: &[u8]) -> Result<Option<Statement>, WalkError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    entry.check_statement(bytes).map(Some).map_err(|reason| WalkError::Statement { index, reason })
}

/// Replays the admission of a log up to where the walk ends; then fills `chain`, that of a record judged there.
///
/// Remembers where each leaf is, some 40 bytes a record; the few that others are about are read again.
pub async fn replay(
    mut walk: Walk<'_>,
    mut chain: Chain,
    progress: &mut dyn FnMut(TreeSize),
) -> Result<(Replay, Chain), WalkError> {
    let log = walk.log;
    let mut replay = Replay::new(log.known().key.name().as_str().parse::<Origin>()?);
    let mut places = Places { log, size: walk.signed.size, indexes: HashMap::new() };
    while let Some(leaves) = walk.next().await? {
        let statements = walk.statements().await?.ok_or(WalkError::Withheld)?;
        for (Leaf { index, hash, entry }, bytes) in leaves.into_iter().zip(&statements) {
            let entry = entry.ok_or(WalkError::Unreadable { index })?;
            let statement = read(&entry, index, bytes)?;
            let own = places.fill(Chain::of(entry.about)).await?;
            let passed = replay.next(&entry, hash, statement.as_ref(), &own);
            let _whole_or_in_part = passed.map_err(|reason| WalkError::NotAdmitted { index, reason })?;
            places.indexes.insert(start(hash), index);
        }
        progress(walk.size());
    }
    chain = places.fill(chain).await?;
    Ok((replay, chain))
}

/// Where the leaves of a log are, by the first half of their hashes.
struct Places<'l> {
    log: &'l Log,
    size: TreeSize,
    indexes: HashMap<[u8; 16], LeafIndex>,
}

impl Places<'_> {
    async fn fill(&self, mut chain: Chain) -> Result<Chain, WalkError> {
        while let Some(leaf) = chain.wants() {
            chain.put(self.find(leaf).await?);
        }
        Ok(chain)
    }

    async fn find(&self, leaf: Hash) -> Result<Option<Link>, WalkError> {
        let Some(&index) = self.indexes.get(&start(leaf)) else { return Ok(None) };
        let entry = self.log.entry(index, self.size).await?;
        // Another leaf with the same beginning is not the one that was asked for.
        let Some(read) = Entry::parse(&entry).ok().filter(|_| Hash::leaf(&entry) == leaf) else {
            return Ok(None);
        };
        let statement = self.log.statement(index, self.size).await?;
        Ok(Some(Link::new(index, leaf, read, &statement)))
    }
}

fn start(leaf: Hash) -> [u8; 16] {
    *leaf.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Why a walk came to no end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// Something of the log could not be read, or is not as it must be.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The entries are not those of the signed tree.
    #[error("the first {size} entries give root {read}, signed is {signed}")]
    OtherTree {
        /// How many there are.
        size: TreeSize,
        /// The root that they give.
        read: Hash,
        /// The root that was signed.
        signed: Hash,
    },
    /// A statement is not that of its entry.
    #[error("entry {index}: {reason}")]
    Statement {
        /// Where.
        index: LeafIndex,
        /// What is wrong with it.
        reason: EntryError,
    },
    /// An entry that a replay cannot go past.
    #[error("entry {index} is of a kind that this program does not know")]
    Unreadable {
        /// Where.
        index: LeafIndex,
    },
    /// The log shows its statements to others only.
    #[error("the log shows its statements to token holders only")]
    Withheld,
    /// A record should not be in the log.
    #[error("entry {index}: {reason}")]
    NotAdmitted {
        /// Where.
        index: LeafIndex,
        /// Why.
        reason: NotAdmitted,
    },
    /// The log's name is not one that records can be meant for.
    #[error(transparent)]
    Origin(#[from] FrameError),
}

impl WalkError {
    /// Whether nothing is known; else the log is not as it should be.
    pub const fn is_silence(&self) -> bool {
        match self {
            Self::Log(error) => error.is_silence(),
            Self::Unreadable { .. } | Self::Withheld | Self::Origin(_) => true,
            Self::OtherTree { .. } | Self::Statement { .. } | Self::NotAdmitted { .. } => false,
        }
    }
}
