//! What the kernel costs, beside `ct-merkle` and `tlog_tiles` where they do the same to the same tree.
//!
//! `tests/bench/kernel` runs this and holds the figures against one another.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod store;

use std::hint::black_box;

use counterfoil_merkle::{
    Frontier, Hash, LeafIndex, TreeSize,
    bundle::{format_bundle, parse_bundle},
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    growth::Growth,
    key::{Algorithm, KeyName, NoteSigner},
    proof::{ConsistencyProof, InclusionProof},
    tile::{TILE_WIDTH, TileTree},
};
use criterion::{Criterion, Throughput};

use store::{Store, ct_root, leaf_data, theirs};

/// Ragged at most levels, as trees are.
const LEAVES: u64 = 300_007;

/// An entry has about so many bytes.
const ENTRY_BYTES: usize = 400;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let store = Store::grow(LEAVES);
    hashing(&mut criterion);
    appending(&mut criterion);
    inclusion(&mut criterion, &store);
    consistency(&mut criterion, &store);
    notes(&mut criterion, &store);
    tiles(&mut criterion, &store);
    criterion.final_summary();
}

fn hashing(criterion: &mut Criterion) {
    let entry = vec![b'e'; ENTRY_BYTES];
    let mut group = criterion.benchmark_group("hash_leaf");
    group.throughput(Throughput::Bytes(ENTRY_BYTES as u64));
    group.bench_function("counterfoil", |b| b.iter(|| Hash::leaf(black_box(&entry))));
    group.bench_function("tlog_tiles", |b| b.iter(|| tlog_tiles::record_hash(black_box(&entry))));
    group.finish();
    let (left, right) = (Hash::leaf(b"left"), Hash::leaf(b"right"));
    let mut group = criterion.benchmark_group("hash_node");
    group.bench_function("counterfoil", |b| b.iter(|| Hash::node(black_box(left), black_box(right))));
    let (left, right) = (theirs(left), theirs(right));
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| tlog_tiles::node_hash(black_box(left), black_box(right)))
    });
    group.finish();
}

/// From an empty tree to one of 65,536 leaves, leaf hashes given.
fn appending(criterion: &mut Criterion) {
    let leaves: Vec<_> = (0..65_536_u64).map(|index| Hash::leaf(&leaf_data(index))).collect();
    let mut group = criterion.benchmark_group("append_65536");
    group.throughput(Throughput::Elements(leaves.len() as u64)).sample_size(10);
    group.bench_function("counterfoil", |b| {
        b.iter(|| {
            let mut frontier = Frontier::new();
            let mut tiles = 0;
            for leaf in &leaves {
                frontier.push(*leaf, |_| tiles += 1).unwrap();
            }
            (frontier.head(), tiles)
        });
    });
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| {
            let mut stored = store::Stored::default();
            for (index, leaf) in leaves.iter().enumerate() {
                stored.push(index as u64, theirs(*leaf));
            }
            tlog_tiles::tree_hash(leaves.len() as u64, &stored).unwrap()
        });
    });
    group.finish();
}

fn inclusion(criterion: &mut Criterion, store: &Store) {
    let size = TreeSize::new(LEAVES).unwrap();
    let root = store.root();
    let mut places = store::places(LEAVES);
    let mut group = criterion.benchmark_group("inclusion_build");
    group.bench_function("counterfoil", |b| {
        b.iter(|| {
            let index = LeafIndex::new(places()).unwrap();
            let hashes = store.hashes(&InclusionProof::nodes(index, size).unwrap());
            InclusionProof::from_nodes(index, size, &hashes).unwrap()
        });
    });
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| tlog_tiles::prove_record(LEAVES, places(), &store.stored).unwrap());
    });
    group.bench_function("ct-merkle", |b| {
        b.iter(|| store.ct.prove_inclusion(usize::try_from(places()).unwrap()));
    });
    group.finish();

    let index = LEAVES / 3;
    let place = LeafIndex::new(index).unwrap();
    let hashes = store.hashes(&InclusionProof::nodes(place, size).unwrap());
    let ours = InclusionProof::from_nodes(place, size, &hashes).unwrap();
    let tlog = tlog_tiles::prove_record(LEAVES, index, &store.stored).unwrap();
    let ct = store.ct.prove_inclusion(usize::try_from(index).unwrap());
    let data = leaf_data(index);
    let (tlog_root, ct_root) = (theirs(root), ct_root(root, LEAVES));
    // All three from the leaf's bytes to a verdict.
    let mut group = criterion.benchmark_group("inclusion_verify");
    group.bench_function("counterfoil", |b| {
        b.iter(|| black_box(&ours).verify(Hash::leaf(black_box(&data)), root).unwrap());
    });
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| {
            let leaf = tlog_tiles::record_hash(black_box(&data));
            tlog_tiles::check_record(black_box(&tlog), LEAVES, tlog_root, index, leaf).unwrap();
        });
    });
    group.bench_function("ct-merkle", |b| {
        b.iter(|| ct_root.verify_inclusion(black_box(&data), index, black_box(&ct)).unwrap());
    });
    group.finish();
}

