//! Services behind the proxy: connections to them that add nothing to what passes.

use std::{sync::Arc, time::Duration};

use hyper::{
    Request, Response, Uri, Version,
    body::Incoming,
    header::HeaderValue,
    http::uri::{PathAndQuery, Scheme},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::{
    config::{Base, ConfigError, UpstreamTable},
    relay::RequestBody,
};
use crate::file;

const CERTIFICATES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a connection may lie idle. Services close theirs after a minute or so; this one is to be first.
const IDLE: Duration = Duration::from_secs(20);

/// A service behind the proxy.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What it is called here.
    pub name: String,
    /// Where it is.
    pub base: Base,
    host: HeaderValue,
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
}

impl Upstream {
    /// Prepares connections; none is made yet.
    pub fn new(table: &UpstreamTable, connect_timeout: Duration) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::Value { what: format!("upstream {:?}: {what}", table.name) };
        let base = Base::parse(&table.url).ok_or_else(|| wrong(format!("{:?} is no URL", table.url)))?;
        let pem = table.ca.as_ref().map(|path| file::read(path, CERTIFICATES_BYTES_MAX)).transpose()?;
        let tls = tls(base.scheme == Scheme::HTTPS, pem.as_deref()).map_err(wrong)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_preserve_header_case(true)
            .set_host(false)
            .build(connector);
        let host =
            HeaderValue::from_str(base.authority.as_str()).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { name: table.name.clone(), base, host, client })
    }

    /// The `Host` that it is called by.
    pub const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Its address for a path, prefix taken off, and a query.
    pub fn uri(&self, rest: &str, query: Option<&str>) -> Option<Uri> {
        let mut path = format!("{}{rest}", self.base.path);
        if path.is_empty() {
            path.push('/');
        }
        if let Some(query) = query {
            path.push('?');
            path.push_str(query);
        }
        let parts = PathAndQuery::try_from(path).ok()?;
        let uri = Uri::builder().scheme(self.base.scheme.clone()).authority(self.base.authority.clone());
        uri.path_and_query(parts).build().ok()
    }

    /// Sends a request; done when the head of the response is there.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        *request.version_mut() = Version::HTTP_11;
        Ok(self.client.request(request).await?)
    }
}

/// The upstream gave no answer that could be read.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer")]
pub struct SendError(#[from] hyper_util::client::legacy::Error);

/// What to trust of an `https` upstream: the system's roots, those that are built in where it has none, or those given.
fn tls(is_used: bool, pem: Option<&[u8]>) -> Result<ClientConfig, String> {
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = |provider: Arc<CryptoProvider>| {
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())
    };
    let of_roots =
        |roots: RootCertStore| Ok(builder(provider())?.with_root_certificates(roots).with_no_client_auth());
    if !is_used {
        // Looking for the system's roots costs time and fails where there are none.
        return of_roots(RootCertStore::empty());
    }
    if let Some(pem) = pem {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("its ca: {error}"))?;
            roots.add(certificate).map_err(|error| format!("its ca: {error}"))?;
        }
        return of_roots(roots);
    }
    if let Ok(config) = builder(provider())?.with_platform_verifier() {
        return Ok(config.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    of_roots(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Upstream {
        let text = format!("name = \"a\"\nurl = {url:?}");
        Upstream::new(&toml::from_str(&text).unwrap(), Duration::from_secs(1)).unwrap()
    }

    #[tokio::test]
    async fn paths_are_put_behind_the_base() {
        let uri = |url: &str, rest: &str, query| upstream(url).uri(rest, query).unwrap().to_string();
        assert_eq!(uri("http://a", "/v1/models", Some("a=%20")), "http://a/v1/models?a=%20");
        assert_eq!(uri("https://a:8443/api/", "/v1//x", None), "https://a:8443/api/v1//x");
        assert_eq!(uri("https://a/api", "", None), "https://a/api");
        assert_eq!(uri("https://a", "", Some("q")), "https://a/?q");
        assert_eq!(upstream("https://a:8443/api").host(), "a:8443");
    }
}
