//! Reference values that come with Certificate Transparency: eight leaves, their roots, two proofs.

use counterfoil_merkle::Hash;

use crate::naive::Tree;

const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const INCLUSION_5_OF_8: [&str; 3] = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

const CONSISTENCY_6_TO_8: [&str; 3] = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

fn parsed(hashes: &[&str]) -> Vec<Hash> {
    hashes.iter().map(|hash| hash.parse().unwrap()).collect()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let mut tree = Tree::of([]);
    for (leaf, root) in LEAVES.into_iter().zip(parsed(&ROOTS)) {
        tree.push(Hash::leaf(leaf));
        assert_eq!(tree.head().root, root);
    }
}

#[test]
fn proofs_are_those_of_certificate_transparency() {
    let tree = Tree::of(LEAVES.map(Hash::leaf));
    let roots = parsed(&ROOTS);
    let inclusion = tree.inclusion(5);
    assert_eq!(inclusion.hashes(), parsed(&INCLUSION_5_OF_8));
    assert_eq!(inclusion.verify(Hash::leaf(LEAVES[5]), roots[7]), Ok(()));
    let consistency = tree.consistency(6);
    assert_eq!(consistency.hashes(), parsed(&CONSISTENCY_6_TO_8));
    assert_eq!(consistency.verify(roots[5], roots[7]), Ok(()));
}
