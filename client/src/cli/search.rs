//! `counterfoil search`.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex, TreeHead, proof::InclusionProof};
use counterfoil_receipt::{
    Entry, Kind, PublicKey, Statement,
    statement::{Predicate, StreamId, receipt::Outcome},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Exit, LogArgs, MemoryArgs, No, Opened, Terminal,
    ask::code,
    moment::{When, now},
    terminal::{moment, shown},
};

/// Most records of a page, as servers give them.
const PAGE_MAX: usize = 100;

/// Most bytes of an answer: a hundred records, each with its statement, and more than a checkpoint.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Search a log's records, and verify each that is shown: that it is in the log, that statement and entry belong together, and that it
/// is what was asked for.
///
/// That no record was left out is the log's word: `history` and `monitor` read the whole log for that.
#[derive(Args, Debug)]
pub(super) struct Search {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Signed by this key.
    #[arg(long, value_name = "KEY")]
    issuer: Option<PublicKey>,

    /// In this stream.
    #[arg(long, value_name = "HEX32")]
    stream: Option<StreamId>,

    /// With this number in the stream.
    #[arg(long, value_name = "N", requires = "stream")]
    number: Option<u64>,

    /// Of this kind, such as receipt or dispute.
    #[arg(long, value_parser = code::<Kind>)]
    kind: Option<Kind>,

    /// About the record with this leaf hash.
    #[arg(long, value_name = "LEAF")]
    about: Option<Hash>,

    /// Given out with this claim key.
    #[arg(long, value_name = "KEY")]
    claim: Option<PublicKey>,

    /// This model was asked for.
    #[arg(long, value_name = "MODEL")]
    requested: Option<String>,

    /// The service named this model.
    #[arg(long, value_name = "MODEL")]
    reported: Option<String>,

    /// The issuer claims that it was this model.
    #[arg(long, value_name = "MODEL")]
    claimed: Option<String>,

    /// The exchange ended like this, such as complete or refused.
    #[arg(long, value_parser = code::<Outcome>)]
    outcome: Option<Outcome>,

    /// Logged at this moment or later.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    from: Option<When>,

    /// Logged before this moment.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    before: Option<When>,

    /// The oldest first; the newest by default.
    #[arg(long)]
    oldest: bool,

    /// Stop after so many.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// A page as the server gives it.
#[derive(Deserialize)]
struct Answer {
    complete: u64,
    checkpoint: String,
    records: Vec<Found>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    index: u64,
    entry: String,
    statement: Option<String>,
    hashes: Vec<String>,
}

/// A record that was verified.
struct Verified {
    index: LeafIndex,
    leaf: Hash,
    entry: Entry,
    statement: Option<Statement>,
}

impl Search {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let question = self.question()?;
        let (mut left, mut cursor) = (self.limit, None);
        let (complete, head) = loop {
            let answer = ask(&opened, &question, left.min(PAGE_MAX as u64), cursor.as_deref()).await?;
            let head = hold(&mut opened, &answer, terminal).await?;
            for found in &answer.records {
                let record = found.verify(head)?;
                self.check(&record)?;
                print(&record, terminal);
            }
            left = left.saturating_sub(answer.records.len() as u64);
            cursor = answer.next;
            if cursor.is_none() || left == 0 {
                break (answer.complete, head);
            }
        };
        let more = if cursor.is_some() { "; there is more" } else { "" };
        terminal.line(format_args!(
            "Each is proven to be in the tree of {} that the log signed. The log looked through {complete} entries{more}; \
             that it left nothing out is its word.",
            head.size
        ));
        Ok(Exit::YES)
    }

    /// The question, as parameters.
    fn question(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let now = now()?;
        let text = |name, value: Option<&str>| value.map(|value| (name, value.to_owned()));
        let moment = |name, when: Option<When>| when.map(|when| (name, when.moment(now).to_string()));
        let parameters = [
            text("issuer", self.issuer.as_ref().map(PublicKey::as_str)),
            self.stream.map(|stream| ("stream", stream.to_string())),
            self.number.map(|number| ("number", number.to_string())),
            text("kind", self.kind.map(|kind| kind.as_str())),
            self.about.map(|leaf| ("about", leaf.to_string())),
            text("claim", self.claim.as_ref().map(PublicKey::as_str)),
            text("requested", self.requested.as_deref()),
            text("reported", self.reported.as_deref()),
            text("claimed", self.claimed.as_deref()),
            text("outcome", self.outcome.map(|outcome| outcome.as_str())),
            moment("from", self.from),
            moment("before", self.before),
            text("order", self.oldest.then_some("oldest")),
        ];
        Ok(parameters.into_iter().flatten().collect())
    }

