//! What the spool keeps, as bytes.
//!
//! A record lies in its segment as: length of its body (u32 big-endian), kind (one byte), body, and SHA-256 of segment
//! number, offset (both u64 big-endian), length, kind and body. So a record is whole, at its own place, or not there.

use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Id, Timestamp,
    statement::{Number, Numbering, StreamId},
};
use zeroize::Zeroizing;

/// Bytes of a frame beside the body.
pub const FRAME_BYTES: usize = 4 + 1 + Hash::BYTES;

/// The longest body: two contents of several megabytes, in base64, fit well.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The name of an exchange, drawn when it starts.
pub type ExchangeId = [u8; 16];

/// A record of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What a segment begins with.
    Head(Head),
    /// An exchange and its receipt.
    Exchange(Spooled),
    /// A receipt is in the log.
    Delivered(Delivered),
    /// Openings and claim key of an exchange were handed to the operator.
    Pushed {
        /// The exchange, by its place in the spool.
        sequence: u64,
    },
}

/// What a segment begins with: whose receipts these are, and where the numbers go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log that the receipts are meant for.
    pub log: String,
    /// The issuer's key.
    pub issuer: String,
    /// The place of the next receipt.
    pub next: Numbering,
    /// How many exchanges are in the segments before.
    pub sequence: u64,
}

/// An exchange and its receipt.
#[derive(Clone, PartialEq, Eq)]
pub struct Spooled {
    /// Its place in the spool, counted from 0.
    pub sequence: u64,
    /// Its name.
    pub exchange: ExchangeId,
    /// HMAC-SHA256 of the caller's credential under the spool's key.
    pub credential: [u8; 32],
    /// When the exchange was over.
    pub completed: Timestamp,
    /// The receipt's place in its stream.
    pub number: Number,
    /// The receipt's id.
    pub id: Id,
    /// The signed envelope.
    pub envelope: String,
    /// The openings, as their file.
    pub openings: Zeroizing<String>,
    /// The claim key, as its file.
    pub claim: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Spooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spooled(number {}, {:?})", self.number, self.id)
    }
}

/// What proves that a receipt is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The exchange, by its place in the spool.
    pub sequence: u64,
    /// The entry.
    pub entry: String,
    /// The proof.
    pub proof: String,
}

impl Record {
    /// Appends the record's frame to what will be written at `offset` of a segment, and gives its length.
    pub fn frame(&self, segment: u64, offset: u64, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(self.kind());
        let mut body = Writer(out);
        match self {
            Self::Head(head) => head.write(&mut body),
            Self::Exchange(spooled) => spooled.write(&mut body),
            Self::Delivered(delivered) => delivered.write(&mut body),
            Self::Pushed { sequence } => body.u64(*sequence),
        }
        let length = length_of(out.len() - start - 5);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        let digest = digest(segment, offset, &out[start..]);
        out.extend_from_slice(digest.as_bytes());
        length_of(out.len() - start)
    }

    /// Reads the frame that `bytes` start with, which lie at `offset` of a segment, and gives its length. `None`: there is
    /// none, or not all of it.
    pub fn read(segment: u64, offset: u64, bytes: &[u8]) -> Option<(Self, u32)> {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*head)).ok().filter(|&it| it <= BODY_BYTES_MAX)?;
        let framed = bytes.get(..5 + length)?;
        let stored = bytes.get(5 + length..length + FRAME_BYTES)?;
        if digest(segment, offset, framed).as_bytes() != stored {
            return None;
        }
        let mut body = Reader(&framed[5..]);
        let record = match framed[4] {
            0 => Self::Head(Head::read(&mut body)?),
            1 => Self::Exchange(Spooled::read(&mut body)?),
            2 => Self::Delivered(Delivered::read(&mut body)?),
            3 => Self::Pushed { sequence: body.u64()? },
            _ => return None,
        };
        body.0.is_empty().then_some((record, length_of(length + FRAME_BYTES)))
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Head(_) => 0,
            Self::Exchange(_) => 1,
            Self::Delivered(_) => 2,
            Self::Pushed { .. } => 3,
        }
    }
}

impl Head {
    const FORMAT: &str = "counterfoil-spool/v1";

    fn write(&self, out: &mut Writer<'_>) {
        out.text(Self::FORMAT);
        out.text(&self.log);
        out.text(&self.issuer);
        out.bytes(self.next.stream.as_bytes());
        out.u64(self.next.number.get());
        match &self.next.previous {
            Some(id) => out.bytes(id.as_bytes()),
            None => out.bytes(&[]),
        }
        out.u64(self.sequence);
    }

