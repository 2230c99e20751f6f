//! `counterfoil verdict rerun`.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Timestamp,
    commitment::{Evidenced, Label},
    draft::Committing,
    statement::{
        Decimal, Predicate, Sample, Verdict,
        receipt::Protocol,
        verdict::{ClaimKind, Limit, Method, Payer, PayerKind, Scheme, VerdictResult},
    },
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    super::{
        Exit, Terminal,
        ask::{code, confirm},
        moment::{now, seconds},
        record::{Making, RecordArgs, read_key},
        terminal::{Tone, shown},
    },
    ComparedWith, Interests,
    opened::{BodyArgs, Opened},
};
use crate::{
    file,
    rerun::{
        Answered, Comparison, Rubbish, Rules,
        ask::{Endpoint, Runner},
        vectors,
    },
};

/// The most receipts of one sample.
const SAMPLE_MAX: usize = 1_000;

/// The longest credential.
const KEY_BYTES_MAX: usize = 16 * 1024;

/// Most characters shown of what a service says when it fails.
const EXCERPT_CHARS: usize = 200;

/// Run receipts' requests again, hold the answers against those recorded, and record what came out.
///
/// Openings and bodies are held against the receipts before anything is sent. Each receipt gets a verdict of its own; of several,
/// each verdict names all as its sample. Exits with 0 when the verdicts are recorded, whatever they say; 1 when openings or bodies
/// are not those of the receipt, or the log refuses; 2 when nothing came back that can be compared: then nothing is recorded.
#[derive(Args, Debug)]
pub(super) struct Rerun {
    #[command(flatten)]
    record: RecordArgs,

    /// The openings that came with the receipts, `<id>.openings.json`.
    #[arg(value_name = "OPENINGS", required = true)]
    openings: Vec<PathBuf>,

    #[command(flatten)]
    bodies: BodyArgs,

    #[command(flatten)]
    runner: RunnerArgs,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    key: Option<PathBuf>,

    /// The claim that the verdict is about.
    #[arg(long, value_name = "CODE", value_parser = code::<ClaimKind>, default_value = "output")]
    claim: ClaimKind,

    /// The largest distance at which embeddings count as the same: the length of their difference, as a part of the longer one's.
    #[arg(long, value_name = "DECIMAL", value_parser = tolerance, default_value = "0.001")]
    tolerance: Decimal,

    /// Run another model than the request names: that is an assumption, and stated as one.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    compared: ComparedWith,

    #[command(flatten)]
    interests: Interests,

    /// Leaf hash of your own earlier verdict on the only receipt, which this one replaces.
    #[arg(long, value_name = "LEAF")]
    supersedes: Option<Hash>,

    /// Where nothing comes back that can be compared, record that too, with the result `error`.
    #[arg(long)]
    record_errors: bool,

    /// Say what would be recorded, and stop.
    #[arg(long)]
    dry_run: bool,
}

/// Who runs requests again.
#[derive(Args, Debug)]
struct RunnerArgs {
    /// Address of the service; requests go to the receipt's path below it.
    #[arg(long, value_name = "URL", required_unless_present = "command")]
    endpoint: Option<String>,

    /// In place of the receipt's path.
    #[arg(long, value_name = "PATH", requires = "endpoint")]
    path: Option<String>,

    /// The environment variable that holds your credential for the service.
    #[arg(long, value_name = "NAME", requires = "endpoint", conflicts_with = "api_key_file")]
    api_key_env: Option<String>,

    /// The file that holds your credential, readable by you alone.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    api_key_file: Option<PathBuf>,

    /// How long one answer may take.
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "2m")]
    timeout: u64,

    /// A program in place of a service, with its arguments: the request goes to its standard input, its standard output is the
    /// answer's body.
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "endpoint")]
    command: Vec<OsString>,
}

impl RunnerArgs {
    fn open(&self) -> anyhow::Result<Runner> {
        if let [program, arguments @ ..] = self.command.as_slice() {
            return Ok(Runner::Program { program: program.clone(), arguments: arguments.to_vec() });
        }
        let url = self.endpoint.as_deref().context("say --endpoint, or a command after --")?;
        let key = match (&self.api_key_env, &self.api_key_file) {
            (Some(name), _) => Some(Zeroizing::new(env::var(name).with_context(|| name.clone())?)),
            (None, Some(path)) => {
                Some(Zeroizing::new(file::read_secret(path, KEY_BYTES_MAX)?.trim_end().to_owned()))
            }
            (None, None) => None,
        };
        Ok(Runner::Endpoint(Endpoint::new(url, self.path.clone(), key)?))
    }
}

