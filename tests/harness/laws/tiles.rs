//! What a log serves as tiles and bundles.

use counterfoil_merkle::{
    Hash, TreeSize,
    bundle::{
        BUNDLE_BYTES_MAX, BUNDLE_ITEM_BYTES_MAX, empty_items, format_bundle, parse_bundle, same_but_erased,
    },
    tile::{TILE_BYTES, TILE_WIDTH, TilePath, TileTree},
};

use super::texts::canonical;

/// A tile has 1 to 256 hashes and gives its bytes back; a narrower one is a prefix of it; its root is what hashing pairs gives.
pub fn tile(bytes: &[u8]) -> bool {
    let Ok(tile) = TileTree::from_bytes(bytes) else {
        assert!(bytes.is_empty() || bytes.len() > TILE_BYTES || !bytes.len().is_multiple_of(Hash::BYTES));
        return false;
    };
    let width = tile.width();
    assert!((1..=TILE_WIDTH).contains(&width));
    assert_eq!(tile.to_bytes(width), bytes);
    assert_eq!(
        tile.to_bytes(width.div_ceil(2)),
        bytes[..bytes.len() / Hash::BYTES / 2 * Hash::BYTES + odd(bytes)]
    );
    let mut level: Vec<Hash> =
        bytes.chunks(Hash::BYTES).map(|hash| Hash::try_from(hash).expect("32 bytes")).collect();
    for height in 0..=8_u8 {
        for (index, hash) in (0_u16..).zip(&level) {
            assert_eq!(tile.node(height, index), Some(*hash), "level {height}, index {index}");
        }
        level = level.chunks_exact(2).map(|pair| Hash::node(pair[0], pair[1])).collect();
    }
    assert_eq!(tile.root().is_some(), tile.is_full());
    true
}

/// One hash more where the number of hashes is odd: half of them, rounded up.
const fn odd(bytes: &[u8]) -> usize {
    (bytes.len() / Hash::BYTES % 2) * Hash::BYTES
}

/// A path has one text. Its full tile has the same without the width, and is named by it unless no tree is so large.
pub fn tile_path(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Some(path) = canonical::<TilePath>(text) else { return false };
    assert!((1..=TILE_WIDTH).contains(&path.width));
    let full = path.to_full();
    assert!(full.is_full());
    assert_eq!(text.split(".p/").next(), Some(full.to_string().as_str()));
    assert!(canonical::<TilePath>(&full.to_string()).is_none_or(|again| again == full));
    let largest = TreeSize::new(1 << 40).expect("the largest tree");
    assert!((1..=TILE_WIDTH).contains(&full.width_at(largest)) && path.width <= full.width_at(largest));
    true
}

/// A bundle has 1 to 256 items and is made of nothing else; an emptied slot equals anything, a changed one nothing.
pub fn entry_bundle(bytes: &[u8]) -> bool {
    let Ok(items) = parse_bundle(bytes) else {
        assert!(empty_items(bytes, |_| true).is_err(), "what is no bundle was emptied");
        return false;
    };
    assert!((1..=256).contains(&items.len()) && bytes.len() <= BUNDLE_BYTES_MAX);
    assert!(items.iter().all(|item| item.len() <= BUNDLE_ITEM_BYTES_MAX));
    assert_eq!(format_bundle(items.iter().copied()), bytes);
    let emptied = empty_items(bytes, |slot| slot % 2 == 0).expect("a bundle");
    let left = parse_bundle(&emptied).expect("still a bundle");
    assert_eq!(left.len(), items.len());
    for (slot, (left, item)) in left.iter().zip(&items).enumerate() {
        assert_eq!(*left, if slot % 2 == 0 { &[][..] } else { item });
    }
    assert!(
        same_but_erased(bytes, bytes) && same_but_erased(bytes, &emptied) && same_but_erased(&emptied, bytes)
    );
    if let Some(slot) = items.iter().position(|item| !item.is_empty()) {
        let mut changed: Vec<Vec<u8>> = items.iter().map(|item| item.to_vec()).collect();
        changed[slot][0] ^= 1;
        assert!(!same_but_erased(bytes, &format_bundle(changed.iter().map(Vec::as_slice))));
    }
    true
}
