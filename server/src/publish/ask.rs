//! One request to one witness: bounded in time and bytes, nothing believed.

use std::time::Duration;

use counterfoil_merkle::{
    checkpoint::Origin,
    note::NOTE_BYTES_MAX,
    witness::{ADD_CHECKPOINT, ANSWER_BYTES_MAX, Answer, checkpoint_path},
};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, header, redirect};

use super::{
    panel::{Endpoint, Panel},
    witness::{Failure, Reply},
};

/// How witnesses are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The longest that a whole exchange may take.
    pub timeout: Duration,
    /// PEM of the certificates to trust for `https` in place of the system's.
    pub authorities: Option<Vec<u8>>,
}

impl Reach {
    /// A client for each witness, by its name.
    pub fn askers(&self, panel: &Panel) -> Result<Vec<(String, Asker)>, AskerError> {
        panel.witnesses.iter().map(|witness| Ok((witness.name.clone(), Asker::new(witness, self)?))).collect()
    }
}

/// How to reach one witness. Its connection is kept.
#[derive(Clone, Debug)]
pub struct Asker {
    submission: String,
    monitoring: String,
    client: Client,
}

impl Asker {
    fn new(witness: &Endpoint, reach: &Reach) -> Result<Self, AskerError> {
        let mut secure = false;
        for url in [&witness.submission, &witness.monitoring] {
            let address = || AskerError::Address { witness: witness.name.clone(), url: url.clone() };
            let parsed = reqwest::Url::parse(url).map_err(|_| address())?;
            let plain = parsed.query().is_none() && parsed.fragment().is_none();
            if !plain || !parsed.has_host() || !matches!(parsed.scheme(), "http" | "https") {
                return Err(address());
            }
            secure |= parsed.scheme() == "https";
        }
        let client = client(secure, reach).map_err(AskerError::Client)?;
        let (submission, monitoring) = (witness.submission.clone(), witness.monitoring.clone());
        Ok(Self { submission, monitoring, client })
    }

    /// Sends a body to `add-checkpoint`.
    pub async fn cosign(&self, body: String) -> Reply {
        let request = self.client.post(format!("{}/{ADD_CHECKPOINT}", self.submission)).body(body);
        match fetch(request, ANSWER_BYTES_MAX).await {
            Ok(response) => {
                match Answer::parse(response.status, response.media_type.as_deref(), &response.body) {
                    Ok(answer) => Reply::Answer(answer, response.retry_after),
                    Err(_) => Reply::Nothing(Failure::Malformed),
                }
            }
            Err(failure) => Reply::Nothing(failure),
        }
    }

    /// Asks for the newest checkpoint of a log that the witness cosigned; `None` if there is none.
    pub async fn show(&self, origin: &Origin) -> Result<Option<String>, Failure> {
        let request = self.client.get(format!("{}/{}", self.monitoring, checkpoint_path(origin.as_str())));
        let response = fetch(request, NOTE_BYTES_MAX).await?;
        match response.status {
            200 => Ok(Some(response.body)),
            404 => Ok(None),
            429 | 500.. => Err(Failure::Unavailable),
            _ => Err(Failure::Refused),
        }
    }
}

struct Response {
    status: u16,
    media_type: Option<String>,
    retry_after: Option<Duration>,
    body: String,
}

async fn fetch(request: RequestBuilder, bytes_max: usize) -> Result<Response, Failure> {
    let failed = |error: reqwest::Error| {
        if error.is_timeout() { Failure::Timeout } else { Failure::Unreachable }
    };
    let mut response = request.send().await.map_err(failed)?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = text(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let (status, media_type) = (response.status().as_u16(), text(header::CONTENT_TYPE));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Failure::Malformed);
        }
        body.extend_from_slice(&chunk);
    }
    // What a refusal says beyond its status does not matter, so it need not be text.
    let body = match String::from_utf8(body) {
        Ok(body) => body,
        Err(_) if status != 200 => String::new(),
        Err(_) => return Err(Failure::Malformed),
    };
    Ok(Response { status, media_type, retry_after, body })
}

/// A client that follows no redirects: whoever moves a witness says so in the policy, and a mirror is what was named.
pub(crate) fn client(secure: bool, reach: &Reach) -> reqwest::Result<Client> {
    let builder = || -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("counterfoil-server/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .timeout(reach.timeout)
    };
    if !secure {
        // Without roots, which nothing here needs; looking for the system's fails where there are none.
        return builder().tls_certs_only([]).build();
    }
    match &reach.authorities {
        Some(pem) => builder().tls_certs_only(Certificate::from_pem_bundle(pem)?).build(),
        None => builder().build().or_else(|_| {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
            let roots = roots.iter().filter_map(|der| Certificate::from_der(der).ok());
            builder().tls_certs_only(roots).build()
        }),
    }
}

/// Why a witness cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskerError {
    /// Not an address.
    #[error("witness {witness}: {url} is not an http or https URL without query and fragment")]
    Address {
        /// Which witness.
        witness: String,
        /// What is given as its address.
        url: String,
    },
    /// The certificates cannot be read, or TLS cannot be had.
    #[error("the client for witnesses cannot be made: {0}")]
    Client(reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients are made with and without certificates on the machine; other addresses are refused, by the witness' name.
    #[test]
    fn witnesses_are_at_http_or_https() {
        let asker = |submission: &str, authorities: Option<&str>| {
            let witness = Endpoint {
                name: "w1".to_owned(),
                submission: submission.to_owned(),
                monitoring: "https://m.example".to_owned(),
                keys: Vec::new(),
            };
            let authorities = authorities.map(|pem| pem.as_bytes().to_vec());
            Asker::new(&witness, &Reach { timeout: Duration::from_secs(1), authorities })
        };
        for url in ["http://127.0.0.1:1", "https://w.example/prefix"] {
            assert!(asker(url, None).is_ok() && asker(url, Some("")).is_ok(), "{url}");
        }
        for url in ["", "w.example", "ftp://w.example", "http://", "http://a/?q", "http://a/#f"] {
            let refused = asker(url, None).unwrap_err().to_string();
            assert!(refused.starts_with("witness w1: "), "{refused}");
        }
        assert!(matches!(
            asker("http://a", Some("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")),
            Err(AskerError::Client(_))
        ));
    }
}