/// What came of one receipt.
struct Outcome {
    opened: Opened,
    came: Result<Comparison, anyhow::Error>,
    answer: Option<Vec<u8>>,
    took: Duration,
}

impl Rerun {
    pub(super) async fn run(&self, terminal: &Terminal) -> anyhow::Result<Exit> {
        if self.openings.len() > SAMPLE_MAX {
            bail!("a sample has at most {SAMPLE_MAX} receipts");
        }
        use ClaimKind::{ModelIdentity, Output, Parameters, Weights};
        if !matches!(self.claim, Output | ModelIdentity | Weights | Parameters) {
            bail!("re-execution shows nothing of the claim {}", self.claim);
        }
        if self.openings.len() > 1 && self.supersedes.is_some() {
            bail!("--supersedes goes with a single receipt");
        }
        let key = self.key.as_deref().map(read_key).transpose()?;
        let runner = self.runner.open()?;
        let receipts = {
            let mut making = Making::open(&self.record, terminal)?;
            self.bodies.open(&self.openings, &mut making).await?
        };
        let payer = if self.dry_run {
            // Nothing is signed, so nobody is asked.
            Payer {
                who: self.interests.paid_by.unwrap_or(PayerKind::Other),
                key: self.interests.payer.clone(),
            }
        } else {
            self.interests.payer(terminal)?
        };
        let software = match self.compared.software {
            Some(digest) => digest,
            None => own_digest().context("this program's own digest")?,
        };
        let ids: Vec<_> = receipts.iter().map(|opened| opened.id).collect();
        let sample = Sample::of(&ids).filter(|sample| sample.count > 1);
        let as_of = now()?;
        let mut outcomes = Vec::with_capacity(receipts.len());
        for opened in receipts {
            outcomes.push(self.run_again(opened, &runner).await?);
        }

        let mut made = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let verdict = self.verdict(&outcome, software, sample, as_of, payer.clone());
            self.print(&outcome, &verdict, &runner, terminal);
            made.push((outcome, verdict));
        }
        let (Some(key), false) = (key, self.dry_run) else { return Ok(Exit::YES) };
        confirm("These verdicts will be in the log for ever, signed with your key.", terminal)?;
        let (mut exit, all) = (Exit::YES, made.len());
        for (n, (Outcome { opened, answer, .. }, verdict)) in made.into_iter().enumerate() {
            let making = Making::open(&self.record, terminal)?;
            let say = |committing: &mut Committing<'_>| {
                let label = Label::Evidence(Evidenced::Verdict, 0);
                let evidence = answer.iter().map(|answer| committing.commit(label, answer)).collect();
                Ok(Predicate::Verdict(Box::new(Verdict { evidence, ..verdict })))
            };
            let recorded = making.make(&key, opened.subject, say).await;
            let recorded = recorded.with_context(|| format!("{n} of {all} verdicts were recorded before"))?;
            exit = if recorded == Exit::YES { exit } else { recorded };
        }
        Ok(exit)
    }

    /// Runs the request of a receipt again, and compares. Where that fails, it is an outcome only if failures are recorded.
    async fn run_again(&self, opened: Opened, runner: &Runner) -> anyhow::Result<Outcome> {
        let recorded = &opened.recorded;
        let request = recorded.request(self.model.as_deref());
        let started = Instant::now();
        let answered = runner.ask(recorded.api(), request, Duration::from_secs(self.runner.timeout)).await;
        let took = started.elapsed();
        let nondeterministic = self.compared.limit.contains(&Limit::Nondeterministic);
        let rules = Rules { tolerance: self.tolerance.clone(), nondeterministic };
        let (came, answer) = match answered {
            Ok(answered) => {
                let came = recorded.compare(&answered, &rules);
                (came.map_err(|rubbish| explained(rubbish, &answered)), Some(answered.body))
            }
            Err(error) => (Err(error.into()), None),
        };
        match came {
            Err(error) if !self.record_errors => {
                let asked = runner.named(recorded.api());
                Err(error
                    .context(format!("{asked}, asked again for receipt {}; nothing was recorded", opened.id)))
            }
            came => Ok(Outcome { opened, came, answer, took }),
        }
    }

    fn verdict(
        &self,
        outcome: &Outcome,
        software: Hash,
        sample: Option<Sample>,
        as_of: Timestamp,
        payer: Payer,
    ) -> Verdict {
        let is_embedding = outcome.opened.recorded.api().protocol == Protocol::OpenaiEmbeddings;
        let (result, scheme, measure, limits) = match &outcome.came {
            Ok(it) => (it.result, it.scheme, it.measure.clone(), it.limits.as_slice()),
            Err(_) if is_embedding => (VerdictResult::Error, Scheme::RerunEmbedding, None, &[][..]),
            Err(_) => (VerdictResult::Error, Scheme::RerunText, None, &[][..]),
        };
        let mut limits = [limits, self.compared.limit.as_slice()].concat();
        if sample.is_none() {
            limits.push(Limit::OneExchange);
        }
        if self.compared.weights.is_none() || self.model.is_some() {
            limits.push(Limit::WeightsAssumed);
        }
        limits.sort_unstable();
        limits.dedup();
        Verdict {
            claim: self.claim,
            result,
            method: Method { scheme, software: Some(software) },
            reference: self.compared.reference(),
            sample,
            measure,
            as_of: Some(as_of),
            evidence: Vec::new(),
            limits,
            paid_by: payer,
            conflicts: self.interests.conflict.clone(),
            supersedes: self.supersedes,
        }
    }

    fn print(&self, outcome: &Outcome, verdict: &Verdict, runner: &Runner, terminal: &Terminal) {
        let Outcome { opened, came, took, .. } = outcome;
        let api = opened.recorded.api();
        let asked = runner.named(api);
        let text = |it: &dyn std::fmt::Display| shown(&it.to_string());
        terminal.line(format_args!("receipt: {} at index {}", opened.id, opened.index));
        terminal.line(format_args!("says: {} {}", api.protocol, text(&api.path)));
        terminal.line(format_args!("asked again: {} ({} ms)", text(&asked), took.as_millis()));
        match came {
            Ok(comparison) => terminal.line(format_args!("compared: {}", comparison.compared)),
            Err(error) => terminal.line(format_args!("compared: nothing, {}", text(&format!("{error:#}")))),
        }
        if let Some(measure) = &verdict.measure {
            let (most, threshold) = (&measure.statistic, &measure.threshold);
            terminal.line(format_args!("distance: {most} at most, where {threshold} is allowed"));
        }
        let difference = came.as_ref().ok().and_then(|it| it.difference.as_ref()).map(ToString::to_string);
        if let Some(difference) = &difference {
            terminal.line(format_args!("difference: {difference}"));
        }
        let tone = match verdict.result {
            VerdictResult::Supported => Tone::Good,
            VerdictResult::Contradicted => Tone::Bad,
            VerdictResult::Inconclusive | VerdictResult::Error => Tone::Warn,
        };
        terminal.line(format_args!("claim: {} ({})", verdict.claim.meaning(), verdict.claim));
        terminal.line(format_args!("result: {}", terminal.paint(tone, verdict.result)));
        for limit in &verdict.limits {
            terminal.line(format_args!("limit: {} ({limit})", limit.meaning()));
        }
        if self.dry_run {
            terminal.line("nothing was recorded, as you asked");
        }
        let measure = verdict.measure.as_ref();
        terminal.value(&json!({
            "status": if self.dry_run { "not recorded" } else { "compared" },
            "receipt": opened.id.to_string(), "index": opened.index.get(), "asked": asked,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "claim": verdict.claim.as_str(), "result": verdict.result.as_str(),
            "method": verdict.method.scheme.as_str(),
            "compared": came.as_ref().ok().map(|it| it.compared.to_string()),
            "difference": difference, "error": came.as_ref().err().map(|error| format!("{error:#}")),
            "measure": measure.map(|it| json!({
                "statistic": it.statistic.as_str(), "threshold": it.threshold.as_str(),
            })),
            "sample": verdict.sample.map(|it| json!({ "count": it.count, "root": it.root.to_string() })),
            "limits": verdict.limits.iter().map(|limit| limit.as_str()).collect::<Vec<_>>(),
        }));
    }
}

/// A failure, with the beginning of what the service says of it.
fn explained(rubbish: Rubbish, answered: &Answered) -> anyhow::Error {
    let said = String::from_utf8_lossy(&answered.body);
    let said: String = said.trim().chars().take(EXCERPT_CHARS).collect();
    match (rubbish, said.is_empty()) {
        (_, true) => anyhow!("{rubbish}, and says nothing"),
        (_, false) => anyhow!("{rubbish}, and says: {said}"),
    }
}

fn tolerance(text: &str) -> Result<Decimal, String> {
    let decimal: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    if text.starts_with('-') || vectors::number(&decimal) > 2.0 {
        return Err("a tolerance lies between 0 and 2, where vectors point in opposite directions".to_owned());
    }
    Ok(decimal)
}

/// SHA-256 of the program that runs.
fn own_digest() -> io::Result<Hash> {
    let (mut file, mut hasher) = (File::open(env::current_exe()?)?, Sha256::new());
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Hash::new(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
