//! Trust policies: which logs, which witnesses, and how many of those make a checkpoint good (C2SP tlog-policy).

use std::{collections::HashMap, str::FromStr};

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    cosign::Cosignature,
    key::{Algorithm, KeyError, VerifierKey},
    note::NoteError,
};

/// The longest policy that is read.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// The most witnesses and groups together, and so the deepest nesting; the specification demands 32 of each kind.
const NAMES_MAX: usize = 1024;

/// A parsed policy.
///
/// A log's own clock may be listed as a witness, so that its times are checked, but never counted towards a quorum:
/// a log that vouches for itself proves nothing.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<Listed>,
    witnesses: Vec<(String, Listed)>,
    quorum: Quorum,
}

/// A key, and where its owner is reached.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key.
    pub key: VerifierKey,
    /// A log's prefix, or a witness' submission prefix, if given.
    pub url: Option<String>,
}

#[derive(Clone, Debug)]
enum Quorum {
    Witness(usize),
    Group { needed: usize, members: Vec<Self> },
}

impl Quorum {
    fn holds(&self, signed: &[bool]) -> bool {
        match self {
            Self::Witness(witness) => signed[*witness],
            Self::Group { needed, members } => {
                members.iter().filter(|member| member.holds(signed)).count() >= *needed
            }
        }
    }

    fn counts(&self, witness: usize) -> bool {
        match self {
            Self::Witness(own) => *own == witness,
            Self::Group { members, .. } => members.iter().any(|member| member.counts(witness)),
        }
    }
}

/// A checkpoint that a policy accepts, and who cosigned it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The checkpoint, verified with the key of its log.
    pub checkpoint: VerifiedCheckpoint,
    /// Cosignatures of the policy's witnesses, in its order; no log's clock is among them.
    pub witnesses: Vec<Cosignature>,
    /// When the log itself says it made the checkpoint, if the policy lists its clock.
    pub clock: Option<Cosignature>,
}

impl Policy {
    /// The logs, any of which is acceptable.
    pub fn logs(&self) -> &[Listed] {
        &self.logs
    }

    /// The witnesses with their names in the policy, clocks among them.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &Listed)> {
        self.witnesses.iter().map(|(name, listed)| (name.as_str(), listed))
    }

    /// The clock of a log, if it is listed.
    pub fn clock_of(&self, log: &VerifierKey) -> Option<&VerifierKey> {
        let is_clock = |key: &&VerifierKey| is_clock_of(key, log);
        self.witnesses.iter().map(|(_, listed)| &listed.key).find(is_clock)
    }

    /// Whether the quorum would be met if exactly those witnesses cosigned of whom `signs` says so.
    pub fn is_met_by(&self, signs: impl Fn(&str, &Listed) -> bool) -> bool {
        let signed: Vec<_> = self.witnesses().map(|(name, listed)| signs(name, listed)).collect();
        self.quorum.holds(&signed)
    }

    /// Checks the log's signature, every cosignature of a listed witness, and the quorum.
    pub fn check(&self, signed: &SignedCheckpoint) -> Result<Accepted, PolicyError> {
        let origin = &signed.unverified().origin;
        let log = self
            .logs
            .iter()
            .find(|log| log.key.name().as_str() == origin.as_str())
            .ok_or_else(|| PolicyError::UnknownLog { origin: origin.to_string() })?;
        let checkpoint = signed.verify(&log.key)?;
        let (mut witnesses, mut clock) = (Vec::new(), None);
        let mut signers = vec![false; self.witnesses.len()];
        for (has_signed, (_, listed)) in signers.iter_mut().zip(&self.witnesses) {
            let cosignature = match checkpoint.cosignature(&listed.key) {
                Ok(cosignature) => cosignature,
                Err(CheckpointError::Note(NoteError::NotSigned { .. })) => continue,
                Err(error) => return Err(error.into()),
            };
            *has_signed = true;
            if is_clock_of(&listed.key, &log.key) {
                clock = Some(cosignature);
            } else if !is_clock(&listed.key, &self.logs) {
                witnesses.push(cosignature);
            }
        }
        if !self.quorum.holds(&signers) {
            return Err(PolicyError::NoQuorum { witnesses: witnesses.len() });
        }
        Ok(Accepted { checkpoint, witnesses, clock })
    }
}

