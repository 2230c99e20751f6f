//! The tree below the oldest commit that counts: from its root down, each tile vouches for those below it, and the lowest
//! ones for the entries.

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, Hash, TreeHead,
    bundle::parse_bundle,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};

use super::{From, Repair, RepairError, Why};

/// As many ways to choose between what a tile says and what lies below it are tried: enough for a dozen such places.
const CHOICES_MAX: usize = 4096;

/// A tree whose root was committed to, and which all of its tiles and entries give.
pub(super) struct Base {
    pub(super) head: TreeHead,
    pub(super) frontier: Frontier,
    /// Entries above the last full bundle.
    pub(super) ragged: Vec<Bytes>,
}

impl Base {
    /// How many bundles are full.
    pub(super) const fn bundles(&self) -> u64 {
        self.head.size.get() / TILE_WIDTH
    }

    /// The bundle above them, as far as it is in this tree; none if nothing is.
    pub(super) fn ragged_path(&self, kind: TileKind) -> Option<TilePath> {
        let width = self.head.size.get() % TILE_WIDTH;
        (width > 0).then_some(TilePath { kind, index: self.bundles(), width })
    }
}

/// What the hashes at the right edge may be.
#[derive(Default)]
struct Candidates {
    /// For each hash of the ragged tiles above the leaves, lowest tile first: what each source says, best first.
    above: Vec<Vec<Hash>>,
    /// What the entries of the ragged bundle may be; one empty list, if there are none.
    entries: Vec<(Vec<Bytes>, From)>,
}