    fn read(body: &mut Reader<'_>) -> Option<Self> {
        if body.text()? != Self::FORMAT {
            return None;
        }
        let (log, issuer) = (body.text()?, body.text()?);
        let stream = StreamId::new(body.array()?);
        let number = Number::new(body.u64()?)?;
        let previous = match body.bytes()? {
            [] => None,
            id => Some(Id::new(Hash::new(id.try_into().ok()?))),
        };
        Some(Self { log, issuer, next: Numbering { stream, number, previous }, sequence: body.u64()? })
    }
}

impl Spooled {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.sequence);
        out.bytes(&self.exchange);
        out.bytes(&self.credential);
        out.u64(self.completed.millis());
        out.u64(self.number.get());
        out.bytes(self.id.as_bytes());
        out.text(&self.envelope);
        out.text(&self.openings);
        out.text(self.claim.as_deref().map_or("", String::as_str));
    }

    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            sequence: body.u64()?,
            exchange: body.array()?,
            credential: body.array()?,
            completed: Timestamp::from_millis(body.u64()?)?,
            number: Number::new(body.u64()?)?,
            id: Id::new(Hash::new(body.array()?)),
            envelope: body.text()?,
            openings: Zeroizing::new(body.text()?),
            claim: Some(body.text()?).filter(|claim| !claim.is_empty()).map(Zeroizing::new),
        })
    }
}

impl Delivered {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.sequence);
        out.text(&self.entry);
        out.text(&self.proof);
    }

    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { sequence: body.u64()?, entry: body.text()?, proof: body.text()? })
    }
}

fn digest(segment: u64, offset: u64, framed: &[u8]) -> Hash {
    Hash::of(&[&segment.to_be_bytes(), &offset.to_be_bytes(), framed])
}

/// No record is longer than a u32 says: bodies are bounded by what is held of an exchange.
fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a record below 4 GiB")
}

struct Writer<'w>(&'w mut Vec<u8>);

impl Writer<'_> {
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&length_of(bytes.len()).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*value))
    }

    fn bytes(&mut self) -> Option<&'r [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let head = (any::<String>(), any::<[u8; 16]>(), 0..9_u64, any::<Option<[u8; 32]>>()).prop_map(
            |(log, stream, number, previous)| {
                let stream = StreamId::new(stream);
                let previous = previous.map(|id| Id::new(Hash::new(id)));
                let next = Numbering { stream, number: Number::new(number).unwrap(), previous };
                Record::Head(Head { log, issuer: "key".to_owned(), next, sequence: number })
            },
        );
        let texts = (any::<String>(), any::<String>(), "[a-z]{0,9}");
        let exchange = (any::<[u8; 16]>(), any::<[u8; 32]>(), 0..9_u64, texts).prop_map(
            |(exchange, credential, number, (envelope, openings, claim))| {
                Record::Exchange(Spooled {
                    sequence: number,
                    exchange,
                    credential,
                    completed: Timestamp::from_millis(number).unwrap(),
                    number: Number::new(number).unwrap(),
                    id: Id::of_statement(envelope.as_bytes()),
                    envelope,
                    openings: Zeroizing::new(openings),
                    claim: Some(Zeroizing::new(claim)).filter(|claim| !claim.is_empty()),
                })
            },
        );
        let delivered = (any::<u64>(), any::<String>(), any::<String>())
            .prop_map(|(sequence, entry, proof)| Record::Delivered(Delivered { sequence, entry, proof }));
        let pushed = any::<u64>().prop_map(|sequence| Record::Pushed { sequence });
        prop_oneof![head, exchange, delivered, pushed]
    }

    proptest! {
        /// What is framed is read, at its place and nowhere else; cut or with one byte changed it is not there.
        #[test]
        fn records_are_whole_or_not_there(
            record in any_record(),
            segment in 0..3_u64,
            offset in 0..1000_u64,
            at in any::<prop::sample::Index>(),
            change in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            let length = record.frame(segment, offset, &mut bytes);
            prop_assert_eq!(usize::try_from(length).unwrap(), bytes.len());
            prop_assert_eq!(Record::read(segment, offset, &bytes), Some((record.clone(), length)));
            prop_assert_eq!(Record::read(segment + 1, offset, &bytes), None);
            prop_assert_eq!(Record::read(segment, offset + 1, &bytes), None);
            let at = at.index(bytes.len());
            prop_assert_eq!(Record::read(segment, offset, &bytes[..at]), None);
            bytes[at] ^= change;
            prop_assert_eq!(Record::read(segment, offset, &bytes), None);
        }
    }
}
