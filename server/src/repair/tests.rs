//! Trees that are deep enough to have tiles above tiles, damaged in every place at once.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use counterfoil_merkle::{
    Frontier, TreeHead,
    bundle::format_bundle,
    key::{Algorithm, KeyName, NoteSigner},
    tile::TILE_WIDTH,
};

use super::*;

/// Objects by their names.
type Stored = BTreeMap<String, Bytes>;

/// Entries, tiles and bundles of a tree, and its head.
fn grown(size: u64) -> (Stored, TreeHead) {
    let (mut frontier, mut stored, mut items) = (Frontier::new(), Stored::new(), Vec::new());
    for index in 0..size {
        items.push(format!("entry {index}").into_bytes());
        let entry = items.last().unwrap();
        frontier
            .push(Hash::leaf(entry), |tile| {
                let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
                stored.insert(path.to_string(), tile.tree.to_bytes(TILE_WIDTH).into());
            })
            .unwrap();
        let width = items.len() as u64;
        if width == TILE_WIDTH || index + 1 == size {
            let path = TilePath { kind: TileKind::Entries, index: index / TILE_WIDTH, width };
            stored.insert(path.to_string(), format_bundle(items.iter().map(|item| &**item)).into());
            items.clear();
        }
    }
    (stored, frontier.head())
}

/// A mirror that has these objects; it ends with the process.
fn mirror(has: Stored) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                let name = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                let mut header = String::new();
                while stream.read_line(&mut header).is_ok_and(|read| read > 2) {
                    header.clear();
                }
                let (status, body) =
                    has.get(&name).map_or(("404 Not Found", &[][..]), |bytes| ("200 OK", bytes));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                if stream.get_mut().write_all(&[head.as_bytes(), body].concat()).is_err() {
                    break;
                }
                line.clear();
            }
        }
    });
    format!("http://{address}")
}

/// What a repair of a tree says, whether it is whole then, and what is stored.
fn mended(stored: &Stored, head: TreeHead, url: &str) -> (Vec<Mend>, bool, Stored) {
    // In memory, where there is such a place: what a disk forgets is tried elsewhere.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let objects = Arc::new(Objects::init(directory.path()).unwrap());
    for (name, bytes) in stored {
        objects.put_plain(name, bytes.clone()).unwrap();
    }
    let signer = |name: &str, algorithm| {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[7; 32]).unwrap().public().clone()
    };
    let (log, clock) =
        (signer("log.example", Algorithm::Ed25519), signer("log.example/clock", Algorithm::CosignatureV1));
    let mut said = Vec::new();
    let mut tell = |mend: &Mend| said.push(mend.clone());
    let mut repair = Repair {
        objects: Arc::clone(&objects),
        mirror: Mirror::new(url, None).unwrap(),
        mark: None,
        identity: Identity { origin: Origin::new("log.example").unwrap(), log, clock },
        tell: &mut tell,
        erasures: Vec::new(),
        ragged: Vec::new(),
        mended: 0,
        left: Vec::new(),
    };
    let base = repair.tree(head).unwrap();
    if let Some(base) = &base {
        // What is above the last full bundle is put once the commits were read.
        for (path, from) in std::mem::take(&mut repair.ragged) {
            let bytes = format_bundle(base.ragged.iter().map(|entry| &**entry)).into();
            let stored = repair.stored(&path.to_string()).unwrap();
            repair.put(path, bytes, stored.as_ref(), from).unwrap();
        }
    }
    let after = objects.tile_paths().unwrap().into_iter().map(|path| path.to_string());
    let after = after.map(|name| (name.clone(), objects.get(&name).unwrap().unwrap())).collect();
    (said, base.is_some(), after)
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

const DEEP: u64 = 65_536 + 700;

/// Whichever object is damaged or missing, it is the one that is mended, and becomes what it was.
#[test]
fn any_object_of_a_deep_tree_is_mended() {
    let (whole, head) = grown(DEEP);
    let url = mirror(whole.clone());
    for name in [
        "tile/1/000",
        "tile/0/000",
        "tile/0/255",
        "tile/0/256",
        "tile/entries/000",
        "tile/entries/255",
        "tile/entries/257",
        "tile/entries/258.p/188",
    ] {
        for damaged in [Some(flipped(&whole[name])), Some(Bytes::new()), None] {
            let mut stored = whole.clone();
            match damaged {
                Some(damaged) => stored.insert(name.to_owned(), damaged),
                None => stored.remove(name),
            };
            let (said, is_whole, after) = mended(&stored, head, &url);
            assert!(is_whole && after == whole, "{said:?}");
            assert_eq!(said.iter().map(|mend| &*mend.name).collect::<Vec<_>>(), [name], "{said:?}");
        }
    }
}

/// Entries that are sound give all tiles again, without any mirror; a mirror gives all that is missing, or flipped in every
/// object at once.
#[test]
fn a_deep_tree_is_made_again_whole() {
    let (whole, head) = grown(DEEP);
    let (nowhere, url) = (mirror(Stored::new()), mirror(whole.clone()));
    let entries = whole.clone().into_iter().filter(|(name, _)| name.starts_with("tile/entries/")).collect();
    let all = |damage: fn(&Bytes) -> Bytes| {
        whole.iter().map(|(name, bytes)| (name.clone(), damage(bytes))).collect()
    };
    for (stored, url) in
        [(entries, &nowhere), (Stored::new(), &url), (all(flipped), &url), (all(|_| Bytes::new()), &url)]
    {
        let (said, is_whole, after) = mended(&stored, head, url);
        assert!(is_whole && after == whole, "{:?}", said.first());
    }
}

/// Whatever a mirror says instead of an object that is damaged here, that object is named, and nothing is written.
#[test]
fn what_does_not_fit_is_refused() {
    let (whole, head) = grown(DEEP);
    for names in [
        &["tile/entries/000"][..],
        &["tile/entries/257"],
        &["tile/entries/258.p/188"],
        &["tile/0/003", "tile/entries/003"],
        &["tile/0/256", "tile/entries/256"],
    ] {
        let (mut stored, mut lies) = (whole.clone(), whole.clone());
        for name in names {
            stored.remove(*name);
            lies.insert((*name).to_owned(), flipped(&whole[*name]));
        }
        let (said, is_whole, after) = mended(&stored, head, &mirror(lies));
        assert!(!is_whole && after == stored, "{said:?}");
        // A partial bundle that is not there goes by the full one's name: any wider one would do.
        let named: Vec<_> = names.iter().map(|name| name.split(".p/").next().unwrap()).collect();
        for name in &named {
            let refused = Mend { name: (*name).to_owned(), fate: Fate::Left { why: Why::Refused } };
            assert!(said.contains(&refused) || names.len() > 1, "{name}: {said:?}");
        }
        assert!(said.iter().all(|mend| named.contains(&&*mend.name)) && !said.is_empty(), "{said:?}");
    }
}
