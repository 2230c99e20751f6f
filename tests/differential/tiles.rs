//! Tiles: which there are, what they are called, what is in them, against `tlog_tiles`.

use std::collections::BTreeSet;

use counterfoil_merkle::{
    Frontier,
    tile::{TILE_WIDTH, TileId, TileKind, TilePath, TileTree},
};
use tlog_tiles::{Error, HashReader, Tile, TileHashReader, TileReader, stored_hash_index};

use crate::{
    dice::Dice,
    oracle::{Nodes, ours, size, theirs},
    real::Log,
};

/// Their paths name the tile's height and call entries `data`.
fn translated(tile: &Tile) -> String {
    let rest = tile.path().strip_prefix("tile/8/").unwrap().to_owned();
    format!("tile/{}", rest.replace("data/", "entries/"))
}

fn path(id: TileId, width: u64) -> TilePath {
    TilePath { kind: TileKind::Hashes(id.level), index: id.index, width }
}

#[test]
fn paths_are_the_same() {
    let mut dice = Dice::new("paths");
    for _ in 0..2000 {
        let level = u8::try_from(dice.below(5)).unwrap();
        let index = dice.size(1 << (32 - 8 * level)) - 1;
        let width = 1 + dice.below(256);
        let mut tile = Tile::new(8, level, index, width.try_into().unwrap(), false);
        let our_path = path(TileId { level, index }, width);
        assert_eq!(our_path.to_string(), translated(&tile));
        assert_eq!(translated(&tile).parse(), Ok(our_path));
        assert_eq!(Tile::from_path(&our_path.to_string().replacen("tile/", "tile/8/", 1)).unwrap(), tile);
        if level == 0 {
            tile.set_is_data();
            let entries = TilePath { kind: TileKind::Entries, ..our_path };
            assert_eq!(entries.to_string(), translated(&tile));
        }
    }
}

/// Whatever is done to a path, both read it or neither does; within the largest tree, which theirs does not know.
#[test]
fn paths_are_refused_alike() {
    let mut dice = Dice::new("refused paths");
    let mut read = 0;
    let pieces =
        ["x", "/", ".p/", "0", "00", "000", "001", "12", "999", "255", "256", "data", "tile", "+", " ", "a"];
    for _ in 0..20_000 {
        let level = dice.below(3);
        let mut rest = path(TileId { level: 0, index: dice.size(1 << 20) }, 1 + dice.below(256)).to_string();
        rest = rest.replacen("tile/0/", &format!("tile/8/{level}/"), 1);
        for _ in 0..=dice.below(2) {
            let at = "tile/8/".len() + usize::try_from(dice.below(64)).unwrap() % (rest.len() - 6);
            let piece = pieces[usize::try_from(dice.below(16)).unwrap()];
            if dice.below(2) == 0 && at < rest.len() {
                rest.replace_range(at..=at, piece);
            } else {
                rest.insert_str(at, piece);
            }
        }
        if rest.len() > 40 || rest.contains("data") {
            continue;
        }
        let mine = rest.replacen("tile/8/", "tile/", 1).parse::<TilePath>();
        if makes_them_panic(&rest) {
            assert!(mine.is_err(), "{rest}");
            continue;
        }
        match Tile::from_path(&rest) {
            // Theirs knows levels, and indexes, beyond 2^40 leaves.
            Ok(tile) if tile.level() <= 4 => {
                let index_end = 1 << (32 - 8 * tile.level());
                assert_eq!(mine.is_ok(), tile.level_index() < index_end, "{rest}");
                read += 1;
            }
            Ok(_) => {}
            Err(_) => assert!(mine.is_err(), "{rest}"),
        }
    }
    assert!(read > 200, "some changed paths are still paths: {read}");
}

/// `tlog_tiles` 0.2 panics on a width of 0 and on levels above 63, both of which tlog-tiles forbids.
fn makes_them_panic(path: &str) -> bool {
    let level = path.split('/').nth(2).and_then(|level| level.parse::<u8>().ok());
    let width = path.rsplit('/').next().and_then(|width| width.parse::<u32>().ok());
    level.is_some_and(|level| level > 63) || (path.contains(".p/") && width == Some(0))
}

/// The tiles that growth fills or widens are those that theirs would publish.
#[test]
fn growth_publishes_the_same_tiles() {
    let mut dice = Dice::new("growth");
    let mut edge = Frontier::new();
    let mut index = 0;
    while index < 140_000 {
        let old = edge.size();
        let before: BTreeSet<_> = TileId::ragged(old).into_iter().collect();
        let mut published = BTreeSet::new();
        for _ in 0..1 + dice.below(3000) {
            let leaf = counterfoil_merkle::Hash::leaf(&crate::real::data(index));
            edge.push(leaf, |tile| assert!(published.insert(path(tile.id, TILE_WIDTH)))).unwrap();
            index += 1;
        }
        let after = TileId::ragged(edge.size());
        let widened = after.iter().filter(|tile| !before.contains(tile)).map(|&(id, width)| path(id, width));
        published.extend(widened);
        let expected = Tile::new_tiles(8, old.get(), edge.size().get());
        let expected: BTreeSet<_> = expected.iter().map(|tile| translated(tile).parse().unwrap()).collect();
        assert_eq!(published, expected, "{old} to {}", edge.size());
    }
}

/// Serves our tile bytes, cut to the width asked for.
struct Served<'a> {
    log: &'a Log,
}

impl TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let bytes = |tile: &Tile| {
            let path: TilePath = translated(tile).parse().unwrap();
            let TileKind::Hashes(level) = path.kind else { panic!("a hash tile") };
            let id = TileId { level, index: path.index };
            assert_eq!(path.width_at(self.log.size()), path.width, "only what the size implies");
            let stored = self.log.full.get(&id).or_else(|| self.log.edge.tile(level)).unwrap();
            let bytes = stored.to_bytes(path.width);
            assert_eq!(TileTree::from_bytes(&bytes).unwrap().to_bytes(path.width), bytes);
            bytes
        };
        Ok(tiles.iter().map(bytes).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Their client, which authenticates every tile against the root, reads any node out of our tiles.
#[test]
fn their_client_reads_our_tiles() {
    let mut dice = Dice::new("tiles");
    let mut log = Log::of(0);
    for leaves in [1, 2, 255, 256, 257, 511, 5000, 65_535, 65_536, 65_537, 70_000] {
        (log.size().get()..leaves).for_each(|index| log.push(index));
        let served = Served { log: &log };
        let reader = TileHashReader::new(leaves, theirs(log.edge.root()), &served);
        for _ in 0..20 {
            let level = u8::try_from(dice.below(u64::from(leaves.ilog2()) + 1)).unwrap();
            let index = dice.below(leaves >> level);
            let read = reader.read_hashes(&[stored_hash_index(level, index)]).unwrap();
            let node = counterfoil_merkle::NodeId { level, index };
            assert_eq!(ours(read[0]), log.node(node), "{node:?} of {leaves}");
        }
        assert_eq!(log.root(size(leaves)), log.edge.root());
    }
}
