//! The index is a convenience: whatever happens to it, no receipt is lost, and none enters twice.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::SigningKey;
use counterfoil_tests::{Deployment, Issuing};
use p256::ecdsa::Signature;
use serde_json::Value;

use crate::PROGRAMS;

/// One run of the index holds 65,536 entries; a few more, so that there is one.
const RECEIPTS: usize = 66_000;

fn post(log: &Deployment, envelope: &str) -> (u16, u64) {
    let reply = log.http().post("/v1/receipts", envelope.as_bytes()).unwrap();
    (reply.status, reply.json()["index"].as_u64().unwrap())
}

/// The same statement under another valid signature of the same key: (r, n - s) for (r, s).
fn signed_anew(envelope: &str) -> String {
    let mut parsed: Value = serde_json::from_str(envelope).unwrap();
    let sig = &mut parsed["signatures"][0]["sig"];
    let former = Signature::from_der(&BASE64.decode(sig.as_str().unwrap()).unwrap()).unwrap();
    let (r, s) = former.split_scalars();
    let anew = Signature::from_scalars(*r, -*s).unwrap();
    *sig = BASE64.encode(anew.to_der().as_bytes()).into();
    parsed.to_string()
}

/// Deletes the index, or damages each of its files, and checks that the next start knows every receipt by its id.
#[test]
fn a_lost_or_damaged_index_is_made_again() {
    let mut log = Deployment::start(PROGRAMS, "log.example/index");
    let mut first = Issuing::new(&log.origin, 500);
    let early: Vec<_> = (0..3).map(|_| first.issue().1).collect();
    let p256 = SigningKey::from_p256_scalar(&[5; 32]).unwrap();
    let elliptic = Issuing::with_key(&log.origin, 501, p256).issue().1;
    let places: Vec<_> = early.iter().chain([&elliptic]).map(|envelope| post(&log, envelope).1).collect();
    assert_eq!(places, [1, 2, 3, 4]);
    let keys = ["--log-key", &log.log_key, "--clock", &log.clock_key];
    let fill = RECEIPTS.to_string();
    let load = ["load", "--url", &log.url(), "--fill", &fill, "--batch", "500", "--connections", "8"];
    let _ = log.client(&[&load[..], &keys[..]].concat()).exits(0);
    let late = first.issue().1;
    let last = post(&log, &late).1;
    assert_eq!(last, RECEIPTS as u64 + 5);
    let index = log.directory().join("index");

    let nothing: fn(&Path) = |_| ();
    let delete: fn(&Path) = |index| fs::remove_dir_all(index).unwrap();
    let damage: fn(&Path) = |index| {
        for item in fs::read_dir(index).unwrap() {
            let path = item.unwrap().path();
            if path.is_file() {
                let mut bytes = fs::read(&path).unwrap();
                bytes.iter_mut().step_by(911).for_each(|byte| *byte ^= 0x55);
                fs::write(&path, bytes).unwrap();
            }
        }
    };
    for (harm, said) in [(nothing, None), (delete, None), (damage, Some("the index is made again"))] {
        log.down();
        harm(&index);
        log.up();
        for (place, envelope) in early.iter().chain([&elliptic]).enumerate() {
            assert_eq!(post(&log, envelope), (200, place as u64 + 1));
        }
        assert_eq!(post(&log, &signed_anew(&elliptic)), (200, 4), "another signature, the same receipt");
        assert_eq!(post(&log, &late), (200, last));
        assert!(said.is_none_or(|said| log.server_log().contains(said)), "{}", log.server_log());
    }
    log.down();
    let reindexed = log.server_run(&["reindex"]).exits(0);
    let size = last + 1;
    assert_eq!(reindexed.out, format!("{size} entries indexed\n{size} published entries can be searched\n"));
    log.up();
    assert_eq!(post(&log, &elliptic), (200, 4));
}
