//! Taking a store over by hand: a person says that this data directory is the newest there ever was.

use std::{fmt, sync::Arc};

use counterfoil_merkle::TreeHead;
use counterfoil_receipt::Timestamp;

use crate::{
    config::{Config, ConfigError},
    guard::{Guard, GuardError, Mark},
    objects::{Objects, StoreError, commit_name, never_told_name},
    recover::{RecoverError, load},
};

/// What would be trusted.
#[derive(Clone, Debug)]
pub struct Plan {
    origin: String,
    commit: u64,
    head: TreeHead,
    time: Timestamp,
    guard: Option<Mark>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log         {}", self.origin)?;
        writeln!(f, "commit      {}", self.commit)?;
        writeln!(f, "tree size   {}", self.head.size)?;
        writeln!(f, "root        {}", self.head.root)?;
        match &self.guard {
            Some(mark) => write!(f, "guard       was at commit {}, size {}", mark.commit, mark.head.size),
            None => write!(f, "guard       missing or damaged"),
        }
    }
}

/// Reads store and guard and says what taking over would trust. Nothing is written.
pub fn examine(config: &Config, now: Timestamp) -> Result<Plan, AdoptError> {
    let objects = Arc::new(Objects::of(config)?);
    let loaded = load(&objects)?;
    let guard = match Guard::open(&config.guard) {
        Ok(guard) => Some(guard.mark().clone()),
        Err(GuardError::Missing { .. } | GuardError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let origin = config.log_vkey()?.name().to_string();
    // Whatever was attested before, nothing later may be dated before the present.
    let time = loaded.at.unwrap_or(now).max(now);
    let head = loaded.edge.frontier.head();
    Ok(Plan { origin, commit: loaded.newest().number, head, time, guard })
}

/// Sets the guard to what [`examine`] found, making it anew if need be.
pub fn adopt(config: &Config, plan: &Plan) -> Result<(), AdoptError> {
    let mark = Mark { origin: plan.origin.clone(), commit: plan.commit, head: plan.head, time: plan.time };
    match Guard::open(&config.guard) {
        Ok(mut guard) => Ok(guard.adopt(mark)?),
        Err(GuardError::Missing { .. }) => Guard::create(&config.guard, mark).map(drop).map_err(Into::into),
        Err(GuardError::Damaged { path }) => {
            let aside = path.with_extension("damaged");
            std::fs::rename(&path, aside).map_err(|source| GuardError::Io { path, source })?;
            Guard::create(&config.guard, mark).map(drop).map_err(Into::into)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets aside the newest commit, if the log stopped before it told anybody of it.
pub fn set_aside(config: &Config, number: u64) -> Result<String, AdoptError> {
    let objects = Objects::of(config)?;
    if objects.get(&never_told_name(number))?.is_none() {
        return Err(AdoptError::Told { number });
    }
    if objects.commit_numbers()?.last() != Some(&number) {
        return Err(AdoptError::NotNewest { number });
    }
    Ok(objects.set_aside(&commit_name(number))?)
}

/// Why a store was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log in it is damaged.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The guard cannot be written.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Somebody may have been told of the commit.
    #[error("commit {number} has no never-told marker: somebody may have been told of it, so it stays")]
    Told {
        /// Which.
        number: u64,
    },
    /// Later commits are built on it.
    #[error("commit {number} is not the newest")]
    NotNewest {
        /// Which.
        number: u64,
    },
}
