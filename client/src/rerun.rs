//! Re-execution: a recorded request is run again, and what comes back is held against the recorded answer.
//!
//! Pure, but for [`ask`]: the bytes of both answers go in, a [`Comparison`] comes out. What is compared is what the answer says
//! (texts, tool calls, ids of tokens, embeddings), never ids, times or counts, which differ from call to call.

pub mod ask;
mod said;
pub mod vectors;

use std::fmt;

use counterfoil_receipt::{
    commitment::Openings,
    exchange::Call,
    json::{Data, Value},
    statement::{
        Decimal, Receipt, Sealable,
        receipt::{Api, Outcome, Protocol},
        verdict::{Limit, Measure, Scheme, VerdictResult},
    },
};

pub use said::Rubbish;
use said::{Body, Said};

/// How deeply bodies may nest, as where their facts are taken out.
const DEPTH_MAX: usize = 64;

/// A recorded exchange that can be run again.
#[derive(Clone, Debug)]
pub struct Recorded {
    api: Api,
    request: Vec<u8>,
    said: Said,
    /// Where in the request the model's name stands, quotes included.
    model: Option<std::ops::Range<usize>>,
    deterministic: bool,
    cut: bool,
    limits: Vec<Limit>,
}

/// How answers are compared.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The largest distance at which embeddings count as the same.
    pub tolerance: Decimal,
    /// Whether the same request may get another answer, whatever its settings say: then a difference shows nothing.
    pub nondeterministic: bool,
}

/// What came back when a request was run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The `content-type` header, if there is one.
    pub content_type: Option<String>,
    /// The body, content encoding undone.
    pub body: Vec<u8>,
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Supported, contradicted or inconclusive.
    pub result: VerdictResult,
    /// What was compared.
    pub scheme: Scheme,
    /// The distance of embeddings, and the tolerance.
    pub measure: Option<Measure>,
    /// What it does not show.
    pub limits: Vec<Limit>,
    /// How much was compared.
    pub compared: Compared,
    /// Where the answers part, if they do.
    pub difference: Option<Difference>,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Words.
    Words {
        /// Choices that have a text.
        texts: usize,
        /// Their bytes together, in the recorded answer.
        bytes: usize,
        /// Tool calls.
        tool_calls: usize,
    },
    /// Tokens, by their ids.
    Tokens {
        /// How many the recorded answer has.
        count: usize,
    },
    /// Embeddings.
    Vectors {
        /// How many.
        count: usize,
        /// Numbers in each.
        width: usize,
    },
}

/// Where two answers part. It says where, and nothing of what they say.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Other numbers of texts.
    Texts {
        /// In the recorded answer.
        recorded: usize,
        /// In the other.
        again: usize,
    },
    /// A text.
    Text {
        /// Which choice, from 0.
        choice: usize,
        /// The first byte that differs.
        at: usize,
    },
    /// A tool call, or their number.
    ToolCall {
        /// Which, from 0.
        nth: usize,
    },
    /// A token, or their number.
    Token {
        /// Which choice, from 0.
        choice: usize,
        /// Which token, from 0.
        nth: usize,
    },
    /// Embeddings of another width.
    Width {
        /// In the recorded answer.
        recorded: usize,
        /// In the other.
        again: usize,
    },
    /// An embedding that is too far away.
    Vector {
        /// Which, from 0: that which is farthest.
        nth: usize,
    },
}

/// Why an exchange cannot be run again and compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The request is no JSON object.
    #[error("its request is no JSON object, so it cannot be run again")]
    Request,
    /// Its path is not that of its protocol.
    #[error("its path is not one at which its protocol is spoken")]
    Path,
    /// It ended without an answer of the model.
    #[error("it ended as {outcome}: there is no answer of the model to compare with")]
    NoAnswer {
        /// How.
        outcome: Outcome,
    },
    /// The answer is not there.
    #[error("its answer is not there: give the response's body, or openings that have what it says")]
    NotOpened,
    /// The answer is there, but says nothing that can be compared.
    #[error("its recorded answer cannot be compared: {0}")]
    Answer(Rubbish),
}

