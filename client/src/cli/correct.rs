//! `counterfoil correct`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::{
    commitment::{Label, MemberLabel},
    statement::{
        Correction, Number, Predicate, StreamId,
        correction::{Cause, Found, Range, ReceiptField},
    },
};

use super::{
    Exit, Terminal,
    ask::{choose, choose_some, code, confirm},
    place::Place,
    record::{Making, RecordArgs, read_key},
};
use crate::file;

const VALUES_BYTES_MAX: usize = 1024 * 1024;

/// Take back claims of a receipt of yours that were wrong.
#[derive(Args, Debug)]
pub(super) struct Correct {
    #[command(flatten)]
    record: RecordArgs,

    /// The receipt: its id or the first 32 digits of it, its index, or its leaf hash.
    #[arg(value_name = "ID|INDEX|LEAF")]
    place: Place,

    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// What was wrong. May be given more than once; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<ReceiptField>)]
    field: Vec<ReceiptField>,

    /// A file with a JSON object of fields and right values. Only a commitment to it is logged.
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,

    /// Why it was wrong; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Cause>)]
    cause: Option<Cause>,

    /// How that came out; you are asked if you leave it out.
    #[arg(long, value_name = "CODE", value_parser = code::<Found>)]
    found: Option<Found>,

    /// The numbers of a stream that are affected, both ends included.
    #[arg(long, value_name = "STREAM:FROM:TO", value_parser = range)]
    range: Option<Range>,

    /// Those affected were told.
    #[arg(long)]
    notified: bool,
}

fn range(text: &str) -> Result<Range, String> {
    let mut parts = text.split(':');
    let (Some(stream), Some(from), Some(to), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("a range is STREAM:FROM:TO".to_owned());
    };
    let number = |text: &str| text.parse().ok().and_then(Number::new).ok_or("FROM and TO are numbers");
    let stream: StreamId = stream.parse().map_err(|error| format!("{error}"))?;
    Ok(Range { stream, from: number(from)?, to: number(to)? })
}

impl Correct {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let mut making = Making::open(&self.record, terminal)?;
        let about = making.about(&self.place).await?;
        let fields = choose_some(&self.field, "--field", "What was wrong?", terminal)?;
        let cause = choose(self.cause, "--cause", "Why was it wrong?", terminal)?;
        let found = choose(self.found, "--found", "How did that come out?", terminal)?;
        let values = self.values.as_deref().map(|path| file::read(path, VALUES_BYTES_MAX)).transpose()?;
        confirm("The correction will be in the log for ever, signed with your key.", terminal)?;
        making
            .make(&key, about.subject(), |committing| {
                let label = Label::Member(MemberLabel::CorrectionValues);
                Ok(Predicate::Correction(Correction {
                    fields,
                    values: values.map(|bytes| committing.commit(label, &bytes)),
                    cause,
                    found,
                    range: self.range,
                    sample: None,
                    notified: self.notified,
                }))
            })
            .await
    }
}