impl Repair<'_> {
    /// Mends all tiles and entries of a tree; `None` if not all of it is sound then.
    pub(super) fn tree(&mut self, head: TreeHead) -> Result<Option<Base>, RepairError> {
        let left = self.left.len();
        let Some((frontier, (ragged, from))) = self.edge(head)? else { return Ok(None) };
        let base = Base { head, frontier, ragged };
        for (tile, width) in TileId::ragged(head.size).into_iter().filter(|(tile, _)| tile.level > 0) {
            for position in 0..width {
                let below = TileId { level: tile.level - 1, index: tile.index * TILE_WIDTH + position };
                let ragged = base.frontier.tile(tile.level);
                let root = u16::try_from(position).ok().and_then(|position| ragged?.hash(position));
                self.full(below, root.expect("a ragged tile has its hashes"))?;
            }
        }
        if let Some(path) = base.ragged_path(TileKind::Entries)
            && self.ragged_slots(path)?.1.as_ref() != Some(&base.ragged)
        {
            self.ragged.push((path, from));
        }
        Ok((self.left.len() == left).then_some(base))
    }

    /// Mends a full tile with that root, and all below it.
    fn full(&mut self, id: TileId, root: Hash) -> Result<(), RepairError> {
        if id.level == 0 {
            self.entries(id.index, root)?;
        }
        let Some(tile) = self.tile(id, root)? else { return Ok(()) };
        if id.level > 0 {
            for (position, index) in (0..=u16::from(u8::MAX)).zip(id.index * TILE_WIDTH..) {
                let root = tile.hash(position).expect("a full tile has 256 hashes");
                self.full(TileId { level: id.level - 1, index }, root)?;
            }
        }
        Ok(())
    }

    /// A full hash tile with that root.
    fn tile(&mut self, id: TileId, root: Hash) -> Result<Option<TileTree>, RepairError> {
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let stored = self.stored(&path.to_string())?;
        let fits = |tile: &TileTree| tile.root() == Some(root);
        if let Some(tile) = stored.as_ref().and_then(parse_tile).filter(fits) {
            return Ok(Some(tile));
        }
        let (tile, from) = match self.given_below(id)?.filter(fits) {
            Some(tile) => (tile, From::Here),
            None => match self.mirror.tile(path).map(|bytes| parse_tile(&bytes).filter(fits)) {
                Ok(Some(tile)) => (tile, From::Mirror),
                Ok(None) => return Ok(self.none(path, Why::Refused)),
                Err(why) => return Ok(self.none(path, why)),
            },
        };
        self.put(path, tile.to_bytes(TILE_WIDTH).into(), stored.as_ref(), from)?;
        Ok(Some(tile))
    }

    /// A full bundle of entries whose leaves have that root.
    fn entries(&mut self, index: u64, root: Hash) -> Result<(), RepairError> {
        let path = TilePath::full(TileKind::Entries, index);
        let stored = self.stored(&path.to_string())?;
        let fits = |bytes: &Bytes| leaves(bytes).is_some_and(|tile| tile.root() == Some(root));
        let sound = match stored.clone().filter(fits) {
            Some(sound) => Ok(sound),
            None => match self.mirror.tile(path) {
                Ok(bytes) if fits(&bytes) => {
                    self.put(path, bytes.clone(), stored.as_ref(), From::Mirror)?;
                    Ok(bytes)
                }
                Ok(_) => Err(Why::Refused),
                Err(why) => Err(why),
            },
        };
        match sound {
            Ok(sound) => {
                self.note_erasures(index * TILE_WIDTH, &slots(&sound, TILE_WIDTH).unwrap_or_default())
            }
            Err(why) => {
                self.leave(path, why);
                Ok(())
            }
        }
    }

    fn none<T>(&mut self, path: TilePath, why: Why) -> Option<T> {
        self.leave(path, why);
        None
    }

    /// A full tile as what lies below it here gives it; that need not be sound.
    fn given_below(&self, id: TileId) -> Result<Option<TileTree>, RepairError> {
        let Some(level) = id.level.checked_sub(1) else {
            let path = TilePath::full(TileKind::Entries, id.index);
            return Ok(self.stored(&path.to_string())?.as_ref().and_then(leaves));
        };
        let mut tile = TileTree::new();
        for index in id.index * TILE_WIDTH..(id.index + 1) * TILE_WIDTH {
            let Some(&root) = self.roots(TileId { level, index })?.first() else { return Ok(None) };
            tile.push(root);
        }
        Ok(Some(tile))
    }

    /// What the root of a full tile is, by its own bytes and by what lies below it.
    fn roots(&self, id: TileId) -> Result<Vec<Hash>, RepairError> {
        let path = TilePath::full(TileKind::Hashes(id.level), id.index);
        let own = self.stored(&path.to_string())?.as_ref().and_then(parse_tile).and_then(|tile| tile.root());
        let below = self.given_below(id)?.and_then(|tile| tile.root());
        let mut roots: Vec<_> = own.into_iter().chain(below).collect();
        roots.dedup();
        Ok(roots)
    }

    /// The right edge of a tree with that head, out of what is here, and if that is not enough, of what the mirror has.
    #[expect(clippy::type_complexity, reason = "an edge, and the entries in it with where they came from")]
    fn edge(&mut self, head: TreeHead) -> Result<Option<(Frontier, (Vec<Bytes>, From))>, RepairError> {
        let mut candidates = self.candidates(head)?;
        if let Some(found) = candidates.search(head) {
            return Ok(Some(found));
        }
        let suspects = self.add_mirrors(head, &mut candidates)?;
        let found = candidates.search(head);
        if found.is_none() {
            if suspects.is_empty() {
                self.leave(format!("the right edge of the tree of {} entries", head.size), Why::Refused);
            }
            suspects.into_iter().for_each(|(path, why)| self.leave(path, why));
        }
        Ok(found)
    }

    fn candidates(&self, head: TreeHead) -> Result<Candidates, RepairError> {
        let mut candidates = Candidates::default();
        let width = head.size.get() % TILE_WIDTH;
        let path = TilePath { kind: TileKind::Entries, index: head.size.get() / TILE_WIDTH, width };
        if width == 0 {
            candidates.entries.push((Vec::new(), From::Here));
        }
        for wider in (width.max(1)..=TILE_WIDTH).rev().filter(|_| width > 0) {
            let stored = self.stored(&TilePath { width: wider, ..path }.to_string())?;
            candidates
                .entries
                .extend(stored.and_then(|bytes| slots(&bytes, width)).map(|items| (items, From::Here)));
        }
        for below in above_leaves(head) {
            candidates.above.push(self.roots(below)?);
        }
        Ok(candidates)
    }

    /// Adds what the mirror says. Returns what is missing or disputed then, one of which has to be wrong here if no choice
    /// gives the root.
    fn add_mirrors(
        &mut self,
        head: TreeHead,
        candidates: &mut Candidates,
    ) -> Result<Vec<(TilePath, Why)>, RepairError> {
        let (mut suspects, width) = (Vec::new(), head.size.get() % TILE_WIDTH);
        if width > 0 {
            let path = TilePath { kind: TileKind::Entries, index: head.size.get() / TILE_WIDTH, width };
            let mirrored = self.mirror.tile(path).and_then(|bytes| slots(&bytes, width).ok_or(Why::Refused));
            let (place, found) = self.ragged_slots(path)?;
            if found.is_none() || mirrored.as_ref().ok() != found.as_ref() {
                suspects.push((place, mirrored.as_ref().err().cloned().unwrap_or(Why::Refused)));
            }
            candidates.entries.extend(mirrored.ok().map(|items| (items, From::Mirror)));
        }
        for (roots, below) in candidates.above.iter_mut().zip(above_leaves(head)) {
            let path = TilePath::full(TileKind::Hashes(below.level), below.index);
            let tile = self.mirror.tile(path).and_then(|bytes| parse_tile(&bytes).ok_or(Why::Refused));
            let root = tile.map(|tile| tile.root().expect("a full tile has a root"));
            if roots.len() != 1 || root.as_ref().ok() != roots.first() {
                suspects.push((path, root.as_ref().err().cloned().unwrap_or(Why::Refused)));
            }
            roots.extend(root.ok());
            roots.dedup();
        }
        Ok(suspects)
    }

    /// The first slots of the ragged bundle of a kind, where a start looks for them: in the full one, or else in the
    /// narrowest partial one that has as many. And where that was; by the full one's name, if there is none.
    pub(super) fn ragged_slots(&self, path: TilePath) -> Result<(TilePath, Option<Vec<Bytes>>), RepairError> {
        for width in std::iter::once(TILE_WIDTH).chain(path.width..TILE_WIDTH) {
            let wider = TilePath { width, ..path };
            if let Some(stored) = self.stored(&wider.to_string())? {
                return Ok((wider, slots(&stored, path.width)));
            }
        }
        Ok((path.to_full(), None))
    }
}

