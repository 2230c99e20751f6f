//! Making evidence out of two checkpoints that do not go together, from whatever tiles can still be had.
//!
//! What can be proven, and who has to have kept what:
//!
//! - two checkpoints of one size: nothing more is needed;
//! - two sizes: the hash tiles of the *larger* tree, or of any third one that the log signed and that is no smaller than
//!   both, for it cannot contain both. Whoever serves that tree will do, honest or not: tiles prove themselves;
//! - a checkpoint that came with a record (a bundle): the tiles of *any* tree that has that index, be it the smaller one.
//!
//! So a monitor, which keeps all hash tiles of the history that it follows, convicts every smaller checkpoint of another
//! history by itself, and every larger one once its own history has outgrown it; a person who kept a receipt from after the
//! fork convicts with the tiles of any other tree that reaches its index. Nobody convicts who has nothing but two checkpoints of different sizes, when
//! the larger tree is gone and no history ever grows past it: any smaller tree could be the beginning of the larger one, and
//! to show that it is not takes 32 bytes for every entry. That is what monitors are for.

use std::time::Duration;

use counterfoil_merkle::{
    Hash, LeafIndex, NodeId, TreeHead, checkpoint::SignedCheckpoint, evidence::ForkEvidence, growth::Growth,
    proof::InclusionProof, tlogproof::TlogProof,
};

use crate::{log::Log, source::Resource};

/// How long the tiles of a log are waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// A checkpoint that somebody was shown, and the record that it came with, if one did.
#[derive(Clone, Debug)]
pub struct Sighting {
    checkpoint: SignedCheckpoint,
    record: Option<(TlogProof, Hash)>,
}

impl Sighting {
    /// A checkpoint alone.
    pub const fn of(checkpoint: SignedCheckpoint) -> Self {
        Self { checkpoint, record: None }
    }

