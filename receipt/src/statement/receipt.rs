//! The inference receipt: which model was asked, which said it answered, and how the exchange ended.

use super::{
    TEXT_BYTES_MAX,
    groups::{
        Accountable, Attempts, Caller, Content, Execution, Ext, Finish, Hints, Lengths, Links, Parameters,
        Parts, Sealable, Timing, Transforms, Upstream, Usage,
    },
};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object},
        write::ObjectWriter,
    },
    key::PublicKey,
};

/// What an inference receipt says beyond its frame.
///
/// *Requested*, *reported* and *claimed* model stay apart: what the caller asked for, what the service said, what the issuer
/// says it knows. Every group can be sealed, that is, replaced by a commitment to its JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Public half of a one-time key whose private half went out with the answer.
    pub claim: Option<PublicKey>,
    /// The interface that was called.
    pub api: Api,
    /// The model.
    pub model: Model,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// Tokens counted.
    pub usage: Option<Sealable<Usage>>,
    /// Lengths of the bodies in bytes.
    pub lengths: Option<Sealable<Lengths>>,
    /// When it happened, by the issuer's clock.
    pub timing: Option<Sealable<Timing>>,
    /// Settings of the request.
    pub parameters: Option<Sealable<Parameters>>,
    /// Who called.
    pub caller: Option<Sealable<Caller>>,
    /// Which upstreams were tried.
    pub attempts: Option<Sealable<Attempts>>,
    /// What a gateway changed in the bodies.
    pub transforms: Option<Sealable<Transforms>>,
    /// The input messages, each committed to by itself.
    pub parts: Option<Sealable<Parts>>,
    /// How each choice ended.
    pub finish: Option<Sealable<Finish>>,
    /// What was answered, taken out of the body.
    pub content: Option<Sealable<Content>>,
    /// What the upstream said of itself.
    pub upstream: Option<Sealable<Upstream>>,
    /// Where it ran.
    pub execution: Option<Sealable<Execution>>,
    /// Who answers for it.
    pub accountable: Option<Sealable<Accountable>>,
    /// What helps to run it again.
    pub hints: Option<Sealable<Hints>>,
    /// What it is connected with.
    pub links: Option<Sealable<Links>>,
    /// Anything else.
    pub ext: Option<Sealable<Ext>>,
}

impl Receipt {
    /// A receipt with nothing but what is required.
    pub fn new(api: Api, model: Model, outcome: Outcome) -> Self {
        Self {
            claim: None,
            api,
            model,
            outcome,
            usage: None,
            lengths: None,
            timing: None,
            parameters: None,
            caller: None,
            attempts: None,
            transforms: None,
            parts: None,
            finish: None,
            content: None,
            upstream: None,
            execution: None,
            accountable: None,
            hints: None,
            links: None,
            ext: None,
        }
    }

    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self {
            claim: members.maybe("claim", Field::parse)?,
            api: Api::read(&members.required("api")?)?,
            model: Model::read(&members.required("model")?)?,
            outcome: members.required("outcome")?.code(Outcome::CODES)?,
            usage: Sealable::read(members)?,
            lengths: Sealable::read(members)?,
            timing: Sealable::read(members)?,
            parameters: Sealable::read(members)?,
            caller: Sealable::read(members)?,
            attempts: Sealable::read(members)?,
            transforms: Sealable::read(members)?,
            parts: Sealable::read(members)?,
            finish: Sealable::read(members)?,
            content: Sealable::read(members)?,
            upstream: Sealable::read(members)?,
            execution: Sealable::read(members)?,
            accountable: Sealable::read(members)?,
            hints: Sealable::read(members)?,
            links: Sealable::read(members)?,
            ext: Sealable::read(members)?,
        })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.some("claim", self.claim.as_ref().map(PublicKey::as_str), ObjectWriter::string);
        members.object("api", |api| self.api.write(api));
        members.object("model", |model| self.model.write(model));
        members.string("outcome", self.outcome.as_str());
        Sealable::write(&self.usage, members);
        Sealable::write(&self.lengths, members);
        Sealable::write(&self.timing, members);
        Sealable::write(&self.parameters, members);
        Sealable::write(&self.caller, members);
        Sealable::write(&self.attempts, members);
        Sealable::write(&self.transforms, members);
        Sealable::write(&self.parts, members);
        Sealable::write(&self.finish, members);
        Sealable::write(&self.content, members);
        Sealable::write(&self.upstream, members);
        Sealable::write(&self.execution, members);
        Sealable::write(&self.accountable, members);
        Sealable::write(&self.hints, members);
        Sealable::write(&self.links, members);
        Sealable::write(&self.ext, members);
    }
}

codes! {
    /// The protocol of the exchange: how its bodies are to be read.
    Protocol {
        /// OpenAI's chat completions.
        OpenaiChat = "openai.chat",
        /// OpenAI's completions.
        OpenaiCompletions = "openai.completions",
        /// OpenAI's responses.
        OpenaiResponses = "openai.responses",
        /// OpenAI's embeddings.
        OpenaiEmbeddings = "openai.embeddings",
        /// Anthropic's messages.
        AnthropicMessages = "anthropic.messages",
    }
}

