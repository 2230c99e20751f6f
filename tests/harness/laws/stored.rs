//! What is stored with a digest. The fuzzer makes what is under the digest, the law makes the digest.

use bytes::Bytes;
use counterfoil_client::proxy::spool::record::{FRAME_BYTES, Record};
use counterfoil_merkle::{Hash, bundle::BUNDLE_ITEM_BYTES_MAX};
use counterfoil_server::{commit::CommitRecord, recover::parse_commit};

/// A commit record has one form: what is accepted is printed identically, and every item lies in it.
pub fn commit_record(bytes: &[u8]) -> bool {
    let whole = Bytes::from([bytes, Hash::of(&[bytes]).as_bytes()].concat());
    assert!(CommitRecord::parse(&Bytes::copy_from_slice(bytes)).is_err(), "a record without its digest");
    let Ok(record) = CommitRecord::parse(&whole) else { return false };
    let (printed, digest) = CommitRecord::format(&record.header, record.items.iter());
    assert!(printed == whole && digest == record.digest, "accepted, and printed otherwise");
    assert!(
        record.items.iter().all(|item| item.entry.len().max(item.statement.len()) <= BUNDLE_ITEM_BYTES_MAX)
    );
    assert!(parse_commit(&whole, record.header.number).is_ok());
    assert!(parse_commit(&whole, record.header.number.wrapping_add(1)).is_err(), "another's number");
    true
}

/// A record of the proxy's spool has one form, and is whole at its own place alone.
pub fn spool_record(bytes: &[u8]) -> bool {
    let (segment, offset) = (3, 4096);
    let Some((kind, body)) = bytes.split_first() else { return false };
    let length = u32::try_from(body.len()).expect("a short input").to_be_bytes();
    let framed = [&length[..], &[*kind], body].concat();
    let place = [3_u64.to_be_bytes(), 4096_u64.to_be_bytes()].concat();
    let digest = Hash::of(&[&place, &framed]);
    let stored = [&framed[..], digest.as_bytes(), b"what follows"].concat();
    let Some((record, length)) = Record::read(segment, offset, &stored) else { return false };
    assert_eq!(length as usize, body.len() + FRAME_BYTES);
    let mut printed = Vec::new();
    assert_eq!(record.frame(segment, offset, &mut printed), length);
    assert_eq!(printed, stored[..printed.len()], "accepted, and printed otherwise");
    assert!(Record::read(segment, offset + 1, &stored).is_none(), "whole at another's place");
    assert!(Record::read(segment, offset, &stored[..printed.len() - 1]).is_none(), "whole before its end");
    true
}
