//! Verdicts: somebody checked one claim of a receipt, and says how, against what, and who pays.

use counterfoil_merkle::Hash;

use super::{Commitment, Decimal, Sample};
use crate::{
    code::codes,
    json::{
        field::{Field, FieldError, Object},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
    timestamp::Timestamp,
};

/// Most pieces of evidence that a record can commit to.
pub const EVIDENCE_MAX: usize = 32;

/// What a `verdict` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was checked.
    pub claim: ClaimKind,
    /// What came out.
    pub result: VerdictResult,
    /// How it was checked.
    pub method: Method,
    /// What it was compared with.
    pub reference: Option<Reference>,
    /// The receipts that were looked at, if more than the one.
    pub sample: Option<Sample>,
    /// What was measured.
    pub measure: Option<Measure>,
    /// When it was checked.
    pub as_of: Option<Timestamp>,
    /// Evidence that the verifier keeps.
    pub evidence: Vec<Commitment>,
    /// What the verdict does not show.
    pub limits: Vec<Limit>,
    /// Who pays the verifier, by its own word.
    pub paid_by: Payer,
    /// The verifier's other interests, by its own word.
    pub conflicts: Vec<Conflict>,
    /// The verdict of the same verifier that this one replaces.
    pub supersedes: Option<Hash>,
}

codes! {
    /// A claim of a receipt that can be checked.
    ClaimKind {
        /// That this answer is what the model gives to this request.
        Output = "output",
        /// That this model answered.
        ModelIdentity = "model_identity",
        /// That it ran with these weights.
        Weights = "weights",
        /// That it ran there.
        Location = "location",
        /// That bodies and commitments belong together.
        Integrity = "integrity",
        /// That these settings were applied.
        Parameters = "parameters",
        /// That the operator kept to its policy.
        PolicyCompliance = "policy_compliance",
        /// That the answer is good enough for its purpose.
        OutputQuality = "output_quality",
    }
}

codes! {
    /// What came out.
    VerdictResult {
        /// The claim is borne out.
        Supported = "supported",
        /// It is not.
        Contradicted = "contradicted",
        /// It cannot be told.
        Inconclusive = "inconclusive",
        /// The check failed.
        Error = "error",
    }
}

/// How a claim was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// The kind of check.
    pub scheme: Scheme,
    /// A digest of the program that did it.
    pub software: Option<Hash>,
}

codes! {
    /// Kinds of checks.
    Scheme {
        /// The request was run again, and the texts compared.
        RerunText = "rerun_text",
        /// The request was run again, and the tokens compared.
        RerunTokens = "rerun_tokens",
        /// The request was run again, and the embeddings compared.
        RerunEmbedding = "rerun_embedding",
        /// Token-DiFR.
        TokenDifr = "token_difr",
        /// Activation-DiFR.
        ActivationDifr = "activation_difr",
        /// TOPLOC.
        Toploc = "toploc",
        /// Statistics over the answers to known questions.
        BehaviourStatistics = "behaviour_statistics",
        /// Evidence of hardware was checked.
        HardwareEvidence = "hardware_evidence",
        /// Openings were held against commitments.
        Openings = "openings",
        /// Documents were read.
        DocumentReview = "document_review",
        /// A person looked at the answer.
        HumanReview = "human_review",
    }
}

/// What a receipt was compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// A digest of the weights.
    pub weights: Option<Hash>,
    /// A digest of the program that ran them.
    pub engine: Option<Hash>,
}

/// What was measured, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The value found.
    pub statistic: Decimal,
    /// The value that decides.
    pub threshold: Decimal,
    /// How often the method accuses the innocent.
    pub false_positive: Option<Decimal>,
    /// How often it acquits the guilty.
    pub false_negative: Option<Decimal>,
}

codes! {
    /// What a verdict does not show.
    Limit {
        /// It says nothing of other exchanges.
        OneExchange = "one_exchange",
        /// The issuer chose what was looked at.
        ChosenByIssuer = "chosen_by_issuer",
        /// It was compared on other hardware.
        OtherHardware = "other_hardware",
        /// It was compared with another engine.
        OtherEngine = "other_engine",
        /// The same input does not always give the same output.
        Nondeterministic = "nondeterministic",
        /// Which weights to compare with was assumed.
        WeightsAssumed = "weights_assumed",
        /// Not all settings were known.
        ParametersMissing = "parameters_missing",
        /// Not all of the output was compared.
        PartOfOutput = "part_of_output",
        /// The evidence was no longer current.
        EvidenceExpired = "evidence_expired",
    }
}

/// Who pays a verifier, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// Which kind of party.
    pub who: PayerKind,
    /// That party's key.
    pub key: Option<PublicKey>,
}

