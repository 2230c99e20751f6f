//! An address that messages are posted to, signed as Standard Webhooks 1.0.0 says: HMAC-SHA256 over id, time and body.

use std::{fmt, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use counterfoil_receipt::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url, header};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Message, TellError};
use crate::{
    file::{self, FileError},
    outbound::{Guarded, chain},
};

const SECRET_BYTES_MAX: usize = 4096;

/// Lengths of a secret, as Standard Webhooks has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A secret that is shared with the receiver.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Reads a secret: `whsec_` and the base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = text.trim().strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let bytes = bytes.map(Zeroizing::new).filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
        bytes.map(Self).ok_or("a secret is whsec_ and the base64 of 24 to 64 bytes")
    }

    /// Reads a secret from a file that its owner alone can read.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: FileError| format!("{error}: {}", error.source);
        let text = file::read_secret(path, SECRET_BYTES_MAX).map_err(failed)?;
        Self::parse(&text).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, time_s: u64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        [id, ".", &time_s.to_string(), ".", body].iter().for_each(|part| mac.update(part.as_bytes()));
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is needed to post somewhere.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: Url,
    secret: Secret,
    client: Client,
    now: fn() -> Timestamp,
}

impl Webhook {
    /// A webhook at an address.
    ///
    /// # Errors
    /// What keeps the address from being used.
    pub fn new(url: &str, secret: Secret, guarded: &Guarded, now: fn() -> Timestamp) -> Result<Self, String> {
        let url: Url = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let client = guarded.client(&url).map_err(|reason| format!("{url}: {reason}"))?;
        Ok(Self { url, secret, client, now })
    }

    pub(super) async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let time_s = (self.now)().seconds();
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", time_s)
            .header("webhook-signature", self.secret.sign(&message.id, time_s, &message.json))
            .body(message.json.clone());
        // The body of an answer says nothing that is needed, and is not read.
        let answer = request.send().await.map_err(|error| TellError::passing(chain(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let asked =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(TellError {
            reason: format!("{} answers {status}", self.url),
            retry_after: asked.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            refused: status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::Reachable;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The vector of the reference libraries of Standard Webhooks and Svix (`TestWebhookSign`).
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = Secret::parse(SECRET).unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn secrets_have_a_form() {
        let short = BASE64_STANDARD.encode([7; 23]);
        let long = BASE64_STANDARD.encode([7; 65]);
        for bad in
            ["", "whsec_", "whsec_%", &SECRET[6..], &format!("whsec_{short}"), &format!("whsec_{long}")]
        {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        file::create(&path, format!("{SECRET}\n").as_bytes(), file::Access::Secret).unwrap();
        assert!(Secret::read(&path).is_ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(Secret::read(&path).unwrap_err().contains("chmod 600"));
        }
        assert!(Secret::read(&folder.path().join("none")).unwrap_err().contains("none"));
    }

    /// Addresses of this machine and its network are refused in every spelling, and so is doing without TLS.
    #[test]
    fn addresses_are_guarded() {
        let secret = || Secret::parse(SECRET).unwrap();
        let now = || Timestamp::from_millis(0).unwrap();
        let refused = |url: &str, guarded: &Guarded| Webhook::new(url, secret(), guarded, now).unwrap_err();
        let open = Guarded { http: true, ..Guarded::default() };
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "https://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://0.0.0.0/",
            "http://[fd00::1]:80/",
            "http://①②⑦.0.0.1/",
        ] {
            let reason = refused(url, &open);
            assert!(reason.contains("not allowed"), "{url}: {reason}");
        }
        for (url, why) in [
            ("http://hooks.example/", "needs https"),
            ("ftp://hooks.example/", "not https"),
            ("file:///etc/passwd", "not https"),
            ("https://u:p@hooks.example/", "password"),
            ("hooks", "relative"),
        ] {
            let reason = refused(url, &Guarded::default());
            assert!(reason.contains(why), "{url}: {reason}");
        }
        let networks = ["127.0.0.0/8".parse().unwrap()];
        let allowed = Guarded { http: true, reachable: Reachable::new(&networks), ..Guarded::default() };
        assert!(Webhook::new("http://127.0.0.1:1/", secret(), &allowed, now).is_ok());
        assert!(Webhook::new("http://hooks.example/", secret(), &open, now).is_ok());
    }
}
