//! Signed notes: a text and the signatures over it (C2SP signed-note).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::key::{Algorithm, IN_MEMORY, KeyId, KeyName, NoteSigner, Signer, SignerError, VerifierKey};

/// The longest note that is read: room for a checkpoint with some twenty post-quantum signatures.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;

/// The most signature lines that are read. The specification demands 16.
pub const SIGNATURES_MAX: usize = 64;

/// A text with the signature lines that came with it, none of them checked.
///
/// Parsing is strict: what parses prints back identically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

/// One signature line: `— name base64(id || signature)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// Name of the key.
    pub name: KeyName,
    /// Id of the key.
    pub id: KeyId,
    /// What follows the id; its form depends on the key's algorithm.
    pub signature: Vec<u8>,
}

impl Note {
    /// A note without signatures.
    ///
    /// # Errors
    /// [`NoteError::Text`] if the text is empty, does not end its last line or has a control character.
    pub fn new(text: String) -> Result<Self, NoteError> {
        let control = |c: char| c < ' ' && c != '\n';
        if !text.ends_with('\n') || text.contains(control) {
            return Err(NoteError::Text);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// The signed text; its last line is ended.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signature lines, as they came.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Adds a signature line at the end.
    pub fn push(&mut self, line: SignatureLine) {
        self.signatures.push(line);
    }

    /// Adds a plain Ed25519 signature.
    ///
    /// # Panics
    /// If the signer is a cosigner: cosignatures are over checkpoints.
    pub fn sign(&mut self, signer: &NoteSigner) {
        self.try_sign(signer).expect(IN_MEMORY);
    }

    /// As [`Note::sign`], wherever the key is.
    ///
    /// # Errors
    /// [`SignerError`] if it does not sign; the note is as it was.
    ///
    /// # Panics
    /// If the signer is a cosigner.
    pub fn try_sign(&mut self, signer: &dyn Signer) -> Result<(), SignerError> {
        let key = signer.public();
        assert_eq!(key.algorithm(), Algorithm::Ed25519, "a cosigner signs checkpoints only");
        let signature = signer.try_sign(self.text.as_bytes())?.to_vec();
        self.push(SignatureLine { name: key.name().clone(), id: key.id(), signature });
        Ok(())
    }

    /// Checks every line that names this key, and demands that there is one.
    ///
    /// A line with the key's name and id that does not verify makes the whole note bad, whatever other lines say.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        self.verify_lines(key, |signature| key.verifies(self.text.as_bytes(), signature))
    }

    /// As [`Note::verify`], with the check of one signature as an argument.
    pub(crate) fn verify_lines(
        &self,
        key: &VerifierKey,
        mut verifies: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.lines_of(key) {
            if !verifies(&line.signature) {
                return Err(NoteError::BadSignature { name: key.name().clone(), id: key.id() });
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::NotSigned { name: key.name().clone(), id: key.id() }) }
    }

    /// The lines that name this key.
    pub(crate) fn lines_of<'a>(&'a self, key: &'a VerifierKey) -> impl Iterator<Item = &'a SignatureLine> {
        self.signatures.iter().filter(|line| line.name == *key.name() && line.id == key.id())
    }

    /// The same text with only those lines that name one of these keys.
    pub fn only(&self, keys: &[&VerifierKey]) -> Self {
        let known =
            |line: &&SignatureLine| keys.iter().any(|key| line.name == *key.name() && line.id == key.id());
        let signatures = self.signatures.iter().filter(known).cloned().collect();
        Self { text: self.text.clone(), signatures }
    }
}

impl FromStr for Note {
    type Err = NoteError;

    /// Reads a note with at least one signature line.
    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { got: note.len() });
        }
        let split = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let mut parsed = Self::new(note[..=split].to_owned())?;
        let block = note[split + 2..].strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        for (number, line) in block.split('\n').enumerate() {
            if number == SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            parsed.push(line.parse()?);
        }
        Ok(parsed)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for SignatureLine {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let malformed = || NoteError::SignatureLine;
        let (name, encoded) =
            line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
        let name = KeyName::new(name).map_err(|_| malformed())?;
        let bytes = BASE64.decode(encoded).map_err(|_| malformed())?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
        if signature.is_empty() {
            return Err(malformed());
        }
        Ok(Self { name, id: KeyId::new(*id), signature: signature.to_vec() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_bytes().as_slice(), &self.signature].concat();
        write!(f, "— {} {}", self.name, BASE64.encode(bytes))
    }
}

/// Why bytes are not a note, or not one that a key signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Above [`NOTE_BYTES_MAX`].
    #[error("the note has {got} bytes, above {NOTE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// The text is empty, unended or has control characters.
    #[error("a note's text ends with a newline and has no control characters")]
    Text,
    /// No signature block.
    #[error("the note has no signatures")]
    NoSignatures,
    /// Above [`SIGNATURES_MAX`].
    #[error("the note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A line of the signature block is not one.
    #[error("a signature line is written \"— name base64\"")]
    SignatureLine,
    /// No line names the key.
    #[error("the note is not signed by {name}+{id}")]
    NotSigned {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// A line names the key and does not verify.
    #[error("the signature of {name}+{id} does not match the note")]
    BadSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP signed-note.
    const NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn the_specifications_example_verifies() {
        let note: Note = NOTE.parse().unwrap();
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.to_string(), NOTE);
        assert_eq!(note.verify(&key), Ok(()));
    }

    /// Any flipped bit makes the note malformed, unsigned or badly signed; a note that still parses prints back.
    #[test]
    fn no_bit_can_be_changed() {
        let key: VerifierKey = KEY.parse().unwrap();
        for bit in 0..NOTE.len() * 8 {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            let Ok(note) = text.parse::<Note>() else { continue };
            assert_eq!(note.to_string(), text);
            assert!(note.verify(&key).is_err(), "bit {bit}");
        }
    }

    /// Lines of unknown keys are ignored; a bad line under a known name and id spoils the note.
    #[test]
    fn one_bad_line_of_a_known_key_spoils_the_note() {
        let key: VerifierKey = KEY.parse().unwrap();
        let mut note: Note = NOTE.parse().unwrap();
        let good = note.signatures()[0].clone();
        note.push(SignatureLine { name: KeyName::new("grease").unwrap(), ..good.clone() });
        note.push(SignatureLine { id: KeyId::new([0; 4]), ..good.clone() });
        assert_eq!(note.verify(&key), Ok(()));
        assert_eq!(note.only(&[&key]).to_string(), NOTE);
        note.push(SignatureLine { signature: vec![0; 64], ..good });
        assert!(matches!(note.verify(&key), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn blank_lines_belong_to_the_text() {
        let line = &NOTE[NOTE.find('—').unwrap()..];
        let note: Note = format!("a\n\nb\n\n{line}").parse().unwrap();
        assert_eq!(note.text(), "a\n\nb\n");
        for bad in ["", "a\n", "a\n\n", "\n\n", "a\n\n— \n", "a\n\n— name \n", "a\tb\n\n— n AAAAAAA=\n"]
        {
            assert!(bad.parse::<Note>().is_err(), "{bad:?}");
        }
        let many = line.repeat(SIGNATURES_MAX);
        assert!(format!("a\n\n{many}").parse::<Note>().is_ok());
        assert_eq!(format!("a\n\n{many}{line}").parse::<Note>(), Err(NoteError::TooManySignatures));
    }
}