codes! {
    /// Kinds of parties that pay verifiers.
    PayerKind {
        /// Nobody does.
        Nobody = "nobody",
        /// The issuer of the receipt.
        Issuer = "issuer",
        /// Who made the request.
        Caller = "caller",
        /// Who disputes the receipt.
        Disputant = "disputant",
        /// The operator of the log.
        Log = "log",
        /// A public authority.
        Authority = "authority",
        /// Somebody else.
        Other = "other",
    }
}

codes! {
    /// What a verifier is to the issuer, besides.
    Conflict {
        /// It sells the same.
        Competitor = "competitor",
        /// It buys from it.
        Customer = "customer",
        /// It sells to it.
        Supplier = "supplier",
        /// One owns the other, or both have one owner.
        Owner = "owner",
        /// One employs the other.
        Employer = "employer",
    }
}

impl Verdict {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        Ok(Self {
            claim: members.required("claim")?.code(ClaimKind::CODES)?,
            result: members.required("result")?.code(VerdictResult::CODES)?,
            method: Method::read(&members.required("method")?)?,
            reference: members.maybe("reference", Reference::read)?,
            sample: members.maybe("sample", Sample::read)?,
            measure: members.maybe("measure", Measure::read)?,
            as_of: members.maybe("as_of", Timestamp::read)?,
            evidence: read_evidence(members)?,
            limits: members.required("limits")?.codes(0, Limit::CODES)?,
            paid_by: Payer::read(&members.required("paid_by")?)?,
            conflicts: members.required("conflicts")?.codes(0, Conflict::CODES)?,
            supersedes: members.maybe("supersedes", Field::parse)?,
        })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("claim", self.claim.as_str());
        members.string("result", self.result.as_str());
        members.object("method", |members| {
            members.string("scheme", self.method.scheme.as_str());
            members.some("software", self.method.software, ObjectWriter::display);
        });
        if let Some(reference) = &self.reference {
            members.object("reference", |members| {
                members.some("weights", reference.weights, ObjectWriter::display);
                members.some("engine", reference.engine, ObjectWriter::display);
            });
        }
        Sample::write(&self.sample, members);
        if let Some(measure) = &self.measure {
            members.object("measure", |members| measure.write(members));
        }
        members.some("as_of", self.as_of.map(Timestamp::millis), ObjectWriter::integer);
        write_evidence(&self.evidence, members);
        write::array(members.member("limits"), &self.limits, |out, it| write::string(out, it.as_str()));
        members.object("paid_by", |members| {
            members.string("who", self.paid_by.who.as_str());
            members.some("key", self.paid_by.key.as_ref().map(PublicKey::as_str), ObjectWriter::string);
        });
        write::array(members.member("conflicts"), &self.conflicts, |out, it| write::string(out, it.as_str()));
        members.some("supersedes", self.supersedes, ObjectWriter::display);
    }
}

impl Method {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let scheme = members.required("scheme")?.code(Scheme::CODES)?;
        let software = members.maybe("software", Field::parse)?;
        members.finish()?;
        Ok(Self { scheme, software })
    }
}

impl Reference {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let weights = members.maybe("weights", Field::parse)?;
        let engine = members.maybe("engine", Field::parse)?;
        members.finish()?;
        Ok(Self { weights, engine })
    }
}

impl Measure {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let statistic = members.required("statistic")?.parse()?;
        let threshold = members.required("threshold")?.parse()?;
        let false_positive = members.maybe("false_positive", Field::parse)?;
        let false_negative = members.maybe("false_negative", Field::parse)?;
        members.finish()?;
        Ok(Self { statistic, threshold, false_positive, false_negative })
    }

    fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("statistic", self.statistic.as_str());
        members.string("threshold", self.threshold.as_str());
        let rates = [("false_positive", &self.false_positive), ("false_negative", &self.false_negative)];
        for (name, rate) in rates {
            members.some(name, rate.as_ref().map(Decimal::as_str), ObjectWriter::string);
        }
    }
}

impl Payer {
    fn read(field: &Field<'_, '_>) -> Result<Self, FieldError> {
        let mut members = field.object()?;
        let who = members.required("who")?.code(PayerKind::CODES)?;
        let key = members.maybe("key", Field::parse)?;
        members.finish()?;
        Ok(Self { who, key })
    }
}

/// Reads the member `evidence`: commitments, none twice.
pub(super) fn read_evidence(members: &mut Object<'_, '_>) -> Result<Vec<Commitment>, FieldError> {
    let evidence = members.maybe("evidence", |field| field.list(1, EVIDENCE_MAX, Field::parse))?;
    Ok(evidence.unwrap_or_default())
}

/// Writes the member `evidence`, unless there is none.
pub(super) fn write_evidence(evidence: &[Commitment], members: &mut ObjectWriter<'_>) {
    if !evidence.is_empty() {
        write::array(members.member("evidence"), evidence, |out, it| write::string(out, &it.to_string()));
    }
}