fn consistency(criterion: &mut Criterion, store: &Store) {
    let (old, new) = (LEAVES / 3, LEAVES);
    let [old_size, new_size] = [old, new].map(|size| TreeSize::new(size).unwrap());
    let (old_root, new_root) = (store.root_at(old_size), store.root());
    let build = || {
        let hashes = store.hashes(&ConsistencyProof::nodes(old_size, new_size).unwrap());
        ConsistencyProof::from_nodes(old_size, new_size, &hashes).unwrap()
    };
    let mut group = criterion.benchmark_group("consistency_build");
    group.bench_function("counterfoil", |b| b.iter(build));
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| tlog_tiles::prove_tree(new, black_box(old), &store.stored).unwrap());
    });
    let additions = usize::try_from(new - old).unwrap();
    group.bench_function("ct-merkle", |b| b.iter(|| store.ct.prove_consistency(black_box(additions))));
    group.finish();

    let (ours, ct) = (build(), store.ct.prove_consistency(additions));
    let tlog = tlog_tiles::prove_tree(new, old, &store.stored).unwrap();
    let (ct_old, ct_new) = (ct_root(old_root, old), ct_root(new_root, new));
    let mut group = criterion.benchmark_group("consistency_verify");
    group.bench_function("counterfoil", |b| b.iter(|| black_box(&ours).verify(old_root, new_root).unwrap()));
    group.bench_function("tlog_tiles", |b| {
        b.iter(|| {
            tlog_tiles::check_tree(black_box(&tlog), new, theirs(new_root), old, theirs(old_root)).unwrap()
        });
    });
    group.bench_function("ct-merkle", |b| {
        b.iter(|| ct_new.verify_consistency(&ct_old, black_box(&ct)).unwrap());
    });
    group.finish();

    let grow = || {
        let hashes = store.hashes(&Growth::nodes(old_size, new_size).unwrap());
        Growth::from_nodes(old_size, new_size, &hashes).unwrap()
    };
    criterion.bench_function("growth_build", |b| b.iter(grow));
    let growth = grow();
    criterion.bench_function("growth_roots", |b| {
        b.iter(|| (black_box(&growth).old_root(), growth.new_root()));
    });
}

fn notes(criterion: &mut Criterion, store: &Store) {
    let signer = |name: &str, algorithm| {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[7; 32]).unwrap()
    };
    let log = signer("bench.invalid/1", Algorithm::Ed25519);
    let clock = signer("bench.invalid/1/clock", Algorithm::CosignatureV1);
    let head = store.head();
    let sign = || {
        let checkpoint = Checkpoint::new(Origin::new("bench.invalid/1").unwrap(), black_box(head));
        let mut signed = checkpoint.sign(&log);
        signed.cosign(&clock, 1_763_712_345);
        signed
    };
    criterion.bench_function("checkpoint_sign_and_cosign", |b| b.iter(|| sign().to_string()));
    let text = sign().to_string();
    criterion.bench_function("checkpoint_parse_and_verify", |b| {
        b.iter(|| {
            let verified =
                black_box(&text).parse::<SignedCheckpoint>().unwrap().verify(log.public()).unwrap();
            verified.cosignature(clock.public()).unwrap()
        });
    });
}

fn tiles(criterion: &mut Criterion, store: &Store) {
    let hashes: Vec<_> = (0..TILE_WIDTH).map(|index| Hash::leaf(&leaf_data(index))).collect();
    let tree = TileTree::from_hashes(hashes);
    let mut group = criterion.benchmark_group("tile_encode");
    group.bench_function("counterfoil", |b| b.iter(|| black_box(&tree).to_bytes(TILE_WIDTH)));
    let tile = tlog_tiles::Tile::new(8, 0, 0, 256, false);
    group.bench_function("tlog_tiles", |b| b.iter(|| black_box(&tile).read_data(&store.stored).unwrap()));
    group.finish();
    let bytes = tree.to_bytes(TILE_WIDTH);
    // With the nodes above its hashes, as whoever proves from tiles needs them.
    criterion.bench_function("tile_parse_and_hash", |b| {
        b.iter(|| TileTree::from_bytes(black_box(&bytes)).unwrap());
    });
    let entries = vec![vec![b'e'; ENTRY_BYTES]; 256];
    let encode = || format_bundle(black_box(&entries).iter().map(|entry| &entry[..]));
    criterion.bench_function("bundle_encode", |b| b.iter(encode));
    let bundle = encode();
    criterion.bench_function("bundle_parse", |b| b.iter(|| parse_bundle(black_box(&bundle)).unwrap().len()));
}
