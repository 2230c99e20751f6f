//! How a tree of `new` leaves contains its own first `old` leaves, with nothing implied: the frontier of the old
//! tree and the nodes to its right.
//!
//! An RFC 6962 consistency proof leaves out the old root where it can, so what it proves depends on what the
//! verifier believes. A [`Growth`] yields *both* roots from its own hashes. By collision resistance there is one old
//! root only that goes with a new one, which is what makes it evidence against whoever signed another.

use crate::{
    hash::Hash,
    proof::{cover_all, fold_all, halves},
    tree::{NodeId, Subtree, TreeError, TreeSize},
};

/// The hashes that yield the roots of a tree and of its first `old` leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    old: TreeSize,
    new: TreeSize,
    frontier: Vec<Hash>,
    right: Vec<Hash>,
}

impl Growth {
    /// The nodes whose hashes make up the growth from `old` to `new`: the cover of the first `old` leaves, then the
    /// nodes right of them. At most 79.
    pub fn nodes(old: TreeSize, new: TreeSize) -> Result<Vec<NodeId>, TreeError> {
        let mut nodes = Subtree::whole(old).cover();
        nodes.extend(cover_all(right_of(old, new)?));
        Ok(nodes)
    }

    /// The growth, from the hashes of [`Growth::nodes`].
    ///
    /// # Panics
    /// If there is not one hash a node.
    pub fn from_nodes(old: TreeSize, new: TreeSize, hashes: &[Hash]) -> Result<Self, TreeError> {
        let right = right_of(old, new)?;
        let (frontier, rest) = hashes.split_at(old.get().count_ones() as usize);
        Ok(Self { old, new, frontier: frontier.to_vec(), right: fold_all(right, rest) })
    }

    /// A growth as somebody sent it, if it has as many hashes as its sizes call for.
    pub fn new(
        old: TreeSize,
        new: TreeSize,
        frontier: Vec<Hash>,
        right: Vec<Hash>,
    ) -> Result<Self, GrowthError> {
        let expected = (old.get().count_ones() as usize, right_of(old, new)?.len());
        let got = (frontier.len(), right.len());
        if got != expected {
            return Err(GrowthError::Count { expected, got });
        }
        Ok(Self { old, new, frontier, right })
    }

    /// The smaller size.
    pub const fn old(&self) -> TreeSize {
        self.old
    }

    /// The larger size.
    pub const fn new_size(&self) -> TreeSize {
        self.new
    }

    /// Hashes of the complete subtrees of the first `old` leaves, largest first.
    pub fn frontier(&self) -> &[Hash] {
        &self.frontier
    }

    /// Hashes of what lies right of them, innermost first.
    pub fn right(&self) -> &[Hash] {
        &self.right
    }

    /// The root of the first `old` leaves.
    pub fn old_root(&self) -> Hash {
        Subtree::fold(&self.frontier)
    }

    /// The root of all `new` leaves. Takes one hash less than the growth has.
    pub fn new_root(&self) -> Hash {
        let (mut frontier, mut right) = (self.frontier.as_slice(), self.right.as_slice());
        let mut outer = Vec::new();
        let (mut old, mut new) = (self.old.get(), self.new.get());
        // Descend to the split that the old tree ends at, remembering on which side of it each hash goes.
        while 0 < old && old < new {
            let split = new.next_power_of_two() / 2;
            if old <= split {
                let (last, inner) =
                    right.split_last().expect("one hash for each split right of the old tree");
                (right, new) = (inner, split);
                outer.push((Side::Right, *last));
            } else {
                let (first, rest) = frontier.split_first().expect("one hash for each complete subtree");
                (frontier, old, new) = (rest, old - split, new - split);
                outer.push((Side::Left, *first));
            }
        }
        let innermost = if old == 0 { Subtree::fold(right) } else { Subtree::fold(frontier) };
        outer.into_iter().rev().fold(innermost, |inner, (side, hash)| match side {
            Side::Left => Hash::node(hash, inner),
            Side::Right => Hash::node(inner, hash),
        })
    }

    /// This growth and the one that follows it, as one: how the tree that `later` leads to contains the first `old` leaves.
    ///
    /// Both roots are those of the parts, if the parts meet at one root.
    ///
    /// # Errors
    /// [`GrowthError::Apart`] if `later` does not start where this one ends.
    pub fn then(&self, later: &Self) -> Result<Self, GrowthError> {
        if (self.new, self.new_root()) != (later.old, later.old_root()) {
            return Err(GrowthError::Apart { ends: self.new, starts: later.old });
        }
        let joint = Joint {
            before: right_of(self.old, self.new)?.into_iter().zip(self.right.iter().copied()).collect(),
            cover: cover_subtrees(later.old).into_iter().zip(later.frontier.iter().copied()).collect(),
            after: right_of(later.old, later.new)?.into_iter().zip(later.right.iter().copied()).collect(),
        };
        let right = right_of(self.old, later.new)?.into_iter().map(|subtree| joint.hash(subtree)).collect();
        Ok(Self { old: self.old, new: later.new, frontier: self.frontier.clone(), right })
    }
}

/// The hashes of two growths that meet, by the subtrees that they are of.
struct Joint {
    before: Vec<(Subtree, Hash)>,
    cover: Vec<(Subtree, Hash)>,
    after: Vec<(Subtree, Hash)>,
}

impl Joint {
    /// The hash of a subtree right of where the first growth starts: known, or straddling where the two meet.
    fn hash(&self, subtree: Subtree) -> Hash {
        let parts = [&self.after, &self.before, &self.cover];
        let known = parts.into_iter().flatten().find(|(known, _)| *known == subtree);
        if let Some((_, hash)) = known {
            return *hash;
        }
        let (left, right) = halves(subtree);
        Hash::node(self.hash(left), self.hash(right))
    }
}

/// The complete subtrees that make up a tree of that size, largest first.
fn cover_subtrees(size: TreeSize) -> Vec<Subtree> {
    let subtree = |node: NodeId| {
        let (start, end) = (node.index << node.level, (node.index + 1) << node.level);
        Subtree::new(start, end).expect("a node is a subtree")
    };
    Subtree::whole(size).cover().into_iter().map(subtree).collect()
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// What lies right of the first `old` leaves at each split, innermost first.
fn right_of(old: TreeSize, new: TreeSize) -> Result<Vec<Subtree>, TreeError> {
    if old > new {
        return Err(TreeError::Backwards { old, new });
    }
    let mut within = Subtree::whole(new);
    let mut found = Vec::new();
    if old == TreeSize::ZERO {
        return Ok(if new == TreeSize::ZERO { found } else { vec![within] });
    }
    while old.get() < within.end() {
        let (left, right) = halves(within);
        within = if old.get() <= left.end() {
            found.push(right);
            left
        } else {
            right
        };
    }
    found.reverse();
    Ok(found)
}

/// Why hashes do not make up a growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowthError {
    /// The sizes are impossible.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Not as many hashes as the sizes call for.
    #[error("{} frontier and {} right hashes, where the sizes call for {} and {}", got.0, got.1, expected.0, expected.1)]
    Count {
        /// Frontier and right hashes that the sizes call for.
        expected: (usize, usize),
        /// What there was.
        got: (usize, usize),
    },
    /// The second of two growths does not start at the tree that the first ends with.
    #[error(
        "one growth ends at {ends} leaves, and the next does not start there, but with another tree at {starts}"
    )]
    Apart {
        /// Size at which the first ends.
        ends: TreeSize,
        /// Size at which the second starts.
        starts: TreeSize,
    },
}
