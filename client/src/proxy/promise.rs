//! Promises: signed before an answer's first byte, so that a receipt that never comes can be complained about.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{
    PublicKey, SigningKey, Statement, Timestamp,
    statement::{Frame, Issuer, Nonce, Origin, Predicate, Promise, SignError, Subject},
};
use hyper::header::HeaderValue;

/// What is promised, and the key that signs it.
#[derive(Debug)]
pub struct Promises {
    /// The log that receipts will be in.
    pub log: Origin,
    /// Who issues them.
    pub issuer: Issuer,
    /// The issuer's key.
    pub key: SigningKey,
    /// Within how many milliseconds.
    pub within_ms: u64,
}

impl Promises {
    /// The promise of a receipt that names `claim`, as it stands in the header: its envelope in base64.
    pub fn make(&self, claim: PublicKey, nonce: [u8; 16], now: Timestamp) -> Result<HeaderValue, SignError> {
        let by = Timestamp::from_millis(now.millis().saturating_add(self.within_ms)).unwrap_or(now);
        let statement = Statement {
            subject: Subject::Log,
            frame: Frame {
                nonce: Nonce::new(nonce),
                log: self.log.clone(),
                issuer: self.issuer.clone(),
                numbering: None,
            },
            predicate: Predicate::Promise(Promise { claim, by }),
        };
        let envelope = statement.sign(&self.key)?.envelope().to_json();
        let value = HeaderValue::from_str(&BASE64.encode(envelope));
        Ok(value.expect("base64 is fit for a header"))
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::Envelope;

    use super::*;

    #[test]
    fn a_promise_is_what_the_formats_say() {
        let key = SigningKey::from_ed25519_seed(&[1; 32]);
        let claim = SigningKey::from_ed25519_seed(&[2; 32]).public().clone();
        let promises = Promises {
            log: "log.example".parse().unwrap(),
            issuer: Issuer { key: key.public().clone(), software: None },
            key,
            within_ms: 5_000,
        };
        let at = Timestamp::from_millis(1_000).unwrap();
        let value = promises.make(claim.clone(), [3; 16], at).unwrap();
        let envelope = Envelope::parse(&BASE64.decode(value.as_bytes()).unwrap()).unwrap().verify().unwrap();
        let Predicate::Promise(promise) = Statement::parse(&envelope).unwrap().predicate else { panic!() };
        assert_eq!((promise.claim, promise.by.millis()), (claim, 6_000));
    }
}
