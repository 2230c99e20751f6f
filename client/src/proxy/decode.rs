//! Content encodings undone, to read a copy of what passes by. A body that cannot be read passes all the same.

use std::{fmt, io};

use compression_codecs::{
    BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder, ZstdDecoder,
    core::util::{PartialBuffer, WriteBuffer},
    zstd::params::DParameter,
};
use hyper::header::{self, HeaderMap};

/// How many bytes are decoded at a time.
const STEP_BYTES: usize = 16 * 1024;

/// From how many decoded bytes on a body must not be a bomb.
const HARMLESS_BYTES: u64 = 1024 * 1024;

/// How often longer than on the wire a body may be. Services' JSON shrinks by ten or twenty.
const RATIO_MAX: u64 = 200;

/// Most bytes of one body that are decoded at all.
const DECODED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The largest window of zstd as a content encoding (RFC 9659): 8 MB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Undoes the content encoding of a body that comes in pieces.
pub struct Decoder {
    coding: Option<Box<dyn DecodeV2 + Send>>,
    is_over: bool,
    taken: u64,
    given: u64,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} of {} bytes)", self.given, self.taken)
    }
}

impl Decoder {
    /// For the body that goes with these headers; `None` if its encoding is not known.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = Vec::new();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let names = value.to_str().ok()?.split(',').map(|name| name.trim().to_ascii_lowercase());
            codings.extend(names.filter(|name| !name.is_empty() && name != "identity"));
        }
        let coding: Option<Box<dyn DecodeV2 + Send>> = match codings.as_slice() {
            [] => None,
            [one] => Some(match one.as_str() {
                "gzip" | "x-gzip" => Box::new(GzipDecoder::new()),
                "deflate" => Box::new(ZlibDecoder::new()),
                "br" => Box::new(BrotliDecoder::new()),
                "zstd" => {
                    Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)]))
                }
                _ => return None,
            }),
            _ => return None,
        };
        Some(Self { coding, is_over: false, taken: 0, given: 0 })
    }

    /// Decodes the next piece; `each` gets what comes out of it, step by step.
    ///
    /// After an error nothing more can be read.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        let Some(coding) = &mut self.coding else {
            each(bytes);
            return Ok(());
        };
        if self.is_over {
            return Ok(());
        }
        self.taken += bytes.len() as u64;
        let mut input = PartialBuffer::new(bytes);
        let mut step = [0; STEP_BYTES];
        loop {
            let mut output = WriteBuffer::new_initialized(&mut step);
            let is_whole = input.unwritten().is_empty();
            self.is_over = if is_whole {
                // What the decoder holds back belongs to events that have passed already.
                coding.flush(&mut output)?;
                false
            } else {
                coding.decode(&mut input, &mut output)?
            };
            let given = output.written().len();
            each(output.written());
            self.given += given as u64;
            if self.given > DECODED_BYTES_MAX
                || (self.given > HARMLESS_BYTES && self.given / RATIO_MAX > self.taken)
            {
                return Err(DecodeError::Bomb);
            }
            if self.is_over || (is_whole && given < STEP_BYTES) {
                return Ok(());
            }
        }
    }
}

/// Undoes the content encoding of a body that is there, up to `bytes_max` bytes; `None` if it cannot be read.
pub fn whole(headers: &HeaderMap, body: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut decoder = Decoder::of(headers)?;
    let mut decoded = Vec::new();
    let mut is_too_long = false;
    let result = decoder.push(body, &mut |bytes| {
        is_too_long |= decoded.len() + bytes.len() > bytes_max;
        if !is_too_long {
            decoded.extend_from_slice(bytes);
        }
    });
    (result.is_ok() && !is_too_long).then_some(decoded)
}

/// Why a body cannot be read any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not in the encoding that its headers name.
    #[error("the body is not in its content encoding")]
    Coding(#[from] io::Error),
    /// It grows without end.
    #[error("the body is out of proportion to what was sent")]
    Bomb,
}

