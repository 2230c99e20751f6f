//! `counterfoil key`: how a party names itself, and how a registrar lets it in.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_merkle::Hash;
use counterfoil_receipt::{
    Envelope,
    draft::Committing,
    envelope::ENVELOPE_BYTES_MAX,
    statement::{Card, Contact, Key, Name, Origin, Predicate, Registration, Role, Subject},
};
use serde_json::json;

use super::{
    Exit, Terminal,
    ask::{code, confirm},
    moment::{When, now},
    record::{Making, RecordArgs, read_key},
    target::contexts,
    terminal::shown,
};
use crate::file::{self, Access};

/// Keys in a log: cards, by which parties name themselves, and registrations, by which registrars let them in.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a card: your name, signed by your own key. A registrar registers it; an open log takes it as it is.
    Card(CardCommand),
    /// Register a card, as a registrar of the log.
    Register(Box<Register>),
}

#[derive(Args, Debug)]
pub(super) struct CardCommand {
    /// Your private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Your name. It will be in the log for ever.
    #[arg(long, value_name = "TEXT")]
    name: Name,

    /// Where you can be reached: https://… or mailto:….
    #[arg(long, value_name = "URI")]
    contact: Option<Contact>,

    /// What you want to do there. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<Role>, required = true)]
    role: Vec<Role>,

    /// The log, by the name you gave it.
    #[arg(long, value_name = "NAME", required_unless_present = "origin")]
    log: Option<String>,

    /// The log, by its origin.
    #[arg(long, value_name = "ORIGIN", conflicts_with = "log")]
    origin: Option<Origin>,

    /// Where to put the card.
    #[arg(short, long, value_name = "FILE", default_value = "card.json")]
    output: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Register {
    #[command(flatten)]
    record: RecordArgs,

    /// The card, which the party made with `counterfoil key card`.
    #[arg(value_name = "CARD")]
    card: PathBuf,

    /// The registrar's private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// A role to give, of those that the card asks for; all of them by default. May be given more than once.
    #[arg(long, value_name = "CODE", value_parser = code::<Role>)]
    role: Vec<Role>,

    /// The first moment at which the key may act: a date, a time, or +1d.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    not_before: Option<When>,

    /// The last one.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    not_after: Option<When>,

    /// SHA-256 of the evidence that binds the key to hardware.
    #[arg(long, value_name = "HEX")]
    evidence: Option<Hash>,
}

impl KeyCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Card(card) => card.run(terminal),
            Self::Register(register) => register.run(terminal).await,
        }
    }
}

impl CardCommand {
    fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let log = match (self.origin, &self.log) {
            (Some(origin), _) => origin,
            (None, name) => {
                contexts()?.open(name.as_deref().unwrap_or_default())?.log.key.name().as_str().parse()?
            }
        };
        let mut failed = false;
        let mut random = |bytes: &mut [u8]| failed |= getrandom::fill(bytes).is_err();
        let card = Card { name: self.name, contact: self.contact, roles: self.role };
        let predicate = Predicate::Key(Key::Card(card));
        let draft = Committing::new(&mut random).record(log, &key, Subject::Log, predicate);
        anyhow::ensure!(!failed, "the system gives no random bytes");
        let envelope = draft.sign(&key)?.into_envelope();
        file::create(&self.output, envelope.to_json().as_bytes(), Access::Public)?;
        terminal.line(format_args!("card of {}: {}", key.public(), self.output.display()));
        terminal.value(&json!({
            "key": key.public().as_str(), "id": draft.id().to_string(), "card": self.output,
        }));
        Ok(Exit::YES)
    }
}

impl Register {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let making = Making::open(&self.record, terminal)?;
        let card = Envelope::parse(&file::read(&self.card, ENVELOPE_BYTES_MAX)?)?;
        let mut registration = Registration::new(card, &making.origin()?)?;
        let now = now()?;
        if !self.role.is_empty() {
            registration.roles = self.role;
        }
        registration.not_before = self.not_before.map(|at| at.moment(now));
        registration.not_after = self.not_after.map(|at| at.moment(now));
        registration.evidence = self.evidence;
        let roles: Vec<_> = registration.roles.iter().map(|role| role.as_str()).collect();
        confirm(
            &format!(
                "{} will be known as {} for ever, as {}.",
                registration.key(),
                shown(registration.card().name.as_str()),
                roles.join(", ")
            ),
            terminal,
        )?;
        let predicate = Predicate::Key(Key::Registration(Box::new(registration)));
        making.make(&key, Subject::Log, |_| Ok(predicate)).await
    }
}