/// The interface that was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its protocol.
    pub protocol: Protocol,
    /// The path of the URL, without its query.
    pub path: String,
    /// Whether a stream was asked for.
    pub stream: bool,
}

impl Api {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let protocol = members.required("protocol")?.code(Protocol::CODES)?;
        let path = members.required("path")?.text(TEXT_BYTES_MAX)?.to_owned();
        let stream = members.required("stream")?.boolean()?;
        members.finish()?;
        Ok(Self { protocol, path, stream })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("protocol", self.protocol.as_str());
        members.string("path", &self.path);
        members.boolean("stream", self.stream);
    }
}

/// The model: what was asked for, what the service said it was, what the issuer claims it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// As the request named it; `None` if it named none.
    pub requested: Option<String>,
    /// As the response named it.
    pub reported: Option<Reported>,
    /// Whether a name was replaced by an alias, to keep a private one out of the log.
    pub alias: Option<bool>,
    /// As the issuer says it is.
    pub claimed: Option<Claimed>,
}

/// The model as the response named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The name.
    pub value: String,
    /// Where it stood.
    pub source: ReportedSource,
}

codes! {
    /// Where the response named its model.
    ReportedSource {
        /// In its body.
        Body = "body",
        /// In a header.
        Header = "header",
    }
}

/// The model as the issuer says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its name.
    pub name: Option<String>,
    /// A digest of its weights.
    pub weights: Option<counterfoil_merkle::Hash>,
    /// What ran it.
    pub engine: Option<Engine>,
    /// How its weights are rounded.
    pub quantization: Option<String>,
    /// How the issuer knows.
    pub basis: Basis,
}

/// The program that runs a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
}

codes! {
    /// How an issuer knows which model it ran.
    Basis {
        /// It was configured so.
        Config = "config",
        /// The file was hashed when it was loaded.
        HashedAtLoad = "hashed_at_load",
        /// Hardware measured it.
        Measured = "measured",
    }
}

impl Model {
    /// Its names: requested, reported and claimed.
    pub fn names(&self) -> [Option<&str>; 3] {
        let reported = self.reported.as_ref().map(|reported| reported.value.as_str());
        let claimed = self.claimed.as_ref().and_then(|claimed| claimed.name.as_deref());
        [self.requested.as_deref(), reported, claimed]
    }

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let requested = members.required("requested")?.nullable(text)?;
        let reported = members.maybe("reported", |field| {
            let mut members = field.object()?;
            let value = text(&members.required("value")?)?;
            let source = members.required("source")?.code(ReportedSource::CODES)?;
            members.finish()?;
            Ok(Reported { value, source })
        })?;
        let alias = members.maybe("alias", Field::boolean)?;
        let claimed = members.maybe("claimed", Claimed::read)?;
        members.finish()?;
        Ok(Self { requested, reported, alias, claimed })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        match &self.requested {
            Some(name) => members.string("requested", name),
            None => members.null("requested"),
        }
        if let Some(reported) = &self.reported {
            members.object("reported", |members| {
                members.string("value", &reported.value);
                members.string("source", reported.source.as_str());
            });
        }
        members.some("alias", self.alias, ObjectWriter::boolean);
        if let Some(claimed) = &self.claimed {
            members.object("claimed", |members| claimed.write(members));
        }
    }
}

impl Claimed {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let name = members.maybe("name", text)?;
        let weights = members.maybe("weights", Field::parse)?;
        let engine = members.maybe("engine", |field| {
            let mut members = field.object()?;
            let name = text(&members.required("name")?)?;
            let version = members.maybe("version", text)?;
            members.finish()?;
            Ok(Engine { name, version })
        })?;
        let quantization = members.maybe("quantization", text)?;
        let basis = members.required("basis")?.code(Basis::CODES)?;
        members.finish()?;
        Ok(Self { name, weights, engine, quantization, basis })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.some("name", self.name.as_deref(), ObjectWriter::string);
        members.some("weights", self.weights, ObjectWriter::display);
        if let Some(engine) = &self.engine {
            members.object("engine", |members| {
                members.string("name", &engine.name);
                members.some("version", engine.version.as_deref(), ObjectWriter::string);
            });
        }
        members.some("quantization", self.quantization.as_deref(), ObjectWriter::string);
        members.string("basis", self.basis.as_str());
    }
}

codes! {
    /// How an exchange ended. Every end gets a receipt.
    Outcome {
        /// The model ended its answer.
        Complete = "complete",
        /// A limit of length cut it.
        Truncated = "truncated",
        /// The model declined.
        Refused = "refused",
        /// A filter withheld the answer or part of it.
        Filtered = "filtered",
        /// The upstream answered with an error.
        UpstreamError = "upstream_error",
        /// The upstream did not answer in time.
        Timeout = "timeout",
        /// The client went away.
        AbortedByClient = "aborted_by_client",
        /// The upstream broke off.
        AbortedByUpstream = "aborted_by_upstream",
        /// The gateway itself failed.
        ProxyError = "proxy_error",
    }
}

pub(super) fn text(field: &Field<'_, '_>) -> Result<String, FieldError> {
    field.text(TEXT_BYTES_MAX).map(str::to_owned)
}