fn is_clock_of(key: &VerifierKey, log: &VerifierKey) -> bool {
    key.name().as_str().strip_suffix("/clock") == Some(log.name().as_str())
}

fn is_clock(key: &VerifierKey, logs: &[Listed]) -> bool {
    logs.iter().any(|log| is_clock_of(key, &log.key))
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong { got: text.len() });
        }
        let mut parser = Parser::default();
        for (index, line) in text.split('\n').enumerate() {
            parser.line(line).map_err(|reason| PolicyError::Line { number: index + 1, reason })?;
        }
        parser.finish()
    }
}

#[derive(Default)]
struct Parser {
    logs: Vec<Listed>,
    witnesses: Vec<(String, Listed)>,
    /// What a name stands for; taken out once a group or the quorum has used it.
    names: HashMap<String, Option<Quorum>>,
    quorum: Option<Quorum>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        if line.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Err(LineError::Control);
        }
        let words: Vec<_> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key, url @ ..] => self.log(key, url),
            ["witness", name, key, url @ ..] => self.witness(name, key, url),
            ["group", name, needed, members @ ..] => self.group(name, needed, members),
            ["quorum", name] => self.set_quorum(name),
            [first, ..] => Err(LineError::Form { keyword: (*first).to_owned() }),
        }
    }

    fn log(&mut self, key: &str, url: &[&str]) -> Result<(), LineError> {
        let listed = listed(key, url, Algorithm::Ed25519)?;
        let again =
            |log: &Listed| log.key.as_bytes() == listed.key.as_bytes() || log.key.name() == listed.key.name();
        if self.logs.iter().any(again) {
            return Err(LineError::Duplicate);
        }
        self.logs.push(listed);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: &[&str]) -> Result<(), LineError> {
        let listed = listed(key, url, Algorithm::CosignatureV1)?;
        if self.witnesses.iter().any(|(_, other)| other.key.as_bytes() == listed.key.as_bytes()) {
            return Err(LineError::Duplicate);
        }
        self.define(name, Quorum::Witness(self.witnesses.len()))?;
        self.witnesses.push((name.to_owned(), listed));
        Ok(())
    }

    fn group(&mut self, name: &str, needed: &str, members: &[&str]) -> Result<(), LineError> {
        let needed = match needed {
            "any" => 1,
            "all" => members.len(),
            number => number
                .parse()
                .ok()
                .filter(|parsed: &usize| parsed.to_string() == number)
                .ok_or(LineError::Threshold)?,
        };
        if needed == 0 || needed > members.len() {
            return Err(LineError::Threshold);
        }
        let members = members.iter().map(|member| self.take(member)).collect::<Result<_, _>>()?;
        self.define(name, Quorum::Group { needed, members })
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), LineError> {
        if self.quorum.is_some() {
            return Err(LineError::SecondQuorum);
        }
        self.quorum = Some(match name {
            "none" => Quorum::Group { needed: 0, members: Vec::new() },
            name => self.take(name)?,
        });
        Ok(())
    }

    fn define(&mut self, name: &str, meaning: Quorum) -> Result<(), LineError> {
        if name == "none" || self.names.contains_key(name) || self.names.len() == NAMES_MAX {
            return Err(LineError::Name { name: name.to_owned() });
        }
        self.names.insert(name.to_owned(), Some(meaning));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Result<Quorum, LineError> {
        let unusable = || LineError::Member { name: name.to_owned() };
        self.names.get_mut(name).and_then(Option::take).ok_or_else(unusable)
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        let quorum = self.quorum.ok_or(PolicyError::QuorumMissing)?;
        for (index, (name, listed)) in self.witnesses.iter().enumerate() {
            if is_clock(&listed.key, &self.logs) && quorum.counts(index) {
                return Err(PolicyError::ClockCounted { name: name.clone() });
            }
            if self.logs.iter().any(|log| log.key.as_bytes() == listed.key.as_bytes()) {
                return Err(PolicyError::LogAsWitness { name: name.clone() });
            }
        }
        Ok(Policy { logs: self.logs, witnesses: self.witnesses, quorum })
    }
}