    /// Whether a record is what was asked for.
    fn check(&self, record: &Verified) -> anyhow::Result<()> {
        let Verified { index, entry, statement, .. } = record;
        let receipt = match statement.as_ref().map(|statement| &statement.predicate) {
            Some(Predicate::Receipt(receipt)) => Some(receipt),
            _ => None,
        };
        let model = receipt.map(|receipt| &receipt.model);
        let reported = model.and_then(|model| model.reported.as_ref()).map(|reported| &reported.value);
        let claimed =
            model.and_then(|model| model.claimed.as_ref()).and_then(|claimed| claimed.name.as_ref());
        let position = entry.position;
        let now = now()?;
        let holds = is(self.issuer.as_ref(), Some(&entry.issuer))
            && is(self.stream, position.map(|position| position.stream))
            && is(self.number, position.map(|position| position.number.get()))
            && is(self.kind, Some(entry.kind))
            && is(self.about, entry.about)
            && is(self.claim.as_ref(), entry.claim.as_ref())
            && is(self.requested.as_ref(), model.and_then(|model| model.requested.as_ref()))
            && is(self.reported.as_ref(), reported)
            && is(self.claimed.as_ref(), claimed)
            && is(self.outcome, receipt.map(|receipt| receipt.outcome))
            && self.from.is_none_or(|from| matches!(from, When::After(_)) || from.moment(now) <= entry.at)
            && self.before.is_none_or(|to| matches!(to, When::After(_)) || entry.at < to.moment(now));
        if holds {
            Ok(())
        } else {
            Err(No(format!("the log answers with entry {index}, which is not what was asked for")).into())
        }
    }
}

/// Whether a record has what was asked for, if that was.
fn is<T: PartialEq>(asked: Option<T>, has: Option<T>) -> bool {
    asked.is_none() || asked == has
}

