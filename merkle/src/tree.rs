//! Positions in a tree: sizes, leaf indexes, nodes, subtrees, and how the last are built from the nodes before them.

use std::fmt;

use crate::hash::Hash;

/// How many leaves a tree has, at most [`TreeSize::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeSize(u64);

impl TreeSize {
    /// The largest tree this crate works with: 2^40 leaves, so that no shift or sum can overflow and no proof
    /// exceeds 40 hashes.
    pub const MAX: Self = Self(1 << 40);

    /// The empty tree.
    pub const ZERO: Self = Self(0);

    /// A size, if it is not above [`TreeSize::MAX`].
    pub const fn new(size: u64) -> Result<Self, TreeError> {
        if size > Self::MAX.0 {
            return Err(TreeError::TooLarge { size });
        }
        Ok(Self(size))
    }

    /// The number of leaves.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The size after `leaves` more.
    pub const fn grow(self, leaves: u64) -> Result<Self, TreeError> {
        Self::new(self.0.saturating_add(leaves))
    }

    /// The index that the next leaf will have.
    pub const fn next_index(self) -> LeafIndex {
        LeafIndex(self.0)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a leaf, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(u64);

impl LeafIndex {
    /// An index, if a tree can have it: below [`TreeSize::MAX`].
    pub const fn new(index: u64) -> Result<Self, TreeError> {
        if index >= TreeSize::MAX.0 {
            return Err(TreeError::TooLarge { size: index });
        }
        Ok(Self(index))
    }

    /// The index as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The smallest tree that has this leaf.
    pub const fn size_through(self) -> TreeSize {
        TreeSize(self.0 + 1)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tree as its checkpoint states it: how large, and with which root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: TreeSize,
    /// Merkle tree hash of those leaves (RFC 6962, section 2.1).
    pub root: Hash,
}

impl TreeHead {
    /// The head of the empty tree.
    pub const EMPTY: Self = Self { size: TreeSize::ZERO, root: Hash::EMPTY_ROOT };
}

/// A complete subtree: the node that covers leaves `index * 2^level` up to `(index + 1) * 2^level`.
///
/// Once those leaves are there its hash never changes, whatever the tree grows to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves: 0 for a leaf, at most 40.
    pub level: u8,
    /// Position among the nodes of that level.
    pub index: u64,
}

/// The leaves `start..end`, aligned so that their own Merkle tree occurs in every larger one:
/// `start` is a multiple of the least power of two that is not below `end - start`
/// (draft-ietf-plants-merkle-tree-certs, section 4).
///
/// `[0, n)` is the tree of size n, `[i, i + 1)` is leaf i.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subtree {
    start: u64,
    end: u64,
}

impl Subtree {
    /// The subtree `[start, end)`, if it is aligned.
    pub fn new(start: u64, end: u64) -> Result<Self, TreeError> {
        let aligned = start <= end
            && end <= TreeSize::MAX.get()
            && start.is_multiple_of((end - start).next_power_of_two());
        if !aligned {
            return Err(TreeError::NotASubtree { start, end });
        }
        Ok(Self { start, end })
    }

    /// The subtree that is the whole tree of that size.
    pub const fn whole(size: TreeSize) -> Self {
        Self { start: 0, end: size.get() }
    }

    /// The subtree that is one leaf.
    pub const fn leaf(index: LeafIndex) -> Self {
        Self { start: index.get(), end: index.get() + 1 }
    }

    /// First leaf.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last leaf.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The leaves of a node that a tree of that size has. There must be any.
    pub(crate) fn of_node(node: NodeId, size: TreeSize) -> Self {
        let start = node.index << node.level;
        assert!(start < size.get(), "a node of the tree");
        Self { start, end: size.get().min(start + (1 << node.level)) }
    }

    /// The complete nodes that make it up, largest and leftmost first: one for each bit of its length, at most 40.
    pub fn cover(self) -> Vec<NodeId> {
        self.complete_nodes().collect()
    }

