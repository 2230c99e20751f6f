//! `counterfoil-server backup` and `restore`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    backup::{BackupError, Done, backup, restore},
    clock::wall_now,
    config::Config,
};

#[derive(Args)]
pub(super) struct Backup {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The backup: a new or empty directory, or an earlier backup of this log.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The configuration file, whose data directory is empty or missing.
    #[arg(long)]
    config: PathBuf,
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

pub(super) fn back_up(arguments: &Backup) -> ExitCode {
    let done = Config::read(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| Ok(backup(&config, &arguments.to, wall_now()?)?));
    told(done, |done| println!("backed up: {done}"))
}

pub(super) fn restore_log(arguments: &Restore) -> ExitCode {
    let config = match Config::read(&arguments.config) {
        Ok(config) => config,
        Err(error) => return told(Err::<Done, _>(error.into()), |_| {}),
    };
    let done =
        wall_now().map_err(anyhow::Error::from).and_then(|now| Ok(restore(&config, &arguments.from, now)?));
    told(done, |done| {
        println!("restored: {done}");
        if !done.guarded {
            println!("There is no guard at {}: the log can be read, not written.", config.guard.display());
            println!("If nothing newer was ever published, `counterfoil-server adopt` makes the guard anew.");
        }
    })
}

/// What became of a backup, and the exit code for it.
fn told<T>(done: anyhow::Result<T>, say: impl FnOnce(&T)) -> ExitCode {
    match done {
        Ok(done) => {
            say(&done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let refused = error.downcast_ref().is_some_and(BackupError::is_refusal);
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}
