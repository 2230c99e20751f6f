//! Envelopes from a file: one that takes it all, or one a line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use counterfoil_receipt::{
    Envelope, Statement,
    envelope::ENVELOPE_BYTES_MAX,
    statement::{Number, StreamId},
};

use crate::file;

/// The longest line: an envelope, and white space around it.
const LINE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 4096;

/// The files, with receipts of one stream in the order of their numbers: they are named by id, so that a shell's list of
/// them has no order. A log takes them in any; readers do better with this one.
pub(super) fn in_order(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.len() > 1 {
        files.sort_by_cached_key(|path| position(path));
    }
    files
}

/// The place in a stream of the one envelope in a file.
fn position(path: &Path) -> Option<(StreamId, Number)> {
    if !path.is_file() {
        return None;
    }
    let envelope = Envelope::parse(&file::read(path, ENVELOPE_BYTES_MAX).ok()?).ok()?.verify().ok()?;
    let numbering = Statement::parse(&envelope).ok()?.frame.numbering?;
    Some((numbering.stream, numbering.number))
}

/// One envelope of the input.
#[derive(Debug)]
pub(super) struct Item {
    /// Where it stands.
    pub(super) place: String,
    /// The envelope, or why it is none.
    pub(super) envelope: Result<Envelope, String>,
    /// How much of the file is read.
    pub(super) percent: Option<u64>,
}

/// A file of envelopes.
pub(super) struct Input {
    name: String,
    reader: Box<dyn BufRead>,
    length: Option<u64>,
    read: u64,
    line: u64,
}

impl Input {
    /// Opens a file, or standard input if it is `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        if name == "-" {
            let reader = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { name: "standard input".to_owned(), reader, length: None, read: 0, line: 0 });
        }
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let length = file.metadata().ok().map(|metadata| metadata.len());
        Ok(Self { name, reader: Box::new(BufReader::new(file)), length, read: 0, line: 0 })
    }

    /// The next envelope.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Item>> {
        loop {
            let Some(mut text) = self.next_line()? else { return Ok(None) };
            if text.trim_ascii().is_empty() {
                continue;
            }
            let mut envelope = Envelope::parse(&text);
            if envelope.is_err() && self.line == 1 && self.is_short() {
                // Perhaps one envelope over several lines.
                self.reader.by_ref().take(LINE_BYTES_MAX as u64).read_to_end(&mut text)?;
                if let Ok(whole) = Envelope::parse(&text) {
                    envelope = Ok(whole);
                } else {
                    let rest = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
                    self.reader = Box::new(io::Cursor::new(text.split_off(rest)));
                }
            }
            let envelope = envelope.map_err(|error| error.to_string());
            let place = format!("{}, line {}", self.name, self.line);
            let percent = self.length.filter(|&length| length > 0).map(|length| self.read * 100 / length);
            return Ok(Some(Item { place, envelope, percent }));
        }
    }

    /// Whether the whole of it can be one envelope.
    fn is_short(&self) -> bool {
        self.length.is_some_and(|length| length <= LINE_BYTES_MAX as u64)
    }

    fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = || format!("cannot read {}", self.name);
        self.reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).with_context(read)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            anyhow::bail!("{}, line {}: longer than any envelope", self.name, self.line + 1);
        }
        self.line += 1;
        self.read += line.len() as u64;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::{SigningKey, VerifiedEnvelope};

    use super::*;

    fn read(text: &str) -> Vec<(String, bool)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        std::fs::write(&path, text).unwrap();
        let mut input = Input::open(&path).unwrap();
        let mut items = Vec::new();
        while let Some(item) = input.next().unwrap() {
            items.push((item.place.rsplit_once(", ").unwrap().1.to_owned(), item.envelope.is_ok()));
        }
        items
    }

    #[test]
    fn a_file_is_one_envelope_or_one_a_line() {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        let one = VerifiedEnvelope::sign(b"{}".to_vec(), &key).unwrap().into_envelope().to_json();
        let item = |line: u64, good| (format!("line {line}"), good);
        assert_eq!(read(""), []);
        assert_eq!(read(&one), [item(1, true)]);
        assert_eq!(read(&one.replace(',', ",\n")), [item(1, true)]);
        assert_eq!(read(&format!("{one}\n\n{one}\n")), [item(1, true), item(3, true)]);
        assert_eq!(read(&format!("{one}\nbad\n{one}")), [item(1, true), item(2, false), item(3, true)]);
        assert_eq!(read(&format!("bad\n{one}\n")), [item(1, false), item(2, true)]);
    }
}
