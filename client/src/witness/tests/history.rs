//! Whatever is submitted, in whatever order, what is cosigned is one history.

use counterfoil_merkle::{Hash, checkpoint::SignedCheckpoint};
use proptest::prelude::*;

use super::{tree::Tree, *};

/// Sizes of the trees that are tried.
const SIZE_MAX: u64 = 24;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A checkpoint of that branch and size is submitted, from the old size that is said.
    Submit { branch: usize, old: Old, new: u64, proof: Proof },
    /// The witness is killed and started again.
    Restart,
    /// The clock moves, forward or back.
    Clock { by_s: i64 },
}

#[derive(Clone, Copy, Debug)]
enum Old {
    /// The size that the witness is at.
    Right,
    Some(u64),
}

#[derive(Clone, Copy, Debug)]
enum Proof {
    Honest,
    /// Of another branch.
    Of(usize),
    More,
    Less,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let old = prop_oneof![4 => Just(Old::Right), 1 => (0..=SIZE_MAX).prop_map(Old::Some)];
    let proof = prop_oneof![
        6 => Just(Proof::Honest),
        1 => (0..4_usize).prop_map(Proof::Of),
        1 => Just(Proof::More),
        1 => Just(Proof::Less),
    ];
    let submit = (0..4_usize, old, 0..=SIZE_MAX, proof).prop_map(|(branch, old, new, proof)| Step::Submit {
        branch,
        old,
        new,
        proof,
    });
    let step = prop_oneof![
        20 => submit,
        1 => Just(Step::Restart),
        2 => (-50..100_i64).prop_map(|by_s| Step::Clock { by_s }),
    ];
    prop::collection::vec(step, 1..40)
}

/// All that was ever cosigned.
#[derive(Default)]
struct Cosigned {
    newest: Option<(Tree, u64)>,
    time_s: u64,
}

impl Cosigned {
    fn size(&self) -> u64 {
        self.newest.as_ref().map_or(0, |(_, size)| *size)
    }

    /// Checks that this goes with all before it: each contains the one before, so all are one history.
    fn push(&mut self, branch: &Tree, new: u64, lines: Vec<SignatureLine>) {
        if let Some((tree, size)) = &self.newest {
            assert!(new >= *size, "from {size} back to {new}");
            assert!(tree.agrees(branch, *size), "another history than that of size {size}");
        }
        let mut checkpoint: SignedCheckpoint = branch.checkpoint(new);
        lines.into_iter().for_each(|line| checkpoint.push(line));
        let time_s = checkpoint.cosignature(&vkey()).unwrap().time_s;
        assert!(time_s >= self.time_s, "from time {} back to {time_s}", self.time_s);
        (self.newest, self.time_s) = (Some((branch.clone(), new)), time_s);
    }
}

fn request(branches: &[Tree], known: u64, step: (usize, Old, u64, Proof)) -> AddCheckpoint {
    let (branch, old, new, proof) = step;
    let old = match old {
        Old::Right => known,
        Old::Some(old) => old,
    };
    let honest = |tree: &Tree| if old <= new { tree.proof(old, new) } else { Vec::new() };
    let mut hashes = honest(&branches[branch]);
    match proof {
        Proof::Honest => {}
        Proof::Of(other) => hashes = honest(&branches[other]),
        Proof::More => hashes.push(Hash::EMPTY_ROOT),
        Proof::Less => drop(hashes.pop()),
    }
    branches[branch].request_with(old, hashes, new)
}

async fn play(forks: [u64; 3], steps: Vec<Step>) -> u32 {
    let trunk = Tree::new(SIZE_MAX);
    let [a, b, c] = forks;
    let first = trunk.branch(1, a, SIZE_MAX);
    let second = first.branch(2, b, SIZE_MAX);
    let third = trunk.branch(3, c, SIZE_MAX);
    let branches = [trunk, first, second, third];

    let home = Home::new();
    let (mut witness, mut cosigned, mut count) = (home.up(), Cosigned::default(), 0);
    for step in steps {
        match step {
            Step::Submit { branch, old, new, proof } => {
                let request = request(&branches, cosigned.size(), (branch, old, new, proof));
                let had_proof = view(&witness).evidence.is_some();
                let answer = add(&witness, &request).await;
                if let Ok(lines) = answer {
                    assert!(!had_proof, "a log that is proven to have forked is cosigned no more");
                    cosigned.push(&branches[branch], new, lines);
                    count += 1;
                }
            }
            Step::Restart => {
                drop(witness);
                witness = home.up();
            }
            Step::Clock { by_s } => {
                home.set_clock(home.now_s.load(Ordering::Relaxed).saturating_add_signed(by_s))
            }
        }
        assert_eq!(size(&witness), cosigned.size());
        let shown = view(&witness).newest.map(|newest| newest.head());
        assert_eq!(shown, cosigned.newest.as_ref().map(|(tree, size)| tree.head(*size)));
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// No interleaving of honest growth, forks of forks, wrong proofs, restarts and clock steps makes a witness cosign
    /// two histories, or go back in size or time.
    #[test]
    fn what_is_cosigned_is_one_history(
        forks in [0..SIZE_MAX, 0..SIZE_MAX, 0..SIZE_MAX],
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(forks, steps));
    }
}

/// The law above is tried in earnest: an honest log under the same hands is cosigned again and again.
#[tokio::test]
async fn honest_growth_gets_through() {
    let submit = |new| Step::Submit { branch: 0, old: Old::Right, new, proof: Proof::Honest };
    let steps =
        (0..=SIZE_MAX).flat_map(|new| [submit(new), Step::Clock { by_s: 1 }, submit(new), Step::Restart]);
    assert_eq!(u64::from(play([0, 0, 0], steps.collect()).await), 2 * (SIZE_MAX + 1));
}