impl Recorded {
    /// Makes an exchange ready from what was opened of its receipt.
    ///
    /// `response` is left out where only the openings have what was answered. That all of it is what the receipt commits to,
    /// the caller has checked.
    ///
    /// # Errors
    /// [`Unusable`], where there is nothing to run or to compare with.
    pub fn new(
        receipt: &Receipt,
        request: &[u8],
        response: Option<&[u8]>,
        openings: &Openings,
    ) -> Result<Self, Unusable> {
        if Call::at(&receipt.api.path).map(|call| call.protocol) != Ok(receipt.api.protocol) {
            return Err(Unusable::Path);
        }
        let answered = matches!(
            receipt.outcome,
            Outcome::Complete | Outcome::Truncated | Outcome::Refused | Outcome::Filtered
        );
        let cut = matches!(
            receipt.outcome,
            Outcome::AbortedByClient | Outcome::AbortedByUpstream | Outcome::Timeout
        );
        if !answered && !cut {
            return Err(Unusable::NoAnswer { outcome: receipt.outcome });
        }
        let api = receipt.api.clone();
        let request = said::decoded(request).into_owned();
        let value = Value::parse_within(&request, DEPTH_MAX).ok();
        let value = value.filter(|value| value.members().is_some()).ok_or(Unusable::Request)?;
        let said = match response {
            Some(body) => {
                let body = said::decoded(body);
                let body = Body { content_type: None, bytes: &body };
                let read = Said::of(&api, &request, body).map_err(Unusable::Answer)?;
                if !cut && !read.is_whole {
                    return Err(Unusable::Answer(Rubbish::Broken));
                }
                read.said
            }
            None => Said::opened(receipt, openings).ok_or(Unusable::NotOpened)?,
        };
        let says_nothing = said.is_empty() && (cut || matches!(said, Said::Vectors(_)));
        if says_nothing {
            return Err(Unusable::NoAnswer { outcome: receipt.outcome });
        }
        let limits = limits(receipt, &value);
        let deterministic = is_deterministic(receipt, &value);
        let model = value.member("model").filter(|model| model.text().is_some());
        let model = model.map(|model| range_of(model.raw(), &request));
        Ok(Self { api, model, deterministic, cut, limits, said, request })
    }

    /// The interface that was called.
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// The request to send: as it was recorded, but for another model's name if one is given.
    pub fn request(&self, model: Option<&str>) -> Vec<u8> {
        let Some(model) = model else { return self.request.clone() };
        let name = serde_json::Value::from(model).to_string();
        let (range, name) = match &self.model {
            Some(range) => (range.clone(), name),
            None => {
                // Whatever stands there is an object.
                let start = self.request.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
                let rest = self.request.get(start..).unwrap_or_default();
                let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
                (start..start, format!("\"model\":{name}{}", if is_empty { "" } else { "," }))
            }
        };
        let mut request = self.request.clone();
        request.splice(range, name.into_bytes());
        request
    }

    /// Holds another answer to the same request against the recorded one.
    ///
    /// # Errors
    /// [`Rubbish`], if it is no answer to such a request.
    pub fn compare(&self, answered: &Answered, rules: &Rules) -> Result<Comparison, Rubbish> {
        if !(200..300).contains(&answered.status) {
            return Err(Rubbish::Status { status: answered.status });
        }
        let body = Body { content_type: answered.content_type.as_deref(), bytes: &answered.body };
        let again = Said::of(&self.api, &self.request, body)?;
        if !again.is_whole {
            return Err(Rubbish::Broken);
        }
        match (&self.said, &again.said) {
            (Said::Vectors(recorded), Said::Vectors(again)) => self.vectors(recorded, again, rules),
            (Said::Words(recorded), Said::Words(again)) => Ok(self.words(recorded, again, rules)),
            _ => Err(Rubbish::Kind),
        }
    }

    fn vectors(
        &self,
        recorded: &[Vec<f64>],
        again: &[Vec<f64>],
        rules: &Rules,
    ) -> Result<Comparison, Rubbish> {
        if recorded.len() != again.len() {
            return Err(Rubbish::Count { due: recorded.len(), got: again.len() });
        }
        let width = recorded.first().map_or(0, Vec::len);
        let compared = Compared::Vectors { count: recorded.len(), width };
        let other = recorded.iter().zip(again).find(|(a, b)| a.len() != b.len());
        let (measure, difference) = match other {
            Some((a, b)) => (None, Some(Difference::Width { recorded: a.len(), again: b.len() })),
            None => {
                let (nth, statistic) = vectors::farthest(recorded, again);
                let is_far = vectors::number(&statistic) > vectors::number(&rules.tolerance);
                let threshold = rules.tolerance.clone();
                let measure = Measure { statistic, threshold, false_positive: None, false_negative: None };
                (Some(measure), is_far.then_some(Difference::Vector { nth }))
            }
        };
        Ok(self.came_to(Scheme::RerunEmbedding, compared, measure, difference, Vec::new(), rules))
    }

