//! Groups about where the answer came from: upstreams, changes on the way, hardware, what helps to run it again.

use counterfoil_merkle::Hash;

use super::{
    Group, GroupName,
    answer::{moment, status},
};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError},
        write::{self, ObjectWriter},
    },
    statement::{Commitment, receipt::text},
    timestamp::Timestamp,
};

/// Most attempts, and most transforms, that a receipt can list.
const STEPS_MAX: usize = 32;

/// Most pieces of evidence of where an exchange ran.
const EVIDENCE_MAX: usize = 8;

/// Which upstreams were tried, in order; the last one answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The host that was asked.
    pub upstream: String,
    /// The model it was asked for.
    pub model: Option<String>,
    /// The HTTP status; `None` if none was received.
    pub status: Option<u16>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Group for Attempts {
    const NAME: GroupName = GroupName::Attempts;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        field.items(STEPS_MAX)?.map(|item| Attempt::read(&item)).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self, out: &mut String) {
        write::array(out, &self.0, |out, attempt| {
            write::write_object(out, |members| attempt.write(members));
        });
    }
}

impl Attempt {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let upstream = text(&members.required("upstream")?)?;
        let model = members.maybe("model", text)?;
        let status = members.maybe("status", |field| field.nullable(status))?.flatten();
        let started = members.maybe("started", moment)?;
        let ended = members.maybe("ended", moment)?;
        members.finish()?;
        Ok(Self { upstream, model, status, started, ended })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("upstream", &self.upstream);
        members.some("model", self.model.as_deref(), ObjectWriter::string);
        match self.status {
            Some(status) => members.integer("status", status.into()),
            None => members.null("status"),
        }
        members.some("started", self.started.map(Timestamp::millis), ObjectWriter::integer);
        members.some("ended", self.ended.map(Timestamp::millis), ObjectWriter::integer);
    }
}

/// What a gateway changed in the bodies, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transforms(pub Vec<Transform>);

/// One change of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// What was done.
    pub kind: TransformKind,
    /// A commitment to the body before.
    pub before: Commitment,
    /// A commitment to the body after.
    pub after: Commitment,
}

codes! {
    /// What a gateway does to bodies.
    TransformKind {
        /// Usage was asked for, so that it can be recorded.
        IncludeUsage = "include_usage",
        /// Another model was put in.
        ModelReplaced = "model_replaced",
        /// Settings were added, removed or changed.
        ParametersChanged = "parameters_changed",
        /// Instructions were added.
        PromptAdded = "prompt_added",
        /// Something was taken out, such as personal data.
        Redacted = "redacted",
        /// The body was rewritten for another protocol.
        ProtocolTranslated = "protocol_translated",
        /// Something else was done.
        Other = "other",
    }
}

impl Group for Transforms {
    const NAME: GroupName = GroupName::Transforms;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let read = |item: Field<'_, '_>| {
            let mut members = item.object()?;
            let kind = members.required("kind")?.code(TransformKind::CODES)?;
            let before = members.required("before")?.parse()?;
            let after = members.required("after")?.parse()?;
            members.finish()?;
            Ok(Transform { kind, before, after })
        };
        field.items(STEPS_MAX)?.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self, out: &mut String) {
        write::array(out, &self.0, |out, transform| {
            write::write_object(out, |members| {
                members.string("kind", transform.kind.as_str());
                members.display("before", transform.before);
                members.display("after", transform.after);
            });
        });
    }
}

/// What the upstream said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// A commitment to its id for the request.
    pub request_id: Option<Commitment>,
    /// Its name for the configuration that ran the model.
    pub fingerprint: Option<String>,
}

impl Group for Upstream {
    const NAME: GroupName = GroupName::Upstream;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let request_id = members.maybe("request_id", Field::parse)?;
        let fingerprint = members.maybe("fingerprint", text)?;
        members.finish()?;
        Ok(Self { request_id, fingerprint })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("request_id", self.request_id, ObjectWriter::display);
            members.some("fingerprint", self.fingerprint.as_deref(), ObjectWriter::string);
        });
    }
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution(pub Vec<Evidence>);

/// One piece of evidence of where an exchange ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The kind of hardware.
    pub kind: ExecutionType,
    /// The leaf hash of the key record that binds the issuer's key to it.
    pub key_record: Option<Hash>,
    /// A digest of the evidence.
    pub evidence: Option<Hash>,
}

codes! {
    /// Kinds of hardware that attest what they run.
    ExecutionType {
        /// AWS Nitro Enclaves.
        AwsNitro = "aws-nitro",
        /// Intel TDX.
        IntelTdx = "intel-tdx",
        /// AMD SEV-SNP.
        AmdSnp = "amd-snp",
        /// An NVIDIA GPU in confidential mode.
        NvidiaGpu = "nvidia-gpu",
        /// None that attests anything.
        None = "none",
    }
}

impl Group for Execution {
    const NAME: GroupName = GroupName::Execution;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let read = |item: Field<'_, '_>| {
            let mut members = item.object()?;
            let kind = members.required("type")?.code(ExecutionType::CODES)?;
            let key_record = members.maybe("key_record", Field::parse)?;
            let evidence = members.maybe("evidence", Field::parse)?;
            members.finish()?;
            Ok(Evidence { kind, key_record, evidence })
        };
        field.items(EVIDENCE_MAX)?.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self, out: &mut String) {
        write::array(out, &self.0, |out, evidence| {
            write::write_object(out, |members| {
                members.string("type", evidence.kind.as_str());
                members.some("key_record", evidence.key_record, ObjectWriter::display);
                members.some("evidence", evidence.evidence, ObjectWriter::display);
            });
        });
    }
}

/// What helps others to run the exchange again and compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The seed that was used.
    pub seed: Option<String>,
    /// Whether the same input gives the same output.
    pub deterministic: Option<bool>,
    /// A fingerprint of the computation.
    pub fingerprint: Option<Fingerprint>,
}

/// A fingerprint of a computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How it was made.
    pub scheme: FingerprintScheme,
    /// Its digest.
    pub digest: Hash,
}

codes! {
    /// Ways to take the fingerprint of a computation.
    FingerprintScheme {
        /// TOPLOC.
        Toploc = "toploc",
        /// Differences of activations.
        ActivationDifr = "activation-difr",
    }
}

impl Group for Hints {
    const NAME: GroupName = GroupName::Hints;

    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let seed = members.maybe("seed", text)?;
        let deterministic = members.maybe("deterministic", Field::boolean)?;
        let fingerprint = members.maybe("fingerprint", |field| {
            let mut members = field.object()?;
            let scheme = members.required("scheme")?.code(FingerprintScheme::CODES)?;
            let digest = members.required("digest")?.parse()?;
            members.finish()?;
            Ok(Fingerprint { scheme, digest })
        })?;
        members.finish()?;
        Ok(Self { seed, deterministic, fingerprint })
    }

    fn write(&self, out: &mut String) {
        write::write_object(out, |members| {
            members.some("seed", self.seed.as_deref(), ObjectWriter::string);
            members.some("deterministic", self.deterministic, ObjectWriter::boolean);
            if let Some(fingerprint) = &self.fingerprint {
                members.object("fingerprint", |members| {
                    members.string("scheme", fingerprint.scheme.as_str());
                    members.display("digest", fingerprint.digest);
                });
            }
        });
    }
}
