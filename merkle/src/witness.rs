//! What a log and a witness say to one another (C2SP tlog-witness): the request `add-checkpoint`, and its answers.
//!
//! All texts are strict: what parses prints back identically.

use std::{fmt, str::FromStr};

use crate::{
    hash::Hash,
    note::{NOTE_BYTES_MAX, Note, NoteError, SIGNATURES_MAX, SignatureLine},
    tree::TreeSize,
};

/// Where a witness takes checkpoints, below its submission prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// The media type of a 409 that tells the size which the witness has cosigned.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// How far the clocks of a log and of a witness may be apart, in seconds: beyond that one contradicts the other.
pub const SKEW_S_MAX: u64 = 600;

/// The most lines of a proof, whatever it proves.
pub const PROOF_LINES_MAX: usize = 63;

/// The longest request: a note, a proof and a size.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + PROOF_LINES_MAX * 45 + 32;

/// The longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = NOTE_BYTES_MAX;

/// Where a witness shows the newest checkpoint of a log that it has cosigned, below its monitoring prefix.
pub fn checkpoint_path(origin: &str) -> String {
    format!("{}/checkpoint", Hash::of(&[origin.as_bytes()]))
}

/// The body of `add-checkpoint`: a checkpoint, and proof that it grew from the one that the witness has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to have cosigned last; 0 if none.
    pub old: TreeSize,
    /// Consistency proof from there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The checkpoint, with any signature lines. Neither these nor its text have been looked at.
    pub checkpoint: Note,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = RequestError;

    fn from_str(body: &str) -> Result<Self, RequestError> {
        let (head, checkpoint) = body.split_once("\n\n").ok_or(RequestError::Form)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(RequestError::Old)?;
        let old = parse_decimal(old).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        for (index, line) in lines.enumerate() {
            if index == PROOF_LINES_MAX {
                return Err(RequestError::TooManyHashes);
            }
            proof.push(Hash::from_base64(line).map_err(|_| RequestError::Hash { line: index + 2 })?);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.parse()? })
    }
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: signature lines to put under the checkpoint, none of them checked.
    Cosigned(Vec<SignatureLine>),
    /// 409: the witness has cosigned another size than the request's old one.
    Conflict {
        /// That size.
        size: TreeSize,
    },
    /// Anything else, a 409 that tells no size among it.
    Refused {
        /// The HTTP status.
        status: u16,
    },
}

impl Answer {
    /// Reads an answer by its status, media type and body.
    ///
    /// # Errors
    /// If it is a 200 or a 409 with [`SIZE_MEDIA_TYPE`], and the body is not what that must have.
    pub fn parse(status: u16, media_type: Option<&str>, body: &str) -> Result<Self, AnswerError> {
        let essence = media_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        match status {
            200 => parse_lines(body).map(Self::Cosigned),
            409 if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(SIZE_MEDIA_TYPE)) => {
                let size = body.strip_suffix('\n').and_then(parse_decimal);
                size.map(|size| Self::Conflict { size }).ok_or(AnswerError::Size)
            }
            status => Ok(Self::Refused { status }),
        }
    }

    /// The body of a 200.
    pub fn format_lines(lines: &[SignatureLine]) -> String {
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The body of a 409.
    pub fn format_size(size: TreeSize) -> String {
        format!("{size}\n")
    }
}

fn parse_lines(body: &str) -> Result<Vec<SignatureLine>, AnswerError> {
    let body = body.strip_suffix('\n').ok_or(AnswerError::Lines)?;
    let lines: Vec<_> = body.split('\n').take(SIGNATURES_MAX + 1).collect();
    if lines.len() > SIGNATURES_MAX {
        return Err(AnswerError::Lines);
    }
    lines.into_iter().map(|line| line.parse().map_err(|_| AnswerError::Lines)).collect()
}

fn parse_decimal(text: &str) -> Option<TreeSize> {
    let size = TreeSize::new(text.parse().ok()?).ok()?;
    (size.to_string() == text).then_some(size)
}

/// Why a body is not a request to add a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No empty line.
    #[error("the old size, the proof and an empty line come before the checkpoint")]
    Form,
    /// Not `old` and a size.
    #[error("the first line is \"old \" and a decimal number of at most 2^40 without leading zeros")]
    Old,
    /// Not a hash.
    #[error("line {line} is not a digest in base64")]
    Hash {
        /// Which line, from 1.
        line: usize,
    },
    /// Above [`PROOF_LINES_MAX`].
    #[error("a proof has at most {PROOF_LINES_MAX} hashes")]
    TooManyHashes,
    /// What follows the empty line is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Why a witness' answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not signature lines.
    #[error("the answer is not made of signature lines")]
    Lines,
    /// Not a size.
    #[error("the answer is not a decimal number of at most 2^40 and the end of its line")]
    Size,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::SignedCheckpoint, key::VerifierKey, proof::ConsistencyProof};

    /// Made by an independent program from fixed keys: the log of seven receipts, from size 3 to 7.
    const REQUEST: &str = "old 3
VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=
1yHv32MtW+bRo94SBEc0T5ht7HeNfBhPbJwUzfAoHsY=
pPO3R2Ik9m8BlBdMIs8FfM6VfZTYI0tf31lCC6Yy878=
wwHqjyZcliF8fdAPCcKz2FD9h433PvIJcgHA9qdq2oA=

log.example/receipts
7
LvCkAL8kdZkKzn8cPKeavQCfRkUk97yN6cq/kVscJ0s=

