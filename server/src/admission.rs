//! Who may append: the ledger of all that is committed, as the sequencer keeps it and workers judge by.

use std::sync::{Arc, PoisonError, RwLock};

use counterfoil_merkle::{Hash, LeafIndex, TreeSize};
use counterfoil_receipt::{
    Entry, Id, PublicKey, Statement, Timestamp,
    admission::{Blind, Candidate, Chain, Judged, Ledger, Link, Refused},
    entry::EntryError,
    key::Signer,
    refusal,
    statement::{Nonce, Origin, Refusal, Rules},
};
use tracing::error;

use crate::{
    log::Log,
    tiles::{Edge, ReadError},
};

/// How often a worker looks again for a record that is not there, while the log grows under its eyes.
const LOOKS_MAX: usize = 16;

/// What admission judges by.
#[derive(Default)]
pub struct Admission {
    state: RwLock<Option<State>>,
}

/// The ledger and the edge of one and the same committed size.
struct State {
    ledger: Ledger,
    edge: Arc<Edge>,
    at: Timestamp,
}

/// A record that was refused, and against what it was judged: a replay at that size gives the same rule.
#[derive(Clone, Debug)]
pub struct RefusedAt {
    /// Why.
    pub refused: Refused,
    /// How many entries it was judged against.
    pub size: TreeSize,
    /// At what time.
    pub at: Timestamp,
}

impl Admission {
    /// Starts from a recovered log.
    pub fn begin(&self, ledger: Ledger, edge: Arc<Edge>, at: Timestamp) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(State { ledger, edge, at });
    }

    /// Follows a committed batch: `decided` is the record in it that others are judged by, and its leaf hash. Such a record ends
    /// its batch.
    ///
    /// # Panics
    /// If nothing was begun.
    pub fn committed(&self, edge: Arc<Edge>, at: Timestamp, decided: Option<(&Statement, Hash)>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_mut().expect("a log is recovered before it is written to");
        let size = edge.size();
        if let Some((statement, leaf)) = decided {
            let before = LeafIndex::new(size.get() - 1).expect("the log has this entry");
            state.ledger.skip_to(TreeSize::new(before.get()).expect("smaller than the log"));
            let taken = state.ledger.take(&Candidate::new(statement), leaf);
            taken.expect("a new record has its statement");
        }
        state.ledger.skip_to(size);
        (state.edge, state.at) = (edge, at);
    }

    /// Judges a record as the next one after all that is committed.
    pub fn judge(&self, record: &Judged, at: Timestamp) -> Result<(), Refused> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_ref().expect("a log is recovered before it is written to");
        record.judge(&state.ledger, at)
    }

    /// Judges a new record against all that is committed, for the first time; its chain, if it may enter.
    ///
    /// `None` before the log is recovered.
    pub async fn judge_new(
        &self,
        log: &Log,
        statement: &Statement,
        now: Timestamp,
    ) -> Result<Option<Result<Chain, RefusedAt>>, ReadError> {
        for _ in 0..LOOKS_MAX {
            let Some(edge) = self.edge() else { return Ok(None) };
            let mut chain = Chain::of_statement(statement);
            while let Some(leaf) = chain.wants() {
                chain.put(look_up(log, &edge, leaf).await?);
            }
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let Some(state) = state.as_ref() else { return Ok(None) };
            // What was not there may have been appended since: it is looked up at the very size that is judged by.
            if chain.missing().is_some() && state.edge.size() != edge.size() {
                continue;
            }
            let at = now.max(state.at);
            let judged = state.ledger.judge(&Candidate::new(statement), &chain, at);
            let size = state.ledger.size();
            return Ok(Some(match judged.and_then(|pass| pass.for_new()) {
                Ok(()) => Ok(chain),
                Err(refused) => Err(RefusedAt { refused, size, at }),
            }));
        }
        Ok(None)
    }

    /// A refusal for what can be told without any record of the log, as of now. `None` before the log is recovered.
    pub fn refused_now(&self, refused: Refused, now: Timestamp) -> Option<RefusedAt> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_ref()?;
        Some(RefusedAt { refused, size: state.ledger.size(), at: now.max(state.at) })
    }

    /// Whether this is the operator's key, by the rules in force.
    pub fn is_operator(&self, key: &PublicKey) -> bool {
        self.rules().is_some_and(|rules| rules.operator == *key)
    }

    /// Whether a registrar registered a key, in whatever role.
    pub fn is_registered(&self, key: &PublicKey) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().is_some_and(|state| state.ledger.registered(key).is_some())
    }

    /// The rules in force.
    pub fn rules(&self) -> Option<Rules> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.as_ref()?.ledger.rules().cloned()
    }

    /// The edge of all that is committed. None before the log is recovered.
    pub fn edge(&self) -> Option<Arc<Edge>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&state.as_ref()?.edge))
    }
}

/// What a log with this edge has at a leaf.
pub async fn look_up(log: &Log, edge: &Edge, leaf: Hash) -> Result<Option<Link>, ReadError> {
    let Some(index) = log.find_leaf(edge, leaf).await? else { return Ok(None) };
    let Some(item) = log.tiles.item(edge, index).await? else { return Ok(None) };
    let entry = Entry::parse(&item.entry).map_err(|_| ReadError::Entry { index })?;
    Ok(Some(Link::new(index, leaf, entry, &item.statement)))
}

/// Folds the ledger of a log from the records that decide: the index says which those are.
pub async fn recover(log: &Log, edge: &Edge, origin: &Origin) -> Result<Ledger, LedgerError> {
    let mut ledger = Ledger::new(origin.clone());
    for position in log.deciding_records() {
        let index = LeafIndex::new(position).map_err(ReadError::Tree)?;
        let item = log.tiles.item(edge, index).await?.ok_or(ReadError::Entry { index })?;
        let entry = Entry::parse(&item.entry).map_err(|reason| LedgerError::Record { index, reason })?;
        let statement = (!item.statement.is_empty()).then(|| entry.check_statement(&item.statement));
        let statement = statement.transpose().map_err(|reason| LedgerError::Record { index, reason })?;
        ledger.skip_to(TreeSize::new(position).map_err(ReadError::Tree)?);
        ledger.take(&Candidate::logged(&entry, statement.as_ref()), Hash::leaf(&item.entry))?;
    }
    ledger.skip_to(edge.size());
    Ok(ledger)
}

/// Signs refusals with the operator's key.
pub struct Refusals {
    /// The log that they speak for.
    pub log: Origin,
    /// The operator's key.
    pub key: Arc<dyn Signer>,
}

impl Refusals {
    /// A refusal of a record, as an envelope; none if the record has no author.
    pub fn sign(&self, id: Id, refused: &RefusedAt) -> Option<String> {
        let RefusedAt { refused, size, at } = refused;
        let refusal = Refusal { id, rule: refused.rule()?, size: *size, at: *at };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).ok()?;
        match refusal::sign(refusal, self.log.clone(), Nonce::new(nonce), &*self.key) {
            Ok(envelope) => Some(envelope.envelope().to_json()),
            Err(error) => {
                error!(%error, "a refusal cannot be signed");
                None
            }
        }
    }
}

/// Why who may append is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Something of the log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that others are judged by is not what it was.
    #[error("entry {index}, which decides who may append: {reason}")]
    Record {
        /// Where.
        index: LeafIndex,
        /// What is wrong with it.
        reason: EntryError,
    },
    /// A record that others are judged by is gone.
    #[error(transparent)]
    Blind(#[from] Blind),
}
