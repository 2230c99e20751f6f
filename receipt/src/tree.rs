//! The root of a small Merkle tree (RFC 6962, section 2.1), for input messages.

use counterfoil_merkle::Hash;

/// The root over leaf data, in order; the hash of the empty string for none.
pub(crate) fn root<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    // Perfect subtrees from the left, each larger than the next: (height, hash).
    let mut peaks: Vec<(u32, Hash)> = Vec::new();
    for leaf in leaves {
        let (mut height, mut hash) = (0, Hash::leaf(leaf));
        while let Some(&(last, left)) = peaks.last().filter(|(last, _)| *last == height) {
            peaks.pop();
            (height, hash) = (last + 1, Hash::node(left, hash));
        }
        peaks.push((height, hash));
    }
    let hashes = peaks.into_iter().rev().map(|(_, hash)| hash);
    hashes.reduce(|right, left| Hash::node(left, right)).unwrap_or(Hash::EMPTY_ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in RFC 6962: split at the largest power of two smaller than n.
    fn defined(leaves: &[[u8; 1]]) -> Hash {
        match leaves {
            [] => Hash::EMPTY_ROOT,
            [leaf] => Hash::leaf(leaf),
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                Hash::node(defined(&leaves[..half]), defined(&leaves[half..]))
            }
        }
    }

    #[test]
    fn folds_to_the_root_of_every_size() {
        let leaves: Vec<[u8; 1]> = (0..=100).map(|n| [n]).collect();
        for size in 0..=leaves.len() {
            assert_eq!(
                root(leaves[..size].iter().map(<[u8; 1]>::as_slice)),
                defined(&leaves[..size]),
                "{size}"
            );
        }
    }
}
