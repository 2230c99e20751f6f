//! `counterfoil-server reindex` and `adopt`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use counterfoil_merkle::checkpoint::Origin;

use crate::{
    adopt,
    clock::wall_now,
    config::Config,
    index::runs::Runs,
    log::Log,
    objects::Objects,
    publish::Identity,
    recover::load,
    search::{Search, follow},
};

#[derive(Args)]
pub(super) struct Reindex {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Args)]
pub(super) struct Adopt {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Really do it.
    #[arg(long)]
    yes: bool,
    /// Set this commit aside, of which the log told nobody.
    #[arg(long, value_name = "NUMBER")]
    set_aside: Option<u64>,
}

pub(super) fn reindex(arguments: &Reindex) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    let objects = Arc::new(Objects::of(&config)?);
    let loaded = load(&objects)?;
    Runs::remove(&config.index)?;
    let (runs, _) = Runs::open(&config.index)?;
    let log = Log::new(objects, Some(runs), config.limits.queue_max);
    log.tiles.hold(loaded.filled);
    futures::executor::block_on(log.fill_index(&loaded.edge))?;
    log.close_index();
    println!("{} entries indexed", loaded.edge.size());
    if config.search.enabled {
        Search::clear(&config.search.directory)?;
        log.show_stored(&identity(&config)?)?;
        let search = futures::executor::block_on(follow::open(&log, &config.search))?;
        let indexed = match log.view() {
            Some(view) => follow::index_all(&log, &view, &search)?,
            None => 0,
        };
        println!("{indexed} published entries can be searched");
    }
    Ok(())
}

/// Whose checkpoints are those of this log.
fn identity(config: &Config) -> anyhow::Result<Identity> {
    let (log, clock) = (config.log_vkey()?, config.clock_vkey()?);
    Ok(Identity { origin: Origin::new(log.name().as_str())?, log, clock })
}

pub(super) fn adopt_log(arguments: &Adopt) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    if let Some(number) = arguments.set_aside {
        let aside = adopt::set_aside(&config, number)?;
        println!("commit {number} is set aside as {aside}");
        return Ok(());
    }
    let plan = adopt::examine(&config, wall_now()?)?;
    println!("{plan}");
    if !arguments.yes {
        println!(
            "\nIf this is the newest the log ever was, repeat with --yes. If a newer copy exists, or anyone has"
        );
        println!("seen a larger checkpoint, do not: signing over what was published forks the log.");
        return Ok(());
    }
    adopt::adopt(&config, &plan)?;
    println!("\nthe guard {} is set", config.guard.display());
    Ok(())
}