    /// The checkpoint of a proof, with the hash of the leaf that it proves.
    pub fn with_record(proof: TlogProof, leaf: Hash) -> Self {
        Self { checkpoint: proof.checkpoint().clone(), record: Some((proof, leaf)) }
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// What it states; not verified here.
    pub const fn head(&self) -> TreeHead {
        self.checkpoint.unverified().head
    }
}

/// Evidence out of two sightings alone: no tiles, no network.
pub fn prove_offline(log: &Log, one: &Sighting, other: &Sighting) -> Option<ForkEvidence> {
    let same_size = || Some(ForkEvidence::same_size(one.checkpoint.clone(), other.checkpoint.clone()));
    let two_leaves = || {
        let ((one, leaf), (other, other_leaf)) = (one.record.as_ref()?, other.record.as_ref()?);
        ForkEvidence::two_leaves((one, *leaf), (other, *other_leaf)).ok()
    };
    proven(log, same_size()).or_else(|| proven(log, two_leaves()))
}

/// Evidence that the log signed two histories, if these two checkpoints exclude one another and the tiles for it can be had
/// from where the log is read, within a minute or two. Reads some hundred tiles at most. Nothing found says nothing.
///
/// The log's present checkpoint is a third witness: of two that exclude one another it contains one at most.
pub async fn prove(log: &Log, one: &Sighting, other: &Sighting) -> Option<ForkEvidence> {
    // A log that is to be convicted has no interest in answering soon.
    tokio::time::timeout(PATIENCE, search(log, one, other)).await.ok().flatten()
}

async fn search(log: &Log, one: &Sighting, other: &Sighting) -> Option<ForkEvidence> {
    if let Some(evidence) = prove_between(log, one, other).await {
        return Some(evidence);
    }
    let present = Sighting::of(present(log).await?);
    for sighting in [one, other] {
        if let Some(evidence) = prove_between(log, sighting, &present).await {
            return Some(evidence);
        }
    }
    None
}

async fn prove_between(log: &Log, one: &Sighting, other: &Sighting) -> Option<ForkEvidence> {
    if let Some(evidence) = prove_offline(log, one, other) {
        return Some(evidence);
    }
    let [small, large] = if one.head().size <= other.head().size { [one, other] } else { [other, one] };
    if let Some(evidence) = proven(log, grown(log, small, large).await) {
        return Some(evidence);
    }
    for (record, tree) in [(one, other), (other, one)] {
        if let Some(evidence) = proven(log, other_leaf(log, record, tree).await) {
            return Some(evidence);
        }
    }
    None
}

/// What the larger tree makes of the smaller size.
async fn grown(log: &Log, small: &Sighting, large: &Sighting) -> Option<ForkEvidence> {
    let (old, new) = (small.head().size, large.head().size);
    let hashes = log.nodes(&Growth::nodes(old, new).ok()?, new).await.ok()?;
    let growth = Growth::from_nodes(old, new, &hashes).ok()?;
    Some(ForkEvidence::grown(small.checkpoint.clone(), large.checkpoint.clone(), growth))
}

/// What a tree has where the record is.
async fn other_leaf(log: &Log, record: &Sighting, tree: &Sighting) -> Option<ForkEvidence> {
    let (record, leaf) = record.record.as_ref()?;
    let (proof, own) = leaf_at(log, record.index(), tree).await?;
    ForkEvidence::two_leaves((record, *leaf), (&proof, own)).ok()
}

/// The leaf at an index of a tree, with its proof.
async fn leaf_at(log: &Log, index: LeafIndex, tree: &Sighting) -> Option<(TlogProof, Hash)> {
    let size = tree.head().size;
    let mut nodes = InclusionProof::nodes(index, size).ok()?;
    nodes.push(NodeId { level: 0, index: index.get() });
    let mut hashes = log.nodes(&nodes, size).await.ok()?;
    let leaf = hashes.pop()?;
    let proof = InclusionProof::from_nodes(index, size, &hashes).ok()?;
    Some((TlogProof::new(proof, tree.checkpoint.clone()).ok()?, leaf))
}

/// What the log shows now, if it signed it: what binds it, whether enough witnesses saw it or not.
async fn present(log: &Log) -> Option<SignedCheckpoint> {
    let bytes = log.source().fetch(Resource::Checkpoint).await.ok()??;
    let signed: SignedCheckpoint = str::from_utf8(&bytes).ok()?.parse().ok()?;
    signed.signed_head(&log.known().key).ok()?;
    Some(signed)
}

/// Only what convinces a stranger is evidence.
fn proven(log: &Log, evidence: Option<ForkEvidence>) -> Option<ForkEvidence> {
    evidence.filter(|evidence| evidence.verify(&log.known().key).is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use counterfoil_merkle::TreeSize;

    use super::*;
    use crate::testlog;

    /// Leaves that are other ones from `fork` on.
    fn branch(fork: usize, size: usize) -> Vec<Vec<u8>> {
        let mut leaves = testlog::leaves(size as u64);
        leaves[fork..].iter_mut().for_each(|leaf| leaf.extend_from_slice(b" of the other branch"));
        leaves
    }

    fn sighting(leaves: &[Vec<u8>]) -> Sighting {
        Sighting::of(testlog::checkpoint(testlog::head(leaves), 7))
    }

    /// The record at an index, with its proof, as a bundle would have it.
    async fn record(leaves: &[Vec<u8>], index: u64) -> Sighting {
        let store = tempfile::tempdir().unwrap();
        testlog::store(store.path(), leaves);
        let log = testlog::log(store.path());
        let (proof, leaf) = leaf_at(&log, LeafIndex::new(index).unwrap(), &sighting(leaves)).await.unwrap();
        Sighting::with_record(proof, leaf)
    }

    /// A log that serves a tree, and shows the checkpoint of it.
    fn serve(store: &Path, leaves: &[Vec<u8>]) -> Log {
        testlog::store(store, leaves);
        let note = sighting(leaves).checkpoint.to_string();
        testlog::write(&store.join("checkpoint"), note.as_bytes());
        testlog::log(store)
    }

    fn kind(evidence: Option<ForkEvidence>) -> Option<&'static str> {
        evidence.as_ref().map(ForkEvidence::kind)
    }

    /// Equal sizes and two records for one index take nothing else; all else takes tiles.
    #[tokio::test]
    async fn some_forks_are_proven_offline() {
        let nowhere = tempfile::tempdir().unwrap();
        let log = testlog::log(nowhere.path());
        let (honest, forked) = (testlog::leaves(300), branch(200, 300));
        let same = prove(&log, &sighting(&honest), &sighting(&forked)).await;
        assert_eq!(kind(same), Some("same-size"));
        let records = (record(&honest, 250).await, record(&branch(200, 260), 250).await);
        assert_eq!(kind(prove(&log, &records.0, &records.1).await), Some("index"));
        let records = (record(&honest, 250).await, record(&branch(200, 260), 251).await);
        assert_eq!(kind(prove(&log, &records.0, &records.1).await), None);
        assert_eq!(kind(prove(&log, &sighting(&honest), &sighting(&branch(200, 400))).await), None);
        assert_eq!(kind(prove(&log, &sighting(&honest), &sighting(&honest)).await), None);
    }

    /// Either branch may be the one that is still served; the present tree convicts whichever it does not contain.
    #[tokio::test]
    async fn tiles_of_a_larger_tree_convict() {
        for (served, gone) in
            [(testlog::leaves(700), branch(100, 300)), (branch(100, 700), testlog::leaves(300))]
        {
            let store = tempfile::tempdir().unwrap();
            let log = serve(store.path(), &served);
            let pinned = sighting(&served[..200]);
            assert_eq!(kind(prove(&log, &pinned, &sighting(&gone)).await), Some("consistency"));
            let whole = sighting(&served);
            assert_eq!(kind(prove(&log, &whole, &sighting(&gone)).await), Some("consistency"));
            // Before the fork there is nothing to convict anybody of.
            assert_eq!(kind(prove(&log, &whole, &sighting(&gone[..100])).await), None);
        }
    }

    /// A larger tree that is gone convicts nobody by its checkpoint, but by any record that came with it.
    #[tokio::test]
    async fn a_record_convicts_a_larger_tree_that_is_gone() {
        let store = tempfile::tempdir().unwrap();
        let (served, gone) = (testlog::leaves(300), branch(100, 700));
        let log = serve(store.path(), &served);
        let pinned = sighting(&served);
        assert_eq!(kind(prove(&log, &pinned, &sighting(&gone)).await), None);
        let shared = record(&gone, 99).await;
        assert_eq!(kind(prove(&log, &pinned, &shared).await), None, "both have it");
        let beyond = record(&gone, 300).await;
        assert_eq!(kind(prove(&log, &pinned, &beyond).await), None, "the smaller tree does not reach it");
        for index in [100, 255, 256, 299] {
            let own = record(&gone, index).await;
            assert_eq!(kind(prove(&log, &pinned, &own).await), Some("index"), "{index}");
            assert_eq!(kind(prove(&log, &own, &pinned).await), Some("index"), "{index}");
        }
        // The history that is still there outgrows it.
        let log = serve(store.path(), &testlog::leaves(900));
        assert_eq!(kind(prove(&log, &pinned, &sighting(&gone)).await), Some("consistency"));
    }

    /// Rubbish for tiles convicts nobody, and no tile is asked for beyond what the sizes call for.
    #[tokio::test]
    async fn rubbish_convicts_nobody() {
        let store = tempfile::tempdir().unwrap();
        let log = serve(store.path(), &branch(0, 700));
        let huge = TreeHead { size: TreeSize::MAX, root: Hash::leaf(b"huge") };
        let huge = Sighting::of(testlog::checkpoint(huge, 7));
        let honest = testlog::leaves(300);
        testlog::write(&store.path().join("checkpoint"), b"rubbish");
        assert_eq!(kind(prove(&log, &sighting(&honest), &huge).await), None);
        assert_eq!(kind(prove(&log, &sighting(&honest), &sighting(&testlog::leaves(700))).await), None);
    }
}
