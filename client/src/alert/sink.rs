//! Where alerts go: a file of JSON lines, a program, an address.

pub mod exec;
pub mod lines;
pub mod table;
pub mod webhook;

use std::{collections::BTreeSet, time::Duration};

use counterfoil_receipt::audit::Class;

pub use self::{
    exec::Hook,
    lines::Lines,
    table::{SinkError, SinkTable},
    webhook::{Secret, Webhook},
};
use super::message::{Alert, Event};

/// One message for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names the message: one that comes again has the same.
    pub id: String,
    /// Why it is sent.
    pub event: Event,
    /// Small facts, as they are in the JSON too: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// One line of JSON.
    pub json: String,
}

impl Message {
    /// An alert as it is told.
    pub fn of(alert: &Alert) -> Self {
        let facts = vec![
            ("LOG", alert.log.clone()),
            ("CLASS", alert.class.to_string()),
            ("CODE", alert.code.clone()),
            ("PLACE", alert.place.clone()),
            ("RULE", alert.rule.clone().unwrap_or_default()),
        ];
        let json = serde_json::to_string(alert).expect("an alert is plain JSON");
        Self { id: alert.message_id(), event: alert.event, facts, json }
    }
}

/// A sink: what it is called, what it is told, and how.
#[derive(Debug)]
pub struct Sink {
    /// Its name, which is also that of its place in the queue.
    pub name: String,
    /// The classes of findings that it is told of.
    pub classes: BTreeSet<Class>,
    /// How often it is told that the monitor lives.
    pub heartbeat: Option<Duration>,
    /// How it is told.
    pub way: Way,
}

/// How a sink is told.
#[derive(Debug)]
pub enum Way {
    /// Lines of JSON are written.
    Lines(Lines),
    /// A program is started.
    Exec(Hook),
    /// An address is posted to.
    Webhook(Webhook),
}

impl Way {
    /// How it is told, in a word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lines(_) => "lines",
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
        }
    }

    /// How many messages may be told at once.
    pub const fn batch_max(&self) -> usize {
        match self {
            Self::Lines(_) => 256,
            Self::Exec(_) | Self::Webhook(_) => 1,
        }
    }

    /// Tells messages, in order. What has been told when this returns will not be taken back.
    ///
    /// # Errors
    /// If that is not sure; then all of them may be told again.
    pub async fn tell(&self, messages: &[Message]) -> Result<(), TellError> {
        match self {
            Self::Lines(lines) => lines.tell(messages).await,
            Self::Exec(hook) => {
                for message in messages {
                    hook.tell(message).await?;
                }
                Ok(())
            }
            Self::Webhook(webhook) => {
                for message in messages {
                    webhook.tell(message).await?;
                }
                Ok(())
            }
        }
    }
}

/// Why a sink was not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TellError {
    /// Why.
    pub reason: String,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it was the message that was refused, so that trying again will hardly help.
    pub refused: bool,
}

impl TellError {
    /// Something that may pass.
    pub fn passing(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), retry_after: None, refused: false }
    }
}
