//! What a log says of one thing in several ways: proofs beside tiles, and the edge of yesterday beside the tile of today.

use bytes::Bytes;
use counterfoil_merkle::{
    Hash, LeafIndex, TreeHead,
    proof::{ConsistencyProof, InclusionProof},
    tile::{TILE_WIDTH, TileKind, TilePath, TileTree},
};
use counterfoil_receipt::audit::{Code, Place, Report, served};
use serde::Deserialize;

use super::{reader::Reader, round::Monitor, state::StateError};
use crate::source::{Api, SourceError};

/// The longest answer with a proof that is read.
const PROOF_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Proof {
    hashes: Vec<String>,
}

impl Monitor {
    /// Compares what a vantage point says in other ways with the tree that was read, now that it has grown from `old`.
    /// `any` chooses the entry whose proof is asked for, and whose bundle of statements is looked at again.
    pub(super) async fn cross_check(
        &mut self,
        reader: &Reader,
        old: TreeHead,
        any: u64,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let new = self.state.head();
        self.old_edge(reader, old, report).await?;
        let index = LeafIndex::new(any % new.size.get())?;
        self.statements_again(reader, index, report).await?;
        let Some(api) = reader.source().api() else { return Ok(()) };
        let gave = self.state.views.get(reader.name()).is_some_and(|view| view.gives_proofs());
        let leaf = self.directory.tiles().leaf(index, self.state.audit.frontier())?;
        let consistency = format!("v1/proofs/consistency?from={}&to={}", old.size, new.size);
        let inclusion = format!("v1/proofs/inclusion?index={index}&size={}", new.size);
        let mut gives = gave;
        for path in [consistency, inclusion] {
            let hashes = match proof(api, &path).await {
                Ok(Some(hashes)) => hashes,
                // A mirror made of files gives none.
                Ok(None) | Err(_) if !gives => continue,
                Ok(None) => {
                    let message = format_args!("{}: does not have {path}", reader.name());
                    report.push(Code::ProofUnavailable, reader.place(), message);
                    continue;
                }
                Err(error) => {
                    report.push(
                        Code::ProofUnavailable,
                        reader.place(),
                        format_args!("{}: {error}", reader.name()),
                    );
                    continue;
                }
            };
            gives = true;
            let holds = hashes.is_some_and(|hashes| match path.starts_with("v1/proofs/consistency") {
                true => ConsistencyProof::new(old.size, new.size, hashes)
                    .is_ok_and(|proof| proof.verify(old.root, new.root).is_ok()),
                false => InclusionProof::new(index, new.size, hashes)
                    .is_ok_and(|proof| proof.verify(leaf, new.root).is_ok()),
            });
            if !holds {
                let message = format_args!("{}: {path} does not hold, and the tiles do", reader.name());
                report.push(Code::ProofBad, Place::Checkpoint(new.size), message);
            }
        }
        if gives && !gave {
            self.state.views.entry(reader.name().to_owned()).or_default().give_proofs();
            self.dirty = true;
        }
        Ok(())
    }

    /// The partial tile and bundle at which the tree ended before: if they are still there, they are the first part of what
    /// followed.
    async fn old_edge(&self, reader: &Reader, old: TreeHead, report: &mut Report) -> Result<(), StateError> {
        let (index, width) = (old.size.get() / TILE_WIDTH, old.size.get() % TILE_WIDTH);
        if width == 0 {
            return Ok(());
        }
        let leaves = self.directory.tiles().bundle(index, self.state.audit.frontier())?;
        let path = |kind| TilePath { kind, index, width };
        let [hashes, entries] = [TileKind::Hashes(0), TileKind::Entries].map(path);
        if let Some(bytes) = reader.still(hashes).await {
            served::check_tile(hashes, &bytes, &leaves, report);
        }
        if let Some(bytes) = reader.still(entries).await {
            check_entries(entries, &bytes, &leaves, report)?;
        }
        Ok(())
    }
}

/// Holds a bundle of entries against the leaves that were read.
fn check_entries(
    path: TilePath,
    bytes: &Bytes,
    leaves: &TileTree,
    report: &mut Report,
) -> Result<(), StateError> {
    let Some(items) = served::bundle_items(path, bytes, report) else { return Ok(()) };
    for (position, entry) in (0_u16..).zip(items) {
        if leaves.hash(position) != Some(Hash::leaf(entry)) {
            let index = LeafIndex::new(path.index * TILE_WIDTH + u64::from(position))?;
            let message = format_args!("in {path} it is not the entry that was verified");
            report.push(Code::EntryChanged, Place::Entry(index), message);
        }
    }
    Ok(())
}

/// The hashes of a proof; `None` inside if the answer is not one, outside if there is none.
async fn proof(api: &Api, path: &str) -> Result<Option<Option<Vec<Hash>>>, SourceError> {
    let Some(body) = api.find(path, PROOF_BYTES_MAX).await? else { return Ok(None) };
    let proof: Option<Proof> = serde_json::from_slice(&body).ok();
    let hashes = proof.and_then(|proof| {
        proof.hashes.iter().map(|hash| Hash::from_base64(hash).ok()).collect::<Option<Vec<_>>>()
    });
    Ok(Some(hashes))
}
