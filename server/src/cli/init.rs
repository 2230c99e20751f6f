//! `counterfoil-server init`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use counterfoil_receipt::PublicKey;

use crate::{
    clock::wall_now,
    config::{AdmissionMode, Pkcs11Config, StoreConfig},
    init::{NewLog, init},
};

#[derive(Args)]
pub(super) struct Init {
    /// The log's name for ever, such as log.example/2026.
    #[arg(long)]
    origin: String,
    /// A new directory for configuration, keys and data.
    #[arg(long)]
    dir: PathBuf,
    /// A new file, best on another disk, that remembers how far the log went.
    #[arg(long)]
    guard: PathBuf,
    /// Admit any valid signature instead of registered keys.
    #[arg(long)]
    open: bool,
    /// Public key of a registrar, whose key records let others in; may be given more than once. Without any, a registrar's key
    /// is made.
    #[arg(long, value_name = "KEY")]
    registrar: Vec<PublicKey>,
    /// Address and port to listen on.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Make the keys in a PKCS#11 token instead of in files: the shared library that speaks to it.
    #[arg(long, value_name = "FILE", requires = "pkcs11_token", requires = "pkcs11_pin_file")]
    pkcs11_module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pkcs11_token: Option<String>,
    /// The file with its user's PIN, which only its owner can read.
    #[arg(long, value_name = "FILE", requires = "pkcs11_module")]
    pkcs11_pin_file: Option<PathBuf>,
    /// Keep the log in an S3-compatible store instead of a data directory: s3://bucket/prefix. Credentials come from the
    /// environment.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Address of the store's service, if it is not AWS's own.
    #[arg(long, value_name = "URL", requires = "store")]
    endpoint: Option<String>,
    /// The store's region.
    #[arg(long, default_value = "us-east-1", requires = "store")]
    region: String,
}

impl Init {
    /// The token that keys are to be made in.
    fn token(&self) -> Option<Pkcs11Config> {
        Some(Pkcs11Config {
            module: self.pkcs11_module.clone()?,
            token: self.pkcs11_token.clone()?,
            pin_file: self.pkcs11_pin_file.clone()?,
        })
    }
}

pub(super) fn make(arguments: &Init) -> anyhow::Result<()> {
    let mode = if arguments.open { AdmissionMode::Open } else { AdmissionMode::Registered };
    let new = NewLog {
        origin: arguments.origin.clone(),
        directory: arguments.dir.clone(),
        guard: arguments.guard.clone(),
        mode,
        registrars: arguments.registrar.clone(),
        listen: arguments.listen,
        pkcs11: arguments.token(),
        store: arguments.store.as_ref().map(|url| StoreConfig {
            url: url.clone(),
            endpoint: arguments.endpoint.clone(),
            region: arguments.region.clone(),
        }),
    };
    let made = init(&new, wall_now()?)?;
    println!("log key     {}", made.log_key);
    println!("clock key   {}", made.clock_key);
    println!("config      {}", made.config.display());
    if let Some(registrar) = &made.registrar {
        println!("registrar   {} (keep it elsewhere: the log does not need it)", registrar.display());
    }
    println!("policy      {}\n\n{}", made.policy.0.display(), made.policy.1);
    println!("Start it:   counterfoil-server run --config {}", made.config.display());
    Ok(())
}
