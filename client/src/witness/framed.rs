//! A witness's files: a text under a line with its digest, so that damage shows.

use std::{io, path::Path};

use counterfoil_merkle::Hash;

use super::state::StateError;
use crate::file::{self, Access, FileError, Staged};

const HEADER: &str = "counterfoil-witness/v1 ";

/// Room for the line with the digest.
const HEADER_BYTES_MAX: usize = 128;

/// Writes a text durably beside its place.
pub(super) fn stage(path: &Path, text: &str) -> Result<Staged, FileError> {
    file::stage(path, print(text).as_bytes(), Access::Public)
}

/// Puts a text in place durably.
pub(super) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    stage(path, text)?.keep()
}

/// Reads a text; `None` if there is no such file.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Option<String>, StateError> {
    let bytes = match file::read_if_there(path, HEADER_BYTES_MAX + bytes_max) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if error.source.kind() == io::ErrorKind::FileTooLarge => {
            return Err(StateError::damaged(path, "it is longer than anything that was written"));
        }
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8(bytes).ok().and_then(|text| parse(&text).map(str::to_owned));
    text.map(Some).ok_or_else(|| StateError::damaged(path, "its digest is of something else"))
}

fn print(text: &str) -> String {
    format!("{HEADER}{}\n{text}", Hash::of(&[text.as_bytes()]))
}

fn parse(framed: &str) -> Option<&str> {
    let (digest, text) = framed.strip_prefix(HEADER)?.split_once('\n')?;
    (digest == Hash::of(&[text.as_bytes()]).to_string()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No byte can be changed and none cut off.
    #[test]
    fn damage_shows() {
        let framed = print("some\ntext\n");
        assert_eq!(parse(&framed), Some("some\ntext\n"));
        for position in 0..framed.len() {
            assert_eq!(parse(&framed[..position]), None, "cut at {position}");
            for bit in 0..7 {
                let mut bytes = framed.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                assert_eq!(parse(str::from_utf8(&bytes).unwrap()), None, "bit {bit} of byte {position}");
            }
        }
    }
}