fn listed(key: &str, url: &[&str], algorithm: Algorithm) -> Result<Listed, LineError> {
    let key: VerifierKey = key.parse()?;
    if key.algorithm() != algorithm {
        return Err(LineError::Algorithm);
    }
    let url = match url {
        [] => None,
        [url] => Some((*url).to_owned()),
        _ => return Err(LineError::Trailing),
    };
    Ok(Listed { key, url })
}

/// The policy that trusts one log on its word: its key, its clock as a witness that does not count, no quorum.
pub fn log_alone(log: &VerifierKey, clock: &VerifierKey) -> String {
    format!("log {log}\nwitness clock {clock}\nquorum none\n")
}

/// Why text is not a policy, or a checkpoint not acceptable to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Above [`POLICY_BYTES_MAX`].
    #[error("the policy has {got} bytes, above {POLICY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// A line that cannot be read.
    #[error("policy line {number}: {reason}")]
    Line {
        /// Which line, from 1.
        number: usize,
        /// What is wrong with it.
        reason: LineError,
    },
    /// No quorum line.
    #[error("the policy has no quorum line")]
    QuorumMissing,
    /// The quorum counts a log's own clock.
    #[error("the quorum counts {name}, which is the log's own clock")]
    ClockCounted {
        /// Its name in the policy.
        name: String,
    },
    /// One key is both a log's and a witness'.
    #[error("the key of witness {name} is also a log's")]
    LogAsWitness {
        /// Its name in the policy.
        name: String,
    },
    /// The checkpoint is of a log that is not listed.
    #[error("the policy lists no log {origin}")]
    UnknownLog {
        /// The checkpoint's origin.
        origin: String,
    },
    /// The checkpoint, or one of its cosignatures, is bad.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Too few witnesses cosigned.
    #[error("the policy's quorum is not met; {witnesses} of its witnesses cosigned")]
    NoQuorum {
        /// How many did.
        witnesses: usize,
    },
}

