//! What every record says: a nonce, the log it is meant for, who issued it, and its place in a stream.

use std::{fmt, str::FromStr};

use super::{Kind, TEXT_BYTES_MAX};
use crate::{
    envelope::Id,
    hex,
    json::{
        INTEGER_MAX,
        field::{Field, FieldError, Object, Reason},
        write::ObjectWriter,
    },
    key::PublicKey,
};

/// The frame of a record's predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Fresh random bits, so that no digest of the record can be confirmed by guessing.
    pub nonce: Nonce,
    /// The log the record is meant for; another log refuses it.
    pub log: Origin,
    /// Who issued the record.
    pub issuer: Issuer,
    /// Its place in a stream of the issuer's.
    pub numbering: Option<Numbering>,
}

/// Who issued a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The key that signed it.
    pub key: PublicKey,
    /// The program that made it.
    pub software: Option<String>,
}

/// A place in a stream. A stream is named by issuer *and* stream id: nobody else can write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The stream.
    pub stream: StreamId,
    /// The place, counted from 0 without gaps.
    pub number: Number,
    /// The record before it.
    pub previous: Option<Id>,
}

impl Frame {
    /// Reads the frame of a record. `signer` is the key it is expected to name, and spares reading that again.
    pub(super) fn read(
        members: &mut Object<'_, '_>,
        signer: &PublicKey,
        kind: Kind,
    ) -> Result<Self, FieldError> {
        let nonce = members.required("nonce")?.parse()?;
        let log = members.required("log")?.parse()?;
        let issuer = Issuer::read(&members.required("issuer")?, signer, kind)?;
        if kind == Kind::Epoch {
            // Its `stream` is what it is about.
            return Ok(Self { nonce, log, issuer, numbering: None });
        }
        let numbering =
            match (members.optional("stream"), members.optional("number"), members.optional("previous")) {
                (Some(stream), Some(number), Some(previous)) => Some(Numbering {
                    stream: stream.parse()?,
                    number: Number::read(&number)?,
                    previous: previous.nullable(Field::parse)?,
                }),
                (None, None, None) => None,
                _ => {
                    return Err(
                        members.at("stream", Reason::Together { names: "stream, number and previous" })
                    );
                }
            };
        Ok(Self { nonce, log, issuer, numbering })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.display("nonce", self.nonce);
        members.string("log", self.log.as_str());
        members.object("issuer", |issuer| {
            issuer.string("key", self.issuer.key.as_str());
            if let Some(software) = &self.issuer.software {
                issuer.string("software", software);
            }
        });
        if let Some(Numbering { stream, number, previous }) = self.numbering {
            members.display("stream", stream);
            members.integer("number", number.get());
            match previous {
                Some(id) => members.display("previous", id),
                None => members.null("previous"),
            }
        }
    }
}

impl Issuer {
    fn read(field: &Field<'_, '_>, signer: &PublicKey, kind: Kind) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let key = members.required("key")?;
        let key = if key.string()? == signer.as_str() { signer.clone() } else { key.parse()? };
        let software = if kind.names_software() {
            members.maybe("software", |text| text.text(TEXT_BYTES_MAX).map(str::to_owned))?
        } else {
            None
        };
        members.finish()?;
        Ok(Self { key, software })
    }
}

/// 128 random bits, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 16]);

/// The name of a stream: 128 random bits, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId([u8; 16]);

macro_rules! sixteen_bytes {
    ($name:ident, $text:literal) => {
        impl $name {
            /// Wraps 16 bytes.
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex::write(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = FrameError;

            /// Reads 32 lower-case hex digits.
            fn from_str(text: &str) -> Result<Self, FrameError> {
                hex::parse(text).map(Self).ok_or(FrameError::Hex { what: $text })
            }
        }
    };
}

sixteen_bytes!(Nonce, "a nonce");
sixteen_bytes!(StreamId, "a stream's name");

/// The place of a record in its stream, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

impl Number {
    /// The first place.
    pub const FIRST: Self = Self(0);

    /// The place with that many before it; `None` beyond 2^53 - 1.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= INTEGER_MAX { Some(Self(number)) } else { None }
    }

    pub(super) fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        field.integer().map(Self)
    }

    /// How many places are before it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after it; `None` beyond 2^53 - 1.
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a log, as in the first line of its checkpoints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// Most bytes of an origin. The C2SP formats set no limit; records and file names want one.
    pub const BYTES_MAX: usize = 255;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.0)
    }
}

impl FromStr for Origin {
    type Err = FrameError;

    /// Reads what can be a key name of a signed note: no white space, no plus sign; here also no control character, quote or
    /// backslash.
    fn from_str(text: &str) -> Result<Self, FrameError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '+' | '"' | '\\');
        if text.is_empty() || text.len() > Self::BYTES_MAX || text.contains(forbidden) {
            return Err(FrameError::Origin);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text is not what a frame wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not 32 lower-case hex digits.
    #[error("{what} is 32 lower-case hex digits")]
    Hex {
        /// What should have been there.
        what: &'static str,
    },
    /// Not the origin of a log.
    #[error(
        "an origin has 1 to {} bytes without white space, plus sign, quote or backslash",
        Origin::BYTES_MAX
    )]
    Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_key_names() {
        for text in ["log.example/2026", "a", "ü"] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), text);
        }
        let long = "x".repeat(Origin::BYTES_MAX + 1);
        for text in ["", "a b", "a+b", "a\n", "a\u{2028}", "a\"b", "a\\b", long.as_str()] {
            assert_eq!(text.parse::<Origin>(), Err(FrameError::Origin), "{text:?}");
        }
    }

    #[test]
    fn numbers_end_where_integers_do() {
        let last = Number::new(INTEGER_MAX).unwrap();
        assert_eq!(last.next(), None);
        assert_eq!(Number::new(INTEGER_MAX + 1), None);
        assert_eq!(Number::FIRST.next().map(Number::get), Some(1));
    }
}
