//! `counterfoil keygen`.

use std::path::PathBuf;

use clap::Args;
use counterfoil_receipt::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Terminal};
use crate::file::{self, Access};

/// Make a key to sign receipts with.
#[derive(Args, Debug)]
pub(super) struct Keygen {
    /// Make an ECDSA P-256 key, as key services have them, in place of an Ed25519 key.
    #[arg(long)]
    p256: bool,

    /// Where to put the private key; nothing may be there yet.
    #[arg(short, long, value_name = "FILE", default_value = "issuer.pem")]
    output: PathBuf,
}

impl Keygen {
    pub(super) fn run(&self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let key = if self.p256 { p256()? } else { SigningKey::from_ed25519_seed(&*random()?) };
        file::create(&self.output, key.to_pkcs8_pem().as_bytes(), Access::Secret)?;
        terminal.note(format_args!("private key: {} (readable by you alone)", self.output.display()));
        terminal.line(key.public());
        terminal.value(&json!({ "key": key.public().as_str(), "file": self.output }));
        Ok(Exit::YES)
    }
}

fn random() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(bytes)
}

/// Nearly every 32 bytes are a scalar of the curve.
fn p256() -> anyhow::Result<SigningKey> {
    loop {
        if let Ok(key) = SigningKey::from_p256_scalar(&*random()?) {
            return Ok(key);
        }
    }
}
