//! What a log serves, held against what its entries give.

use counterfoil_merkle::{
    bundle::parse_bundle,
    tile::{TilePath, TileTree},
};

use super::{
    finding::{Code, Place},
    report::Report,
};

/// Splits a served bundle, which must have as many items as its path says.
pub fn bundle_items<'b>(path: TilePath, served: &'b [u8], report: &mut Report) -> Option<Vec<&'b [u8]>> {
    let items = match parse_bundle(served) {
        Ok(items) => items,
        Err(error) => {
            report.push(Code::TileMalformed, Place::Tile(path), error);
            return None;
        }
    };
    if items.len() as u64 == path.width {
        return Some(items);
    }
    let message = format_args!("the bundle has {} items, not {}", items.len(), path.width);
    report.push(Code::TileMalformed, Place::Tile(path), message);
    None
}

/// Holds a served hash tile against the one that the entries give.
///
/// # Panics
/// If the latter has fewer hashes than the path calls for.
pub fn check_tile(path: TilePath, served: &[u8], computed: &TileTree, report: &mut Report) {
    let expected = computed.to_bytes(path.width);
    if served.len() != expected.len() {
        let message = format_args!("the tile has {} bytes, not {}", served.len(), expected.len());
        report.push(Code::TileMalformed, Place::Tile(path), message);
    } else if let Some(byte) = served.iter().zip(&expected).position(|(served, expected)| served != expected)
    {
        let message = format_args!("hash {} is not what the entries give", byte / 32);
        report.push(Code::TileMismatch, Place::Tile(path), message);
    }
}