impl Candidates {
    /// The edge that gives that head, if any choice does.
    fn search(&self, head: TreeHead) -> Option<(Frontier, (Vec<Bytes>, From))> {
        let wide = self.above.iter().map(Vec::len).max().unwrap_or(1);
        for entries in &self.entries {
            // Each source by itself first, as far as it goes; then all mixtures, if these are few.
            for source in 0..wide {
                let pure = self.above.iter().map(|roots| roots.get(source).or(roots.last()).copied());
                if let Some(frontier) =
                    pure.collect::<Option<Vec<_>>>().and_then(|above| fold(head, &above, &entries.0))
                {
                    return Some((frontier, entries.clone()));
                }
            }
            let choices = self.above.iter().try_fold(1_usize, |all, roots| all.checked_mul(roots.len()));
            for mut choice in 0..choices.filter(|choices| *choices <= CHOICES_MAX).unwrap_or(0) {
                let mut next = |roots: &Vec<Hash>| {
                    let chosen = roots[choice % roots.len()];
                    choice /= roots.len();
                    chosen
                };
                let above: Vec<_> = self.above.iter().map(&mut next).collect();
                if let Some(frontier) = fold(head, &above, &entries.0) {
                    return Some((frontier, entries.clone()));
                }
            }
        }
        None
    }
}

/// The full tiles whose roots are the hashes of ragged tiles above the leaves, lowest level first.
fn above_leaves(head: TreeHead) -> impl Iterator<Item = TileId> {
    let ragged = TileId::ragged(head.size).into_iter().filter(|(tile, _)| tile.level > 0);
    ragged.flat_map(|(tile, width)| {
        let first = tile.index * TILE_WIDTH;
        (first..first + width).map(move |index| TileId { level: tile.level - 1, index })
    })
}

/// The edge with these hashes above the leaves and these entries, if it has that head.
fn fold(head: TreeHead, above: &[Hash], entries: &[Bytes]) -> Option<Frontier> {
    let mut above = above.iter().copied();
    let tiles = TileId::ragged(head.size).into_iter().map(|(tile, width)| match tile.level {
        0 => TileTree::from_hashes(entries.iter().map(|entry| Hash::leaf(entry))),
        _ => TileTree::from_hashes(above.by_ref().take(usize::try_from(width).expect("at most 256"))),
    });
    let frontier = Frontier::from_tiles(head.size, tiles).ok()?;
    (frontier.head() == head).then_some(frontier)
}

fn parse_tile(bytes: &Bytes) -> Option<TileTree> {
    TileTree::from_bytes(bytes).ok().filter(TileTree::is_full)
}

/// The leaves of a full bundle of entries.
fn leaves(bytes: &Bytes) -> Option<TileTree> {
    let items = slots(bytes, TILE_WIDTH)?;
    Some(TileTree::from_hashes(items.iter().map(|item| Hash::leaf(item))))
}

/// The first items of a bundle that has as many.
pub(super) fn slots(bytes: &Bytes, width: u64) -> Option<Vec<Bytes>> {
    let items = parse_bundle(bytes).ok()?;
    let first = items.get(..usize::try_from(width).ok()?)?;
    Some(first.iter().map(|item| bytes.slice_ref(item)).collect())
}
