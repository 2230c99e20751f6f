//! TLS: certificate and key from their files, taken anew without a restart.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use counterfoil_merkle::Hash;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::TlsConfig,
    keyfile::{self, KeyFileError},
};

/// What is shown to those who connect. Who is connected keeps what was shown.
pub struct Tls {
    shown: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// If they cannot be read, or do not belong together.
    pub fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self { shown: RwLock::new(Arc::new(load(config)?.0)) })
    }

    /// Reads certificate and key again, for connections from now on; returns the SHA-256 of the certificate.
    ///
    /// # Errors
    /// As [`Tls::read`]; what was shown before is shown on.
    pub fn read_again(&self, config: &TlsConfig) -> Result<Hash, TlsError> {
        let (shown, certificate) = load(config)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        Ok(certificate)
    }

    /// What takes the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn load(config: &TlsConfig) -> Result<(ServerConfig, Hash), TlsError> {
    let chain = certificates(&config.certificate)?;
    let first = chain.first().ok_or_else(|| TlsError::NoCertificate { path: config.certificate.clone() })?;
    let fingerprint = Hash::of(&[first]);
    let pem = keyfile::read_linked(&config.key)?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|reason| TlsError::Key { path: config.key.clone(), reason })?;
    let pair =
        |source| TlsError::Pair { certificate: config.certificate.clone(), key: config.key.clone(), source };
    let mut shown = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(pair)?;
    shown.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((shown, fingerprint))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|reason| TlsError::Certificate { path: path.to_owned(), reason })
}

/// Why certificate and key cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate's file cannot be read.
    #[error("tls.certificate: {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not PEM.
    #[error("tls.certificate: {}: {reason}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: pem::Error,
    },
    /// There is no certificate in it.
    #[error("tls.certificate: {}: no certificate in it", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The key's file cannot be used.
    #[error("tls.key: {0}")]
    KeyFile(#[from] KeyFileError),
    /// There is no key in it.
    #[error("tls.key: {}: {reason}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: pem::Error,
    },
    /// They do not belong together, or are of a kind that is not known.
    #[error("tls: certificate {} and key {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}
