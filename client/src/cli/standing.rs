//! `counterfoil standing`, and what `history` shares with it: everything in a log about one receipt, read whole and proven complete.

mod text;
mod value;

use clap::Args;
use counterfoil_merkle::{Hash, LeafIndex, TreeHead, TreeSize, checkpoint::VerifiedCheckpoint};
use counterfoil_receipt::{
    Envelope, Timestamp,
    envelope::ENVELOPE_BYTES_MAX,
    standing::{Docket, Matter, Standing},
};

use super::{
    Exit, LogArgs, MemoryArgs, No, Opened, Terminal,
    moment::{When, now},
    place::Place,
    progress::Progress,
    target::contexts,
};
use crate::{
    file,
    walk::{Gathered, Walk, find_matter, gather},
};

/// Say what stands about a receipt: who claimed what, what was checked by whom, what is disputed, whose turn it is and until when.
///
/// The whole log is read and held against its signed tree head, so nothing about the receipt can be left out.
/// Kept in memory is what concerns the receipt, what the log says of keys, some 100 bytes for each record that is about another, and 16
/// bytes for each date of each issuer: 30 MB for a million receipts of one key.
#[derive(Args, Debug)]
pub(super) struct StandingCommand {
    #[command(flatten)]
    about: AboutArgs,

    /// The moment; now by default. It cannot lie before the last entry that is looked at.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    at: Option<When>,

    /// Another log in which the receipt may be disputed too, by the name you gave it. May be given more than once.
    #[arg(long, value_name = "NAME")]
    also: Vec<String>,
}

/// What is asked about, and in which log.
#[derive(Args, Debug)]
pub(super) struct AboutArgs {
    #[command(flatten)]
    pub(super) log: LogArgs,

    #[command(flatten)]
    pub(super) memory: MemoryArgs,

    /// The receipt, or any record about it: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF", required_unless_present = "promise")]
    place: Option<Place>,

    /// A promise of a receipt: the envelope that came with the answer.
    #[arg(long, value_name = "ENVELOPE", conflicts_with = "place")]
    promise: Option<std::path::PathBuf>,

    /// Look at so many entries only: what stood when the log had no more.
    #[arg(long, value_name = "N")]
    pub(super) size: Option<u64>,
}

/// A docket, and what it rests on.
pub(super) struct Read {
    /// The log.
    pub(super) opened: Opened,
    /// Its newest checkpoint, under which the entries were proven.
    pub(super) checkpoint: VerifiedCheckpoint,
    /// What was gathered.
    pub(super) gathered: Gathered,
}

/// What stands in one log.
pub(super) struct Stands {
    /// The log's name.
    pub(super) origin: String,
    /// The docket.
    pub(super) docket: Docket,
    /// Its standing.
    pub(super) standing: Standing,
    /// The signed tree that the entries are proven to be of.
    pub(super) head: TreeHead,
    /// Whether the log keeps its statements to itself.
    pub(super) withheld: bool,
}

impl AboutArgs {
    /// Reads the log, and gathers what concerns the matter.
    pub(super) async fn read(&self, terminal: &Terminal) -> anyhow::Result<Read> {
        let mut opened = self.log.open(&self.memory, 2)?;
        let checkpoint = opened.log.checkpoint().await?.checkpoint;
        opened.hold(&checkpoint, terminal).await?;
        let mut progress = Progress::new(terminal);
        let mut show = |size: TreeSize| progress.show(format_args!("{size} entries"));
        let (head, to) = self.span(&checkpoint)?;
        let matter = match (&self.promise, &self.place) {
            (Some(path), _) => {
                let envelope = Envelope::parse(&file::read(path, ENVELOPE_BYTES_MAX)?)?.verify()?;
                Matter::Promise(envelope.id())
            }
            (None, Some(place)) => {
                let walk = Walk::new(&opened.log, head, to)?;
                let is = |index, leaf, entry: &_| place.is(index, leaf, entry);
                find_matter(walk, &is, &mut show)
                    .await?
                    .ok_or_else(|| No(format!("the first {to} entries of the log have no {place}")))?
            }
            (None, None) => anyhow::bail!("say which receipt"),
        };
        let walk = Walk::new(&opened.log, head, to)?;
        let gathered = gather(walk, Docket::new(matter), &mut show).await?;
        Ok(Read { opened, checkpoint, gathered })
    }

    fn span(&self, checkpoint: &VerifiedCheckpoint) -> anyhow::Result<(TreeHead, TreeSize)> {
        let head = checkpoint.head();
        let Some(size) = self.size else { return Ok((head, head.size)) };
        match TreeSize::new(size) {
            Ok(size) if size <= head.size => Ok((head, size)),
            _ => Err(No(format!("the log has {} entries only", head.size)).into()),
        }
    }
}

impl StandingCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let now = now()?;
        let read = self.about.read(terminal).await?;
        let matter = read.gathered.docket.matter().clone();
        let last = read.gathered.docket.last();
        // With a smaller size and no moment, what stood when its last entry was logged.
        let moment = match (self.at, self.about.size, last) {
            (Some(when), ..) => when.moment(now),
            (None, Some(_), Some(last)) => last,
            (None, ..) => last.map_or(now, |last| last.max(now)),
        };
        let mut logs = vec![stands(&read.opened, read.gathered, read.checkpoint.head(), moment)?];
        if let Matter::Record(leaf) = matter {
            for name in &self.also {
                logs.extend(self.elsewhere(name, leaf, moment, terminal).await?);
            }
        }
        if terminal.is_json() {
            terminal.value(&value::print(&logs)?);
        } else {
            text::print(&logs, terminal);
        }
        Ok(Exit::YES)
    }

    /// What another log says of the receipt, if anything.
    async fn elsewhere(
        &self,
        name: &str,
        leaf: Hash,
        moment: Timestamp,
        terminal: &Terminal,
    ) -> anyhow::Result<Option<Stands>> {
        contexts()?.open(name)?;
        let log = LogArgs { log: Some(name.to_owned()), ..LogArgs::default() };
        let mut opened = log.open(&self.about.memory, 2)?;
        let checkpoint = opened.log.checkpoint().await?.checkpoint;
        opened.hold(&checkpoint, terminal).await?;
        let head = checkpoint.head();
        let mut progress = Progress::new(terminal);
        let mut show = |size: TreeSize| progress.show(format_args!("{name}: {size} entries"));
        let walk = Walk::new(&opened.log, head, head.size)?;
        let gathered = gather(walk, Docket::new(Matter::Elsewhere(leaf)), &mut show).await?;
        // That log may have moved on since; it has its own last entry.
        let moment = gathered.docket.last().map_or(moment, |last| last.max(moment));
        let stands = stands(&opened, gathered, head, moment)?;
        Ok(Some(stands))
    }
}

fn stands(opened: &Opened, gathered: Gathered, head: TreeHead, moment: Timestamp) -> anyhow::Result<Stands> {
    let Gathered { docket, withheld } = gathered;
    let standing = docket.standing(moment)?;
    let origin = opened.log.known().key.name().to_string();
    Ok(Stands { origin, docket, standing, head, withheld })
}

impl Stands {
    /// Where a record of the docket is.
    pub(super) fn index(&self, leaf: Hash) -> Option<LeafIndex> {
        self.docket.records().iter().find(|record| record.leaf == leaf).map(|record| record.index)
    }
}
