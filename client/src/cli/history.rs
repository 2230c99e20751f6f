//! How a bundle's checkpoint stands to what was seen of its log before.

use counterfoil_receipt::verify::Report;
use serde_json::{Value, json};

use super::{
    Exit,
    terminal::{Tone, shown},
};
use crate::pin::Held;

/// What became of holding the checkpoint of a bundle against the newest one seen.
#[derive(Debug)]
pub(super) enum History {
    /// Nothing that was seen was to be held against it.
    NotAsked,
    /// The one grew into the other.
    Held(Held),
    /// It could not be found out.
    Unknown(anyhow::Error),
    /// They do not go together, or the log is refused.
    Broken(anyhow::Error),
}

impl History {
    /// What became of holding it.
    pub(super) fn of(held: anyhow::Result<Held>) -> Self {
        match held {
            Ok(held) => Self::Held(held),
            Err(error) if Exit::of(&error) == Exit::NO => Self::Broken(error),
            Err(error) => Self::Unknown(error),
        }
    }

    /// The exit code of a command that verified a bundle.
    pub(super) fn exit(&self, report: &Report) -> Exit {
        match self {
            _ if !report.holds() => Exit::NO,
            Self::NotAsked | Self::Held(_) => Exit::YES,
            Self::Unknown(_) => Exit::UNKNOWN,
            Self::Broken(_) => Exit::NO,
        }
    }

    /// The exit code where no report is printed: what is wrong has to be said otherwise.
    pub(super) fn into_result(self, exit: Exit) -> anyhow::Result<Exit> {
        match self {
            Self::NotAsked | Self::Held(_) => Ok(exit),
            Self::Unknown(error) | Self::Broken(error) => Err(error),
        }
    }

    /// In words.
    pub(super) fn text(&self) -> (Tone, String) {
        match self {
            Self::NotAsked => (Tone::Dim, "not held against anything seen before".to_owned()),
            Self::Held(Held::First) => (Tone::Dim, "nothing was seen of this log before".to_owned()),
            Self::Held(Held::Same) => (Tone::Good, "the same tree as the newest one seen".to_owned()),
            Self::Held(Held::Older) => (Tone::Good, "contained in the newest tree seen".to_owned()),
            Self::Held(Held::Newer { from }) => {
                (Tone::Good, format!("grown from the tree of size {from} that was seen last"))
            }
            Self::Unknown(error) => (Tone::Warn, format!("COULD NOT TELL, {}", shown(&format!("{error:#}")))),
            Self::Broken(error) => (Tone::Bad, format!("NO, {}", shown(&format!("{error:#}")))),
        }
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        let (status, reason) = match self {
            Self::NotAsked => ("not asked", None),
            Self::Held(Held::First) => ("first", None),
            Self::Held(Held::Same) => ("same", None),
            Self::Held(Held::Older) => ("older", None),
            Self::Held(Held::Newer { .. }) => ("newer", None),
            Self::Unknown(error) => ("unknown", Some(format!("{error:#}"))),
            Self::Broken(error) => ("broken", Some(format!("{error:#}"))),
        };
        json!({ "status": status, "reason": reason })
    }
}