#[cfg(test)]
mod tests {
    use compression_codecs::{
        BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder, brotli::params::EncoderParams,
        core::Level, zstd::params::CParameter,
    };

    use super::*;

    fn headers(coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        headers
    }

    fn encoder(coding: &str) -> Box<dyn EncodeV2> {
        match coding {
            "gzip" => Box::new(GzipEncoder::new(Level::Default.into())),
            "deflate" => Box::new(ZlibEncoder::new(Level::Default.into())),
            "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Precise(4)))),
            "zstd" => Box::new(ZstdEncoder::new_with_params(3, &[CParameter::window_log(18)])),
            other => panic!("{other}"),
        }
    }

    /// Encodes events one by one, each flushed, as a service that streams does.
    fn encode(coding: &str, events: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut encoder = encoder(coding);
        let mut pieces = Vec::new();
        for (n, event) in events.iter().enumerate() {
            let mut input = PartialBuffer::new(event.as_slice());
            let mut piece = Vec::new();
            let mut step = [0; 512];
            let mut is_done = false;
            while !is_done {
                let mut output = WriteBuffer::new_initialized(&mut step);
                is_done = if !input.unwritten().is_empty() {
                    encoder.encode(&mut input, &mut output).unwrap();
                    false
                } else if n + 1 == events.len() {
                    encoder.finish(&mut output).unwrap()
                } else {
                    encoder.flush(&mut output).unwrap()
                };
                piece.extend_from_slice(output.written());
            }
            pieces.push(piece);
        }
        pieces
    }

    fn events() -> Vec<Vec<u8>> {
        let event = |n: usize| format!("data: {{\"n\":{n},\"text\":\"{}\"}}\n\n", "abc".repeat(n * n % 97));
        (0..200).map(|n| event(n).into_bytes()).collect()
    }

    /// Each event can be read once its bytes have passed, in every encoding, however it is cut.
    #[test]
    fn events_come_out_as_they_pass() {
        let events = events();
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let pieces = encode(coding, &events);
            let mut decoder = Decoder::of(&headers(coding)).unwrap();
            let (mut expected, mut decoded) = (Vec::new(), Vec::new());
            for (event, piece) in events.iter().zip(&pieces) {
                expected.extend_from_slice(event);
                for cut in piece.chunks(7) {
                    decoder.push(cut, &mut |bytes| decoded.extend_from_slice(bytes)).unwrap();
                }
                assert_eq!(decoded, expected, "{coding}");
            }
            assert_eq!(whole(&headers(coding), &pieces.concat(), expected.len()).as_ref(), Some(&expected));
            assert_eq!(whole(&headers(coding), &pieces.concat(), expected.len() - 1), None);
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let zeros = vec![vec![b'0'; 64 * 1024 * 1024]];
        for coding in ["gzip", "br", "zstd"] {
            let bomb = encode(coding, &zeros).concat();
            let mut decoder = Decoder::of(&headers(coding)).unwrap();
            let mut decoded = 0;
            let stopped = bomb
                .chunks(1024)
                .find_map(|piece| decoder.push(piece, &mut |bytes| decoded += bytes.len()).err());
            assert!(matches!(stopped, Some(DecodeError::Bomb)), "{coding}");
            assert!(decoded < 2 * 1024 * 1024, "{coding}: {decoded}");
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_said_to_be() {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let mut decoder = Decoder::of(&headers(coding)).unwrap();
            let rubbish = decoder.push(&[0xff; 4096], &mut |_| {});
            assert!(matches!(rubbish, Err(DecodeError::Coding(_))), "{coding}");
        }
        assert!(Decoder::of(&headers("compress")).is_none());
        assert!(Decoder::of(&headers("gzip, br")).is_none());
        let mut plain = Vec::new();
        let mut decoder = Decoder::of(&headers("identity")).unwrap();
        decoder.push(b"abc", &mut |bytes| plain.extend_from_slice(bytes)).unwrap();
        assert_eq!(plain, b"abc");
    }
}
