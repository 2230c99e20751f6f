//! `counterfoil-server fsck` and `repair`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use zeroize::Zeroizing;

use crate::{
    clock::wall_now,
    config::Config,
    fsck::fsck,
    repair::{Mirror, repair},
};

#[derive(Args)]
pub(super) struct Fsck {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Judge every record again, from entry 0 on: whether it was let in rightly.
    #[arg(long)]
    admission: bool,
}

#[derive(Args)]
pub(super) struct Repair {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Any place that has the log's tiles: another operator's copy, the log itself elsewhere, or `/mirror/...` of a
    /// monitor that keeps it.
    #[arg(long, value_name = "URL")]
    from: String,
    /// A file with a token for it, if it gives statements to token holders only.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn check(arguments: &Fsck) -> ExitCode {
    let checked = Config::read(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| Ok::<_, anyhow::Error>(fsck(&config, wall_now()?, arguments.admission)?));
    match checked {
        Ok(report) => {
            print!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

pub(super) fn repair_log(arguments: &Repair) -> ExitCode {
    let read = || -> anyhow::Result<_> {
        let token = arguments.token_file.as_ref().map(|path| {
            std::fs::read_to_string(path).map(Zeroizing::new).with_context(|| path.display().to_string())
        });
        let token = token.transpose()?;
        let mirror =
            Mirror::new(&arguments.from, token.as_ref().map(|token| token.trim())).context("--from")?;
        Ok(repair(&Config::read(&arguments.config)?, mirror, wall_now()?, &mut |mend| println!("{mend}"))?)
    };
    match read() {
        Ok(repaired) => {
            let (mended, left) = (repaired.mended, repaired.left.len());
            print!("{mended} objects mended, {left} not\n{}", repaired.report);
            match (repaired.is_whole(), repaired.is_unanswered()) {
                (true, _) => ExitCode::SUCCESS,
                (false, unanswered) => ExitCode::from(if unanswered { 2 } else { 1 }),
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
