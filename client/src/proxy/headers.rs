//! Headers on their way through: what stays behind, and what is for the proxy itself.

use counterfoil_receipt::{PublicKey, statement::Nonce};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The exchange that a response belongs to: 32 hex digits, on every response to the call of a model.
pub const EXCHANGE: HeaderName = HeaderName::from_static("counterfoil-exchange");

/// The promise that a receipt will be in the log: a signed envelope in base64.
pub const PROMISE: HeaderName = HeaderName::from_static("counterfoil-promise");

/// A nonce of the caller's that its receipt will carry: 32 hex digits.
pub const NONCE: HeaderName = HeaderName::from_static("counterfoil-nonce");

/// The caller's own claim key, public half: base64 of its SPKI.
pub const CLAIM: HeaderName = HeaderName::from_static("counterfoil-claim");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The headers of a request as the upstream gets them: without those of this connection (RFC 9110, 7.6.1), those for the
/// proxy, and `Expect`, which the proxy has answered itself; with the upstream's own host.
pub fn to_upstream(headers: &HeaderMap, host: &HeaderValue) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(headers.len() + 1);
    let named = named_by_connection(headers);
    for (name, value) in headers {
        let is_ours = *name == NONCE || *name == CLAIM || *name == header::EXPECT;
        if *name == header::HOST {
            passed.insert(header::HOST, host.clone());
        } else if !is_ours && !is_of_connection(name, &named) {
            passed.append(name.clone(), value.clone());
        }
    }
    if !passed.contains_key(header::HOST) {
        passed.insert(header::HOST, host.clone());
    }
    passed
}

/// The headers of a response as the caller gets them: without those of the upstream's connection, and without those that
/// only the nearest proxy gives.
pub fn to_caller(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(headers.len() + 2);
    let named = named_by_connection(headers);
    for (name, value) in headers {
        if *name != EXCHANGE && *name != PROMISE && !is_of_connection(name, &named) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

/// The protocol that a request or response changes to, if it does.
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let asks = named_by_connection(headers).contains(&header::UPGRADE);
    headers.get(header::UPGRADE).filter(|_| asks)
}

fn is_of_connection(name: &HeaderName, named: &[HeaderName]) -> bool {
    let always = [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    always.contains(name) || named.contains(name)
}

/// The headers that `Connection` names. `Content-Length` frames the message whatever `Connection` says of it.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    names.filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST).collect()
}

/// The credential of a request: the headers that carry one, in one text that no other credential gives. It goes into an HMAC
/// and nowhere else.
pub fn credential(headers: &HeaderMap, names: &[HeaderName]) -> Zeroizing<Vec<u8>> {
    let mut credential = Zeroizing::new(Vec::new());
    for name in names {
        for value in headers.get_all(name) {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                credential.extend_from_slice(&(part.len() as u64).to_be_bytes());
                credential.extend_from_slice(part);
            }
        }
    }
    credential
}

/// What a caller asks of the proxy itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The nonce that its receipt is to carry.
    pub nonce: Option<Nonce>,
    /// The claim key that its receipt is to name.
    pub claim: Option<PublicKey>,
}

impl Wishes {
    /// Reads what a request asks.
    pub fn of(headers: &HeaderMap) -> Result<Self, WishError> {
        Ok(Self { nonce: one(headers, &NONCE)?, claim: one(headers, &CLAIM)? })
    }
}

fn one<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, WishError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let read = first.to_str().ok().and_then(|text| text.parse().ok());
    match (read, second) {
        (Some(read), None) => Ok(Some(read)),
        _ => Err(WishError { name: name.clone() }),
    }
}

/// A header for the proxy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} cannot be read: once, {}",
    if *.name == NONCE { "32 lower-case hex digits" } else { "the base64 of a public key's SPKI" }
)]
pub struct WishError {
    /// The header.
    pub name: HeaderName,
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::SigningKey;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    /// All pass, in order and as often as they came, but for those of the connection.
    #[test]
    fn headers_pass_but_for_those_of_the_connection() {
        let request = headers(&[
            ("x-b", "2"),
            ("host", "proxy.example"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("authorization", "Bearer secret"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept-encoding", "br"),
            ("x-a", "1"),
            ("x-b", "\u{e9}"),
            ("expect", "100-continue"),
            ("counterfoil-nonce", "00"),
            ("keep-alive", "5"),
        ]);
        let passed = to_upstream(&request, &HeaderValue::from_static("up.example:8443"));
        let expected: [(&str, &[u8]); 6] = [
            ("x-b", b"2"),
            ("x-b", "\u{e9}".as_bytes()),
            ("host", b"up.example:8443"),
            ("authorization", b"Bearer secret"),
            ("accept-encoding", b"br"),
            ("x-a", b"1"),
        ];
        assert_eq!(lines(&passed), expected);
        let answered = headers(&[
            ("set-cookie", "a=1"),
            ("connection", "content-length, upgrade"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("counterfoil-exchange", "of another proxy"),
            ("set-cookie", "b=2"),
        ]);
        let expected: [(&str, &[u8]); 3] =
            [("set-cookie", b"a=1"), ("set-cookie", b"b=2"), ("content-length", b"5")];
        assert_eq!(lines(&to_caller(&answered)), expected);
        assert_eq!(upgrade(&answered).unwrap(), "h2c");
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
    }

    /// No two different credentials give the same bytes.
    #[test]
    fn credentials_do_not_run_together() {
        let names = [header::AUTHORIZATION, HeaderName::from_static("x-api-key")];
        let of = |lines: &[(&str, &str)]| credential(&headers(lines), &names).to_vec();
        let different = [
            of(&[]),
            of(&[("authorization", "a")]),
            of(&[("x-api-key", "a")]),
            of(&[("authorization", "a"), ("x-api-key", "a")]),
            of(&[("authorization", "ax-api-keya")]),
            of(&[("authorization", "a"), ("authorization", "a")]),
            of(&[("authorization", "aa")]),
        ];
        for (n, one) in different.iter().enumerate() {
            assert!(different.iter().skip(n + 1).all(|other| other != one));
        }
        assert_eq!(of(&[("x-api-key", "k"), ("x-other", "1")]), of(&[("x-other", "2"), ("x-api-key", "k")]));
    }

    #[test]
    fn wishes_are_read_or_refused() {
        let key = SigningKey::from_ed25519_seed(&[1; 32]).public().clone();
        let digits = "0123456789abcdef0123456789abcdef";
        let read =
            Wishes::of(&headers(&[("counterfoil-nonce", digits), ("counterfoil-claim", key.as_str())]));
        assert_eq!(read, Ok(Wishes { nonce: digits.parse().ok(), claim: Some(key) }));
        assert_eq!(Wishes::of(&headers(&[("x", "y")])), Ok(Wishes::default()));
        for (name, value) in
            [("counterfoil-nonce", "xyz"), ("counterfoil-nonce", ""), ("counterfoil-claim", digits)]
        {
            let refused = Wishes::of(&headers(&[(name, value)])).unwrap_err();
            assert!(refused.to_string().starts_with(name), "{refused}");
        }
        assert!(
            Wishes::of(&headers(&[("counterfoil-nonce", digits), ("counterfoil-nonce", digits)])).is_err()
        );
    }
}