    fn words(&self, recorded: &said::Words, again: &said::Words, rules: &Rules) -> Comparison {
        let (mut limits, mut difference) = (Vec::new(), None);
        let (scheme, compared) = match (recorded.tokens(), again.tokens()) {
            (Some(recorded), Some(again)) => {
                difference = said::token_difference(recorded, again, self.cut);
                let count = recorded.iter().map(Vec::len).sum();
                (Scheme::RerunTokens, Compared::Tokens { count })
            }
            (Some(_), None) => {
                // The text may be the same though the tokens are not.
                limits.push(Limit::PartOfOutput);
                (Scheme::RerunText, recorded.compared())
            }
            (None, _) => (Scheme::RerunText, recorded.compared()),
        };
        let difference = difference.or_else(|| recorded.difference(again, self.cut));
        self.came_to(scheme, compared, None, difference, limits, rules)
    }

    fn came_to(
        &self,
        scheme: Scheme,
        compared: Compared,
        measure: Option<Measure>,
        difference: Option<Difference>,
        mut limits: Vec<Limit>,
        rules: &Rules,
    ) -> Comparison {
        limits.extend_from_slice(&self.limits);
        if self.cut {
            limits.push(Limit::PartOfOutput);
        }
        let result = match &difference {
            None => VerdictResult::Supported,
            Some(_) if self.deterministic && !rules.nondeterministic => VerdictResult::Contradicted,
            Some(_) => {
                limits.push(Limit::Nondeterministic);
                VerdictResult::Inconclusive
            }
        };
        limits.sort_unstable();
        limits.dedup();
        Comparison { result, scheme, measure, limits, compared, difference }
    }
}

/// What is known beforehand to be missing from a comparison.
fn limits(receipt: &Receipt, request: &Value<'_>) -> Vec<Limit> {
    // What the service was asked is not what the caller sent, or depends on what it was asked before.
    let stated = |name: &str| request.member(name).is_some_and(|value| !value.is_null());
    let missing = receipt.transforms.is_some() || stated("previous_response_id") || stated("conversation");
    if missing { vec![Limit::ParametersMissing] } else { Vec::new() }
}

/// Whether the same request is to get the same answer: embeddings are, and what is sampled with temperature 0, one candidate
/// or a seed, unless the issuer says otherwise in the open.
fn is_deterministic(receipt: &Receipt, request: &Value<'_>) -> bool {
    let hint = receipt.hints.as_ref().and_then(Sealable::open).and_then(|hints| hints.deterministic);
    let setting = |name: &str| {
        let value = request.member(name).filter(|value| matches!(value.data(), Data::Number));
        value.and_then(|value| value.raw().parse::<f64>().ok())
    };
    let fixed =
        setting("temperature") == Some(0.0) || setting("top_k") == Some(1.0) || setting("seed").is_some();
    receipt.api.protocol == Protocol::OpenaiEmbeddings || hint.unwrap_or(fixed)
}

/// Where a part of a text stands in it.
fn range_of(part: &str, whole: &[u8]) -> std::ops::Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words { texts, bytes, tool_calls } => {
                write!(f, "{texts} texts of {bytes} bytes, {tool_calls} tool calls")
            }
            Self::Tokens { count } => write!(f, "{count} tokens"),
            Self::Vectors { count, width } => write!(f, "{count} embeddings of {width} numbers"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Texts { recorded, again } => write!(f, "{recorded} texts were recorded, {again} came back"),
            Self::Text { choice, at } => write!(f, "the text of choice {choice} differs from byte {at} on"),
            Self::ToolCall { nth } => write!(f, "tool call {nth} differs"),
            Self::Token { choice, nth } => write!(f, "choice {choice} differs from token {nth} on"),
            Self::Width { recorded, again } => {
                write!(f, "embeddings of {recorded} numbers were recorded, {again} numbers came back")
            }
            Self::Vector { nth } => write!(f, "embedding {nth} is farther away than the tolerance"),
        }
    }
}

#[cfg(test)]
mod tests;
