//! `counterfoil monitor test-alert`.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use counterfoil_receipt::audit::Class;
use serde_json::json;

use super::wall_clock;
use crate::{
    alert::{self, Alert, Event, sink::Message},
    cli::{
        Exit, Terminal,
        terminal::{Tone, shown},
    },
    file,
    fleet::{Config, config::alerts_directory},
};

/// Send a test through every sink of a configuration, and say which were told.
///
/// It goes past the queue, so it can be done while the monitor runs. Each sink is tried once, whatever classes it is for.
#[derive(Args, Debug)]
pub(super) struct TestAlert {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// This sink alone. Can be given again.
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
}

impl TestAlert {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let mut plan = Config::read(&self.config, wall_clock)?;
        for name in &self.sink {
            ensure!(plan.sinks.iter().any(|sink| sink.name == *name), "no sink is called {name}");
        }
        plan.sinks.retain(|sink| self.sink.is_empty() || self.sink.contains(&sink.name));
        ensure!(
            !plan.sinks.is_empty(),
            "{} has no sink: nobody would be told anything",
            self.config.display()
        );
        file::create_folder(&alert::scratch(&alerts_directory(&plan.state)))?;
        let message = Message::of(&test());
        let mut all = true;
        for sink in &plan.sinks {
            let told = sink.way.tell(std::slice::from_ref(&message)).await;
            all &= told.is_ok();
            let (name, kind) = (&sink.name, sink.way.as_str());
            match &told {
                Ok(()) => {
                    terminal.line(format_args!("{} {name} ({kind})", terminal.paint(Tone::Good, "TOLD")));
                }
                Err(error) => {
                    let failed = terminal.paint(Tone::Bad, "NOT TOLD");
                    terminal.line(format_args!("{failed} {name} ({kind}): {}", shown(&error.reason)));
                }
            }
            let reason = told.err().map(|error| error.reason);
            terminal
                .value(&json!({ "sink": name, "kind": kind, "told": reason.is_none(), "reason": reason }));
        }
        Ok(Exit::yes_if(all))
    }
}

/// A finding that is none, and says so.
fn test() -> Alert {
    let at = wall_clock();
    Alert {
        event: Event::Test,
        id: Alert::id("", "test", "", None, Some(at)),
        log: String::new(),
        class: Class::Match,
        code: "test".to_owned(),
        place: "nowhere".to_owned(),
        rule: None,
        message: "This is a test: nothing was found. Whoever reads this would be told of a fork too."
            .to_owned(),
        at,
        since: None,
    }
}
