//! Running a request again: over HTTP, or by a program.

use std::{
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use counterfoil_receipt::statement::receipt::{Api, Protocol};
use reqwest::{
    Client, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::Answered;
use crate::{
    outbound::{chain, trusting},
    program::{self, AnswerError},
    proxy::decode::Decoder,
};

/// The longest answer that is taken, content encoding undone.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The version of Anthropic's interface that is asked for.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Who runs a request again.
#[derive(Debug)]
pub enum Runner {
    /// A service.
    Endpoint(Endpoint),
    /// A program: the request goes to its standard input, its standard output is the answer's body.
    Program {
        /// The program.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

/// A service that speaks the protocol of the receipt.
#[derive(Debug)]
pub struct Endpoint {
    base: Url,
    path: Option<String>,
    key: Option<Zeroizing<String>>,
    client: Client,
}

impl Endpoint {
    /// The service at a URL. Requests go to the path of the receipt below it; a `/v1` that both have counts once. `path` is asked
    /// instead, if given. `key` is the caller's credential.
    ///
    /// # Errors
    /// What keeps the address from being used.
    pub fn new(url: &str, path: Option<String>, key: Option<Zeroizing<String>>) -> Result<Self, AskError> {
        let address = |reason: &str| AskError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let base = Url::parse(url).map_err(|error| address(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(address("it is no http or https URL"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(address("it has a query or a fragment"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(address(
                "it has a user's name or password in it, which belong into a file or variable",
            ));
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
        };
        let client = trusting(builder, base.scheme(), None).map_err(|error| address(&chain(&error)))?;
        Ok(Self { base, path, key, client })
    }

    /// Where a request to this interface goes.
    fn url(&self, api: &Api) -> Url {
        let base = self.base.path().trim_end_matches('/');
        let rest = self.path.as_deref().unwrap_or(&api.path);
        let rest = if base.ends_with("/v1") { rest.strip_prefix("/v1").unwrap_or(rest) } else { rest };
        let mut url = self.base.clone();
        url.set_path(&format!("{base}/{}", rest.trim_start_matches('/')));
        url
    }

    fn headers(&self, api: &Api) -> Result<HeaderMap, AskError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let is_anthropic = api.protocol == Protocol::AnthropicMessages;
        if is_anthropic {
            let name = HeaderName::from_static("anthropic-version");
            headers.insert(name, HeaderValue::from_static(ANTHROPIC_VERSION));
        }
        if let Some(key) = &self.key {
            let (name, start) = if is_anthropic { ("x-api-key", "") } else { ("authorization", "Bearer ") };
            let value = Zeroizing::new(format!("{start}{}", **key));
            let mut value = HeaderValue::from_str(&value).map_err(|_| AskError::Key)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    async fn ask(&self, api: &Api, request: Vec<u8>) -> Result<Answered, AskError> {
        let url = self.url(api);
        let sent = self.client.post(url).headers(self.headers(api)?).body(request).send().await;
        let response = sent.map_err(silent)?;
        let status = response.status().as_u16();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = body(response).await?;
        Ok(Answered { status, content_type, body })
    }
}

/// The body of a response, content encoding undone.
async fn body(mut response: Response) -> Result<Vec<u8>, AskError> {
    let mut decoder = Decoder::of(response.headers()).ok_or(AskError::Encoding)?;
    let (mut body, mut is_too_long) = (Vec::new(), false);
    while let Some(piece) = response.chunk().await.map_err(silent)? {
        let decoded = decoder.push(&piece, &mut |bytes| {
            is_too_long |= body.len() + bytes.len() > ANSWER_BYTES_MAX;
            if !is_too_long {
                body.extend_from_slice(bytes);
            }
        });
        decoded.map_err(|_| AskError::Encoding)?;
        if is_too_long {
            return Err(AskError::TooLong);
        }
    }
    Ok(body)
}

/// Why nothing came, without the address, which is named beside it.
fn silent(error: reqwest::Error) -> AskError {
    AskError::Silent { reason: chain(&error.without_url()) }
}

impl Runner {
    /// Runs a request of an interface again, and gives what comes back, whatever its status.
    ///
    /// # Errors
    /// [`AskError`], where nothing came back that could be looked at, or not within `patience`.
    pub async fn ask(&self, api: &Api, request: Vec<u8>, patience: Duration) -> Result<Answered, AskError> {
        match self {
            Self::Endpoint(endpoint) => {
                let asked = tokio::time::timeout(patience, endpoint.ask(api, request)).await;
                asked.unwrap_or(Err(AskError::Slow { patience }))
            }
            Self::Program { program, arguments } => {
                let mut command = Command::new(program);
                command
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .process_group(0)
                    .kill_on_drop(true);
                let answered = program::answer(command, &request, ANSWER_BYTES_MAX, patience).await;
                let body = answered.map_err(|error| match error {
                    AnswerError::Start(source) => AskError::Start { source },
                    AnswerError::Ended(status) => AskError::Ended { status },
                    AnswerError::Slow => AskError::Slow { patience },
                    AnswerError::TooLong => AskError::TooLong,
                })?;
                Ok(Answered { status: 200, content_type: None, body })
            }
        }
    }

    /// Who would be asked about this interface, for people.
    pub fn named(&self, api: &Api) -> String {
        match self {
            Self::Endpoint(endpoint) => endpoint.url(api).to_string(),
            Self::Program { program, .. } => program.to_string_lossy().into_owned(),
        }
    }
}

/// Why nothing came back that could be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The address cannot be used.
    #[error("{url} cannot be asked: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credential cannot stand in a header.
    #[error("the credential has a character that no header can have")]
    Key,
    /// No answer, or half of one.
    #[error("it gives no answer: {reason}")]
    Silent {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("it gives no whole answer within {patience:?}")]
    Slow {
        /// How long was waited.
        patience: Duration,
    },
    /// The answer is too long.
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The answer's content encoding is not known, or not kept.
    #[error("its answer is in a content encoding that cannot be undone")]
    Encoding,
    /// The program cannot be started, or spoken with.
    #[error("it cannot be run")]
    Start {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program failed.
    #[error("it ended with {status}")]
    Ended {
        /// How.
        status: ExitStatus,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(protocol: Protocol, path: &str) -> Api {
        Api { protocol, path: path.to_owned(), stream: false }
    }

    #[test]
    fn requests_go_to_the_path_of_the_receipt() {
        let embeddings = api(Protocol::OpenaiEmbeddings, "/v1/embeddings");
        for (base, path, due) in [
            ("http://a", None, "http://a/v1/embeddings"),
            ("http://a/", None, "http://a/v1/embeddings"),
            ("https://a/v1", None, "https://a/v1/embeddings"),
            ("https://a:8443/api/v1/", None, "https://a:8443/api/v1/embeddings"),
            ("http://a/api", None, "http://a/api/v1/embeddings"),
            ("http://a/api", Some("/embed"), "http://a/api/embed"),
            ("http://a", Some("/v2/@x?y"), "http://a/v2/@x%3Fy"),
        ] {
            let endpoint = Endpoint::new(base, path.map(str::to_owned), None).unwrap();
            assert_eq!(endpoint.url(&embeddings).as_str(), due);
        }
        // No path of a receipt leads to another host.
        let astray = api(Protocol::OpenaiEmbeddings, "//evil/../@evil/embeddings");
        let url = Endpoint::new("http://a/v1", None, None).unwrap().url(&astray);
        assert_eq!(url.host_str(), Some("a"));
        for bad in ["", "a", "ftp://a", "http://", "http://a?q", "http://a#f", "http://me:secret@a"] {
            let refused = Endpoint::new(bad, None, None);
            assert!(matches!(refused, Err(AskError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn credentials_go_where_each_protocol_wants_them() {
        let key = || Some(Zeroizing::new("secret".to_owned()));
        let headers =
            |protocol, key| Endpoint::new("http://a", None, key).unwrap().headers(&api(protocol, "/"));
        let openai = headers(Protocol::OpenaiChat, key()).unwrap();
        assert_eq!(openai["authorization"], "Bearer secret");
        let anthropic = headers(Protocol::AnthropicMessages, key()).unwrap();
        assert_eq!(
            (&anthropic["x-api-key"], anthropic.get("authorization")),
            (&"secret".parse().unwrap(), None)
        );
        assert!(headers(Protocol::OpenaiChat, None).unwrap().get("authorization").is_none());
        let broken = headers(Protocol::OpenaiChat, Some(Zeroizing::new("a\nb".to_owned())));
        assert!(matches!(broken, Err(AskError::Key)));
        assert!(!format!("{openai:?}").contains("secret"), "nothing that prints headers tells it");
    }

    async fn run(script: &str, patience_ms: u64) -> Result<Answered, AskError> {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        let runner = Runner::Program { program: "sh".into(), arguments };
        let api = api(Protocol::OpenaiEmbeddings, "/v1/embeddings");
        runner.ask(&api, vec![b'x'; 1_000_000], Duration::from_millis(patience_ms)).await
    }

    /// A program's output is the answer, however much of the request it reads; one that fails or lingers gives none.
    #[tokio::test]
    async fn programs_answer_on_standard_output() {
        let echoed = run("cat", 60_000).await.unwrap();
        assert_eq!((echoed.status, echoed.body.len()), (200, 1_000_000));
        assert_eq!(run("echo yes", 60_000).await.unwrap().body, b"yes\n", "it need not read");
        let failed = run("cat > /dev/null; exit 3", 60_000).await;
        assert!(matches!(failed, Err(AskError::Ended { .. })), "{failed:?}");
        let slow = run("sleep 1000", 100).await;
        assert!(matches!(slow, Err(AskError::Slow { .. })), "{slow:?}");
        let endless = run("exec cat /dev/zero", 60_000).await;
        assert!(matches!(endless, Err(AskError::TooLong)), "{endless:?}");
        let none = Runner::Program { program: "/no/such/program".into(), arguments: Vec::new() };
        let none = none.ask(&api(Protocol::OpenaiChat, "/"), Vec::new(), Duration::from_secs(1)).await;
        assert!(matches!(none, Err(AskError::Start { .. })), "{none:?}");
    }
}