— log.example/receipts cVWIm1wsShGjq1L3b31FgTEx0xb/pOyktqRqeNOH4Kfud0FIYmhj0mWLCgruABQHGXXwtzFIF2ca2u1IP77WCcbGAws=
";
    const COSIGNATURE: &str = "— witness.example/w1 4M0oZAAAAABlU/EAuhfPmd4tDyg5GJDH3xr3BWIlv48EXgSjpt6W2jHAydww5A2tZ0vHVBuYRKBPN31cs8PJcjVcKJ+y7F/cS2S5DA==\n";
    const LOG: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";
    const WITNESS: &str = "witness.example/w1+e0cd2864+BKCapfR6Z1mAL/lV+NwtKhSlyZ0jvpf4ZBJ/+Tg0VaTw";
    const ROOT_3: &str = "65d69e1ec96e778d72ebcbcfe5dda0a60a7f1cbcc2059b6366816e1770d830c2";

    /// The whole exchange, byte for byte: the request's proof holds, and the answer's line completes the checkpoint.
    #[test]
    fn an_exchange_reads_as_it_was_written() {
        let request: AddCheckpoint = REQUEST.parse().unwrap();
        assert_eq!(request.to_string(), REQUEST);
        let mut signed: SignedCheckpoint = request.checkpoint.try_into().unwrap();
        let head = signed.unverified().head;
        let proof = ConsistencyProof::new(request.old, head.size, request.proof).unwrap();
        assert_eq!(proof.verify(ROOT_3.parse().unwrap(), head.root), Ok(()));

        let Ok(Answer::Cosigned(lines)) = Answer::parse(200, None, COSIGNATURE) else {
            panic!("signature lines")
        };
        assert_eq!(Answer::format_lines(&lines), COSIGNATURE);
        lines.into_iter().for_each(|line| signed.push(line));
        let (log, witness): (VerifierKey, VerifierKey) = (LOG.parse().unwrap(), WITNESS.parse().unwrap());
        let cosignature = signed.verify(&log).unwrap().cosignature(&witness).unwrap();
        assert_eq!(cosignature.time_s, 1_700_000_000);
        assert_eq!(
            checkpoint_path("log.example/receipts"),
            format!("{}/checkpoint", Hash::of(&[b"log.example/receipts"]))
        );
    }

    /// A changed byte is refused, or read as the other request that it is.
    #[test]
    fn requests_have_one_form() {
        for position in 0..REQUEST.len() {
            for byte in [b'0', b'\n', b' ', b'=', 0xff] {
                let mut bytes = REQUEST.as_bytes().to_vec();
                bytes[position] = byte;
                let Ok(text) = std::str::from_utf8(&bytes) else { continue };
                if let Ok(request) = text.parse::<AddCheckpoint>() {
                    assert_eq!(request.to_string(), text);
                }
            }
            assert!(REQUEST[..].get(..position).is_none_or(|part| part.parse::<AddCheckpoint>().is_err()));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let hash = "VGL/6oYydNKKwqiuemg1x/bFAISOMa59RMjY05nGN4k=\n";
        let with = |count| REQUEST.replacen(hash, &hash.repeat(count), 1).parse::<AddCheckpoint>();
        assert_eq!(with(60).unwrap().proof.len(), PROOF_LINES_MAX);
        assert_eq!(with(61), Err(RequestError::TooManyHashes));
        for old in ["", "-1", "+3", "03", "3 ", "1099511627777", "9223372036854775808", "3\r", "x"] {
            let text = REQUEST.replacen("old 3", &format!("old {old}"), 1);
            assert_eq!(text.parse::<AddCheckpoint>(), Err(RequestError::Old), "{old:?}");
        }
        let stray = REQUEST.replacen("GN4k=", "GN4l=", 1);
        assert_eq!(stray.parse::<AddCheckpoint>(), Err(RequestError::Hash { line: 2 }));
        for (text, expected) in [
            ("", RequestError::Form),
            ("old 3\n", RequestError::Form),
            ("old 3\n\n", RequestError::Note(NoteError::NoSignatures)),
            ("\n\n", RequestError::Old),
        ] {
            assert_eq!(text.parse::<AddCheckpoint>(), Err(expected), "{text:?}");
        }
    }

    /// A size is believed in a 409 of its media type alone; every other answer is a refusal, so that nobody loops.
    #[test]
    fn answers_are_read_by_status_and_media_type() {
        let size = TreeSize::new(7).unwrap();
        let conflict = Ok(Answer::Conflict { size });
        assert_eq!(Answer::format_size(size), "7\n");
        for media_type in ["text/x.tlog.size", "Text/X.tlog.size; charset=utf-8"] {
            assert_eq!(Answer::parse(409, Some(media_type), "7\n"), conflict);
            for body in ["", "7", "07\n", "7\n\n", "-7\n", "9223372036854775808\n"] {
                assert_eq!(Answer::parse(409, Some(media_type), body), Err(AnswerError::Size), "{body:?}");
            }
        }
        for media_type in [None, Some("text/plain")] {
            assert_eq!(Answer::parse(409, media_type, "7\n"), Ok(Answer::Refused { status: 409 }));
        }
        assert_eq!(Answer::parse(500, Some(SIZE_MEDIA_TYPE), "7\n"), Ok(Answer::Refused { status: 500 }));
        let many = COSIGNATURE.repeat(SIGNATURES_MAX + 1);
        for body in ["", "\n", "7\n", &COSIGNATURE[..COSIGNATURE.len() - 1], &many] {
            assert_eq!(Answer::parse(200, None, body), Err(AnswerError::Lines), "{body:?}");
        }
    }
}