    /// [`Subtree::cover`], one by one.
    pub(crate) fn complete_nodes(self) -> impl Iterator<Item = NodeId> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let level = (self.end - at).checked_ilog2()?;
            let node = NodeId { level: low_u8(level), index: at >> level };
            at += 1 << level;
            Some(node)
        })
    }

    /// Its hash, from the hashes of [`Subtree::cover`]: folded from the right, as the ragged edge is.
    ///
    /// The hash of no nodes is that of the empty tree.
    pub fn fold(hashes: &[Hash]) -> Hash {
        let mut rest = hashes.iter().rev();
        let Some(&last) = rest.next() else { return Hash::EMPTY_ROOT };
        rest.fold(last, |right, &left| Hash::node(left, right))
    }
}

/// Two adjacent subtrees that between them hold the leaves `start..end`, any range at all
/// (draft-ietf-plants-merkle-tree-certs, section 4.5). The right one is empty for ranges of at most one leaf.
pub fn covering_pair(start: u64, end: u64) -> Result<(Subtree, Subtree), TreeError> {
    if start > end || end > TreeSize::MAX.get() {
        return Err(TreeError::NotASubtree { start, end });
    }
    if end - start <= 1 {
        return Ok((Subtree { start, end }, Subtree { start: end, end }));
    }
    let last = end - 1;
    let mask = (1 << (start ^ last).ilog2()) - 1;
    let middle = last & !mask;
    let left_bits = u64::BITS - (!start & mask).leading_zeros();
    let left_start = start & !((1 << left_bits) - 1);
    Ok((Subtree::new(left_start, middle)?, Subtree::new(middle, end)?))
}

/// A level or bit count, which is at most 64.
pub(crate) fn low_u8(bits: u32) -> u8 {
    u8::try_from(bits).expect("a bit count fits a byte")
}

/// Why numbers do not name a place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// More than [`TreeSize::MAX`] leaves.
    #[error("a tree has at most 2^40 leaves, not {size}")]
    TooLarge {
        /// What was asked for.
        size: u64,
    },
    /// Not aligned, or backwards.
    #[error("[{start}, {end}) is not a subtree")]
    NotASubtree {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
    },
    /// The leaf is not in the tree.
    #[error("leaf {index} is not in a tree of size {size}")]
    OutOfRange {
        /// The leaf asked for.
        index: LeafIndex,
        /// The tree's size.
        size: TreeSize,
    },
    /// The older tree is the larger one.
    #[error("tree size {old} is above {new}")]
    Backwards {
        /// The size said to be older.
        old: TreeSize,
        /// The size said to be newer.
        new: TreeSize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_indexes_have_a_limit() {
        assert!(TreeSize::new(1 << 40).is_ok());
        assert_eq!(TreeSize::new((1 << 40) + 1), Err(TreeError::TooLarge { size: (1 << 40) + 1 }));
        assert!(TreeSize::MAX.grow(1).is_err());
        assert!(TreeSize::MAX.grow(u64::MAX).is_err());
        assert!(LeafIndex::new((1 << 40) - 1).is_ok());
        assert!(LeafIndex::new(1 << 40).is_err());
    }

    /// A cover is gapless, its nodes shrink from left to right, and it has one node a bit.
    #[test]
    fn covers_are_the_binary_digits() {
        for end in 0..300 {
            for start in 0..=end {
                let Ok(subtree) = Subtree::new(start, end) else { continue };
                let cover = subtree.cover();
                assert_eq!(cover.len(), (end - start).count_ones() as usize);
                let mut at = start;
                for pair in cover.windows(2) {
                    assert!(pair[0].level > pair[1].level);
                }
                for node in cover {
                    assert_eq!(node.index << node.level, at);
                    at += 1 << node.level;
                }
                assert_eq!(at, end);
            }
        }
    }
}