/// What is wrong with a policy's line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A control character.
    #[error("control character")]
    Control,
    /// Not a line of the format.
    #[error("not a log, witness, group or quorum line: {keyword}")]
    Form {
        /// Its first word.
        keyword: String,
    },
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A log with a cosigner's key or the other way round.
    #[error("a log's key has algorithm 0x01, a witness' 0x04")]
    Algorithm,
    /// Words after the URL.
    #[error("more words than the line can have")]
    Trailing,
    /// The key was listed before.
    #[error("the same key is listed twice")]
    Duplicate,
    /// A name that is taken or reserved.
    #[error("the name {name} is reserved, taken, or one too many")]
    Name {
        /// That name.
        name: String,
    },
    /// Not between 1 and the number of members.
    #[error("a group's threshold is any, all, or a number from 1 to that of its members")]
    Threshold,
    /// An unknown name, or one that was used already.
    #[error("{name} is not defined above, or already a member elsewhere")]
    Member {
        /// That name.
        name: String,
    },
    /// More than one quorum line.
    #[error("a second quorum line")]
    SecondQuorum,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{Checkpoint, Origin},
        key::{KeyName, NoteSigner},
        tree::TreeHead,
    };

    fn signer(name: &str, algorithm: Algorithm, seed: u8) -> NoteSigner {
        NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]).unwrap()
    }

    fn signed_by(log: &NoteSigner, cosigners: &[&NoteSigner]) -> SignedCheckpoint {
        let origin = Origin::new(log.public().name().as_str()).unwrap();
        let mut signed = Checkpoint::new(origin, TreeHead::EMPTY).sign(log);
        for (time, cosigner) in cosigners.iter().enumerate() {
            signed.cosign(cosigner, time as u64);
        }
        signed
    }

    /// Every set of witnesses is accepted exactly when a count of its members says so.
    #[test]
    fn thresholds_are_counted() {
        let log = signer("log.example", Algorithm::Ed25519, 1);
        let witnesses: Vec<_> =
            (0..3).map(|i| signer(&format!("w{i}"), Algorithm::CosignatureV1, 10 + i)).collect();
        let keys: Vec<_> = witnesses.iter().map(|w| w.public().to_string()).collect();
        let policy: Policy = format!(
            "# two of three, the third by way of a group\nlog {}\nwitness a {} https://a.example/\n\twitness b {}\nwitness c {}\ngroup inner any c\ngroup all 2 a b inner\nquorum all\n",
            log.public(), keys[0], keys[1], keys[2]
        )
        .parse()
        .unwrap();
        for set in 0..8_u32 {
            let cosigners: Vec<_> =
                (0..3).filter(|bit| set >> bit & 1 == 1).map(|bit| &witnesses[bit]).collect();
            let checked = policy.check(&signed_by(&log, &cosigners));
            let would = policy.is_met_by(|_, listed| cosigners.iter().any(|c| *c.public() == listed.key));
            assert_eq!(would, checked.is_ok());
            match set.count_ones() {
                2.. => assert_eq!(checked.unwrap().witnesses.len(), cosigners.len()),
                n => assert_eq!(checked.unwrap_err(), PolicyError::NoQuorum { witnesses: n as usize }),
            }
        }
        let stranger = signer("other.example", Algorithm::Ed25519, 2);
        assert!(matches!(policy.check(&signed_by(&stranger, &[])), Err(PolicyError::UnknownLog { .. })));
        let impostor = signer("log.example", Algorithm::Ed25519, 3);
        assert!(matches!(policy.check(&signed_by(&impostor, &[])), Err(PolicyError::Checkpoint(_))));
    }

    /// The clock shows when, and never counts.
    #[test]
    fn a_log_cannot_vouch_for_itself() {
        let log = signer("log.example", Algorithm::Ed25519, 1);
        let clock = signer("log.example/clock", Algorithm::CosignatureV1, 2);
        let alone = log_alone(log.public(), clock.public());
        let policy: Policy = alone.parse().unwrap();
        let accepted =
            policy.check(&signed_by(&log, &[&signer("x", Algorithm::CosignatureV1, 9), &clock])).unwrap();
        assert_eq!((accepted.witnesses.len(), accepted.clock.map(|clock| clock.time_s)), (0, Some(1)));

        let counted = alone.replace("quorum none", "quorum clock");
        assert!(matches!(counted.parse::<Policy>(), Err(PolicyError::ClockCounted { .. })));
        let nested = alone.replace("quorum none", "group g any clock\nquorum g");
        assert!(matches!(nested.parse::<Policy>(), Err(PolicyError::ClockCounted { .. })));
    }

    #[test]
    fn malformed_policies_name_the_line() {
        let log = signer("log.example", Algorithm::Ed25519, 1).public().to_string();
        let w = signer("w", Algorithm::CosignatureV1, 2).public().to_string();
        let same_key = signer("v", Algorithm::CosignatureV1, 2).public().to_string();
        for (text, bad_line) in [
            (format!("log {w}\nquorum none"), 1),
            (format!("witness a {log}\nquorum none"), 1),
            (format!("log {log}\nlog {log}\nquorum none"), 2),
            (format!("witness a {w}\nwitness b {same_key}\nquorum none"), 2),
            (format!("witness none {w}\nquorum none"), 1),
            (format!("witness a {w}\ngroup g 2 a\nquorum g"), 2),
            (format!("witness a {w}\ngroup g 0 a\nquorum g"), 2),
            (format!("witness a {w}\ngroup g 01 a\nquorum g"), 2),
            (format!("witness a {w}\ngroup g any a\ngroup h any a\nquorum h"), 3),
            (format!("witness a {w}\ngroup g any a a\nquorum g"), 2),
            (format!("witness a {w} url more\nquorum a"), 1),
            ("quorum none\nquorum none".to_owned(), 2),
            ("quorum nobody".to_owned(), 1),
            ("cosigner a".to_owned(), 1),
            ("quorum\u{b} none".to_owned(), 1),
            ("\nquorum none\r\n".to_owned(), 2),
        ] {
            match text.parse::<Policy>() {
                Err(PolicyError::Line { number, .. }) => assert_eq!(number, bad_line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(format!("log {log}").parse::<Policy>().unwrap_err(), PolicyError::QuorumMissing);
    }
}
