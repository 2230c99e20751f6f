//! What of the surface is read from files, and read again on SIGHUP: tokens, certificate and key.

use std::sync::Arc;

use tracing::{info, warn};

use super::{
    access::Access,
    tls::{Tls, TlsError},
};
use crate::{config::Config, tokens::TokensError};

/// Who may do what, and what is shown to those who connect.
pub struct Surface {
    /// Who may do what by showing a token.
    pub access: Arc<Access>,
    /// What is shown to those who connect, if that is not plain HTTP.
    pub tls: Option<Tls>,
}

impl Surface {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn read(config: &Config) -> Result<Self, SurfaceError> {
        let access = Arc::new(Access::read(&config.tokens)?);
        Ok(Self { access, tls: config.tls.as_ref().map(Tls::read).transpose()? })
    }

    /// Reads them again. What cannot be used now stays as it was, each by itself, and is told to the log.
    pub fn read_again(&self, config: &Config) {
        match self.access.read_again(&config.tokens) {
            Ok(tokens) => info!(tokens, "the tokens were read again"),
            Err(error) => warn!(%error, "the tokens were not read again; the old ones stay"),
        }
        match (&self.tls, &config.tls) {
            (None, None) => {}
            (Some(tls), Some(config)) => match tls.read_again(config) {
                Ok(certificate) => info!(%certificate, "the certificate was read again"),
                Err(error) => warn!(%error, "the certificate was not read again; the old one stays"),
            },
            _ => warn!("the table tls has come or gone: that takes a restart"),
        }
    }
}

/// Why the surface cannot be as it is configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurfaceError {
    /// By its tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// By certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
