//! A log's files and interfaces over HTTP.

use std::{fmt, net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Certificate, Method, Url,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};

use super::{Resource, SourceError};
use crate::outbound::trusting;

/// The longest wait between two attempts.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// How to talk to servers.
#[derive(Clone, Debug)]
pub struct Connection {
    /// PEM of the certificates to trust for `https`, in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The token that every request shows: what [`bearer`] makes. It is sent over `https`, or to this machine.
    pub token: Option<HeaderValue>,
    /// How often a read is tried again after no answer, 429 or 5xx.
    pub retries: u32,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the next byte of an answer.
    pub read_timeout: Duration,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            authorities: None,
            token: None,
            retries: 0,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// How a token is shown; never printed. `None` if no header can have it.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let allowed = |c: char| c.is_ascii_graphic();
    if token.is_empty() || !token.chars().all(allowed) {
        return None;
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A server's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// The interfaces of one server, below one URL.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: reqwest::Client,
    retries: u32,
}

impl Api {
    /// The server at an `http` or `https` URL.
    ///
    /// Redirects are not followed: whoever moves a log says so where its key is.
    pub fn new(url: &str, connection: &Connection) -> Result<Self, SourceError> {
        let address = || SourceError::Address { location: url.to_owned() };
        let parsed = Url::parse(url).map_err(|_| address())?;
        if !parsed.has_host() || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(address());
        }
        let scheme = parsed.scheme();
        let authorities = connection.authorities.as_deref();
        if scheme == "http" && connection.token.is_some() && !is_this_machine(&parsed) {
            return Err(SourceError::Token { location: url.to_owned() });
        }
        match scheme {
            "http" => {}
            "https" => {
                authorities
                    .map(Certificate::from_pem_bundle)
                    .transpose()
                    .map_err(SourceError::Certificates)?;
            }
            _ => return Err(address()),
        }
        let builder = || builder(connection).https_only(scheme == "https");
        let client = trusting(builder, scheme, authorities).map_err(SourceError::Connection)?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), client, retries: connection.retries })
    }

    /// Reads a file; `None` if there is none.
    pub(super) async fn fetch(&self, resource: Resource) -> Result<Option<Bytes>, SourceError> {
        self.find(&resource.to_string(), resource.bytes_max()).await
    }

    /// The body at a path; `None` for 404 and 410. Tries again as the connection says.
    pub async fn find(&self, path: &str, bytes_max: usize) -> Result<Option<Bytes>, SourceError> {
        let reply = self.get(path, bytes_max).await?;
        match reply.status {
            200 => Ok(Some(reply.body)),
            404 | 410 => Ok(None),
            status => Err(SourceError::Status { address: self.address(path), status }),
        }
    }

    /// Whatever the server answers for a path, save 429 and 5xx while there are attempts left.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Reply, SourceError> {
        let mut attempt = 0;
        loop {
            let sent = self.send(self.client.get(self.address(path)), path, bytes_max).await;
            let (again, wait) = match &sent {
                Ok(reply) => (matches!(reply.status, 429 | 500..), reply.retry_after),
                Err(error) => (error.is_temporary(), None),
            };
            if !again || attempt == self.retries {
                return sent;
            }
            tokio::time::sleep(back_off(attempt, wait)).await;
            attempt += 1;
        }
    }

    /// Sends a body, once.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Reply, SourceError> {
        let request = self.client.request(Method::POST, self.address(path));
        let request = request.header(header::CONTENT_TYPE, content_type).body(body);
        self.send(request, path, bytes_max).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        path: &str,
        bytes_max: usize,
    ) -> Result<Reply, SourceError> {
        let transport = |source| SourceError::Transport { address: self.address(path), source };
        let mut response = request.send().await.map_err(transport)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(SourceError::TooLarge { address: self.address(path), bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, retry_after: retry_after.map(Duration::from_secs), body: body.freeze() })
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// How long to wait after that many attempts: what the server asks for, or 0.2 s, doubled each time; never above 30 s.
pub(crate) fn back_off(attempt: u32, asked: Option<Duration>) -> Duration {
    let own = Duration::from_millis(200).saturating_mul(2_u32.saturating_pow(attempt));
    asked.unwrap_or(own).min(BACK_OFF_MAX)
}

/// Whether an address leaves the machine on no wire.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn builder(connection: &Connection) -> reqwest::ClientBuilder {
    let token = connection.token.iter().map(|token| (header::AUTHORIZATION, token.clone()));
    reqwest::Client::builder()
        .default_headers(token.collect::<HeaderMap>())
        .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(connection.connect_timeout)
        .read_timeout(connection.read_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients are made with and without certificates on the machine; other addresses are refused.
    #[test]
    fn addresses_are_http_or_https() {
        for url in ["http://127.0.0.1:1", "https://log.example/2026/"] {
            let api = Api::new(url, &Connection::default()).unwrap();
            assert_eq!(api.address("checkpoint"), format!("{}/checkpoint", url.trim_end_matches('/')));
        }
        for url in ["", "log.example", "ftp://log.example", "http://", "http://a/?q", "http://a/#f"] {
            assert!(
                matches!(Api::new(url, &Connection::default()), Err(SourceError::Address { .. })),
                "{url}"
            );
        }
        let none = Connection { authorities: Some(Vec::new()), ..Connection::default() };
        assert!(Api::new("https://log.example", &none).is_ok(), "which trusts nobody");
    }

    /// A token is neither sent in the clear nor printed.
    #[test]
    fn tokens_are_kept_secret() {
        let token = bearer("secret-token");
        assert!(token.is_some());
        let connection = Connection { token, ..Connection::default() };
        assert!(!format!("{connection:?}").contains("secret"), "{connection:?}");
        for url in ["https://log.example", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            let api = Api::new(url, &connection).unwrap();
            assert!(!format!("{api:?}").contains("secret"), "{api:?}");
        }
        for url in
            ["http://log.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example"]
        {
            assert!(matches!(Api::new(url, &connection), Err(SourceError::Token { .. })), "{url}");
        }
        for bad in ["", "two words", "a\nb", "ä"] {
            assert!(bearer(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = (0..4).map(|attempt| back_off(attempt, None).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600]);
        assert_eq!(back_off(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(back_off(0, Some(Duration::MAX)), BACK_OFF_MAX);
        assert_eq!(back_off(u32::MAX, None), BACK_OFF_MAX);
    }
}