/// Asks for a page.
async fn ask(
    opened: &Opened,
    question: &[(&'static str, String)],
    limit: u64,
    cursor: Option<&str>,
) -> anyhow::Result<Answer> {
    let api = opened.log.source().api().context("a directory cannot be searched; that takes a server")?;
    let limit = limit.to_string();
    let question = question.iter().map(|(name, value)| (*name, value.as_str()));
    let paging = [("limit", limit.as_str())].into_iter().chain(cursor.map(|cursor| ("cursor", cursor)));
    // Any address will do to have the parameters escaped.
    let url = reqwest::Url::parse_with_params("http://log.invalid/", question.chain(paging))?;
    let reply =
        api.get(&format!("v1/receipts?{}", url.query().unwrap_or_default()), ANSWER_BYTES_MAX).await?;
    if reply.status != 200 {
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let detail = problem["detail"].as_str().map(|detail| format!(": {}", shown(detail)));
        anyhow::bail!("the log answers {}{}", reply.status, detail.unwrap_or_default());
    }
    serde_json::from_slice(&reply.body).context("the log's answer to a search")
}

/// Verifies the checkpoint of an answer, and holds it against the newest one seen.
async fn hold(opened: &mut Opened, answer: &Answer, terminal: &Terminal) -> anyhow::Result<TreeHead> {
    let checkpoint = opened.log.known().check(&answer.checkpoint)?.checkpoint;
    let head = checkpoint.head();
    opened.hold(&checkpoint, terminal).await?;
    let more = "the log says that it looked through more than it signed";
    ensure!(answer.complete <= head.size.get(), No(more.to_owned()));
    Ok(head)
}

impl Found {
    /// Checks that the record is in the tree, and that entry and statement belong together.
    fn verify(&self, head: TreeHead) -> anyhow::Result<Verified> {
        let index = LeafIndex::new(self.index)?;
        let no = |what: String| No(format!("entry {index}: {what}"));
        let leaf = Hash::leaf(self.entry.as_bytes());
        let hashes = self.hashes.iter().map(|hash| Hash::from_base64(hash)).collect::<Result<_, _>>()?;
        let proof = InclusionProof::new(index, head.size, hashes).map_err(|error| no(error.to_string()))?;
        proof.verify(leaf, head.root).map_err(|error| no(error.to_string()))?;
        let entry = Entry::parse(self.entry.as_bytes()).map_err(|error| no(error.to_string()))?;
        let statement = self.statement.as_ref().map(|text| BASE64.decode(text)).transpose()?;
        let statement = statement.map(|bytes| entry.check_statement(&bytes)).transpose();
        let statement = statement.map_err(|error| no(error.to_string()))?;
        Ok(Verified { index, leaf, entry, statement })
    }
}

fn print(record: &Verified, terminal: &Terminal) {
    let Verified { index, leaf, entry, statement } = record;
    let says = match statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Receipt(receipt)) => {
            let requested = receipt.model.requested.as_deref().map_or_else(|| "no model".to_owned(), shown);
            format!("  {requested}, {}", receipt.outcome)
        }
        Some(_) => String::new(),
        None => "  its statement was erased, or is not shown".to_owned(),
    };
    terminal.line(format_args!(
        "{index:>8}  {:<24}  {:<10} {}{says}",
        moment(entry.at),
        entry.kind.as_str(),
        entry.id
    ));
    let receipt = match statement.as_ref().map(|statement| &statement.predicate) {
        Some(Predicate::Receipt(receipt)) => Some(json!({
            "requested": receipt.model.requested,
            "reported": receipt.model.reported.as_ref().map(|reported| &reported.value),
            "claimed": receipt.model.claimed.as_ref().and_then(|claimed| claimed.name.as_ref()),
            "outcome": receipt.outcome.as_str(),
        })),
        _ => None,
    };
    terminal.value(&json!({
        "index": index.get(), "at": entry.at.millis(), "kind": entry.kind.as_str(), "id": entry.id.to_string(),
        "leaf": leaf.to_string(), "issuer": entry.issuer.as_str(),
        "about": entry.about.map(|about| about.to_string()),
        "stream": entry.position.map(|position| position.stream.to_string()),
        "number": entry.position.map(|position| position.number.get()),
        "statement": statement.is_some(), "receipt": receipt,
    }));
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use counterfoil_merkle::{Frontier, TreeSize};
    use counterfoil_receipt::entry::EntryDraft;

    use super::*;
    use crate::load::Issuing;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        search: Search,
    }

    fn asked(arguments: &[&str]) -> Search {
        Line::parse_from([&["search"], arguments].concat()).search
    }

    /// A record of a small log, as an honest server gives it, and the log's head.
    fn honest() -> (Found, TreeHead, PublicKey) {
        let mut issuing = Issuing::new("log.example", 5);
        let (mut frontier, mut entries, mut statements) = (Frontier::new(), Vec::new(), Vec::new());
        for n in 0..3 {
            let envelope =
                counterfoil_receipt::Envelope::parse(issuing.issue().1.as_bytes()).unwrap().verify().unwrap();
            let statement = Statement::parse(&envelope).unwrap();
            let at = counterfoil_receipt::Timestamp::from_millis(1_000 + n).unwrap();
            let entry = EntryDraft::new(&envelope, &statement).stamp(at);
            frontier.push(Hash::leaf(&entry), |_| ()).unwrap();
            entries.push(entry);
            statements.push(envelope.envelope().statement_bytes().to_vec());
        }
        let (index, size) = (LeafIndex::new(1).unwrap(), TreeSize::new(3).unwrap());
        let nodes = InclusionProof::nodes(index, size).unwrap();
        let hashes: Vec<_> = nodes.iter().map(|node| frontier.node(*node).unwrap()).collect();
        let proof = InclusionProof::from_nodes(index, size, &hashes).unwrap();
        let found = Found {
            index: 1,
            entry: String::from_utf8(entries[1].clone()).unwrap(),
            statement: Some(BASE64.encode(&statements[1])),
            hashes: proof.hashes().iter().map(|hash| hash.to_base64()).collect(),
        };
        (found, frontier.head(), issuing.key().public().clone())
    }

    /// What is not in the tree, or not what the entry says, or not what was asked for, is not shown.
    #[test]
    fn nothing_is_shown_that_was_not_verified() {
        let (found, head, key) = honest();
        let record = found.verify(head).unwrap();
        let no = |error: anyhow::Error| assert_eq!(Exit::of(&error), Exit::NO, "{error}");
        let changed = |change: &dyn Fn(&mut Found)| {
            let mut found = honest().0;
            change(&mut found);
            no(found.verify(head).err().unwrap());
        };
        changed(&|found| found.index = 0);
        changed(&|found| found.index = 3);
        changed(&|found| found.entry = found.entry.replace("\"number\":1", "\"number\":2"));
        changed(&|found| found.hashes.swap(0, 1));
        changed(&|found| drop(found.hashes.pop()));
        changed(&|found| found.statement = Some(BASE64.encode("{}")));
        let later = TreeHead { root: Hash::EMPTY_ROOT, ..head };
        no(found.verify(later).err().unwrap());

        let stream = record.entry.position.unwrap().stream.to_string();
        for right in [
            &["--issuer", key.as_str()][..],
            &["--stream", &stream, "--number", "1"],
            &["--kind", "receipt", "--outcome", "complete", "--requested", "m-1"],
            &["--from", "1001", "--before", "1002"],
        ] {
            asked(right).check(&record).unwrap();
        }
        let other = counterfoil_receipt::SigningKey::from_ed25519_seed(&[9; 32]).public().to_string();
        let zeros = "0".repeat(64);
        for wrong in [
            &["--issuer", other.as_str()][..],
            &["--stream", &zeros[..32]],
            &["--stream", &stream, "--number", "2"],
            &["--kind", "dispute"],
            &["--about", &zeros],
            &["--claim", &other],
            &["--requested", "m-2"],
            &["--reported", "m-1"],
            &["--claimed", "m-1"],
            &["--outcome", "refused"],
            &["--from", "1002"],
            &["--before", "1001"],
        ] {
            no(asked(wrong).check(&record).err().unwrap());
        }
        // Without its statement nobody knows which model it was.
        let bare = Found { statement: None, ..honest().0 }.verify(head).unwrap();
        no(asked(&["--requested", "m-1"]).check(&bare).err().unwrap());
    }
}
