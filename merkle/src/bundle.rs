//! Bundles: up to 256 entries, each after its length as two bytes, big end first (C2SP tlog-tiles). Statement
//! bundles have the same form; an empty slot there means that the statement was erased.

use crate::tile::TILE_WIDTH;

/// The longest item of a bundle, for its length has two bytes.
pub const BUNDLE_ITEM_BYTES_MAX: usize = u16::MAX as usize;

/// The longest bundle.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + BUNDLE_ITEM_BYTES_MAX);

/// Appends one item.
///
/// # Panics
/// If it is longer than [`BUNDLE_ITEM_BYTES_MAX`]: whoever admits items must hold that limit.
pub fn push_item(bundle: &mut Vec<u8>, item: &[u8]) {
    let length = u16::try_from(item.len()).expect("a bundle's item has at most 65,535 bytes");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(item);
}

/// The bundle of these items.
///
/// # Panics
/// As [`push_item`] does.
pub fn format_bundle<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for item in items {
        push_item(&mut bundle, item);
    }
    bundle
}

/// Splits a bundle into its items: 1 to 256, and nothing after them.
pub fn parse_bundle(bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut items = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        if items.len() as u64 == TILE_WIDTH {
            return Err(BundleError::TooMany);
        }
        let (item, after) = split_item(rest).ok_or(BundleError::Truncated { item: items.len() })?;
        items.push(item);
        rest = after;
    }
    if items.is_empty() { Err(BundleError::Empty) } else { Ok(items) }
}

/// The bundle with the items at some positions emptied, as erasures do to statements.
pub fn empty_items(bundle: &[u8], emptied: impl Fn(usize) -> bool) -> Result<Vec<u8>, BundleError> {
    let items = parse_bundle(bundle)?;
    let left = |(position, item)| if emptied(position) { &[][..] } else { item };
    Ok(format_bundle(items.into_iter().enumerate().map(left)))
}

/// Whether two bundles have as many items, and the same ones, but where either is empty: an erased statement equals
/// anything.
pub fn same_but_erased(one: &[u8], other: &[u8]) -> bool {
    let (Ok(one), Ok(other)) = (parse_bundle(one), parse_bundle(other)) else { return false };
    let same = |(one, other): (&&[u8], &&[u8])| one.is_empty() || other.is_empty() || one == other;
    one.len() == other.len() && one.iter().zip(&other).all(same)
}

/// The first item and what follows it, if it is all there.
pub fn split_item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Why bytes are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bytes end inside an item.
    #[error("the bundle ends inside item {item}")]
    Truncated {
        /// Position of that item.
        item: usize,
    },
    /// No items.
    #[error("a bundle has at least one item")]
    Empty,
    /// Bytes after 256 items.
    #[error("a bundle has at most 256 items")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the C2SP notes: two entries `receipt-0` and `receipt-1`.
    #[test]
    fn bundles_split_into_what_they_were_made_of() {
        let bundle = format_bundle([b"receipt-0".as_slice(), b"receipt-1"]);
        assert_eq!(bundle, b"\x00\x09receipt-0\x00\x09receipt-1");
        assert_eq!(parse_bundle(&bundle).unwrap(), [b"receipt-0", b"receipt-1"]);
        for end in 1..bundle.len() {
            if end != 11 {
                let item = usize::from(end > 11);
                assert_eq!(parse_bundle(&bundle[..end]), Err(BundleError::Truncated { item }));
            }
        }
        assert_eq!(parse_bundle(&[]), Err(BundleError::Empty));
        assert_eq!(parse_bundle(&[0; 512]).unwrap().len(), 256);
        assert_eq!(parse_bundle(&[0; 513]), Err(BundleError::TooMany));
    }
}
