//! Where attacks get their material: issuers of every standing, and receipts that are good but for one thing.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{SigningKey, Timestamp, VerifiedEnvelope, statement::Role};
use counterfoil_tests::{Deployment, Issuing};
use serde_json::Value;

use super::dice::Dice;

/// One worker's issuers. Their keys follow from the worker's number.
pub(super) struct Forge {
    pub(super) dice: Dice,
    pub(super) origin: String,
    good: Issuing,
    expired: Issuing,
    future: Issuing,
    arbiter: Issuing,
    p256: SigningKey,
}

impl Forge {
    pub(super) fn new(origin: &str, seed: u64) -> Self {
        let issuing = |standing: u64| Issuing::new(origin, seed * 100 + standing);
        let dice = Dice::new(seed);
        Self {
            origin: origin.to_owned(),
            good: issuing(1),
            expired: issuing(2),
            future: issuing(3),
            arbiter: issuing(4),
            p256: SigningKey::from_p256_scalar(&Dice::new(seed + 1_000_000).bytes()).unwrap(),
            dice,
        }
    }

    /// Has them registered, each in its own standing.
    pub(super) fn register(&self, log: &Deployment, worker: usize) {
        let (past, future) = (Timestamp::from_millis(1), Timestamp::from_millis(32_472_144_000_000));
        let keys: [(&str, &SigningKey, &[Role], _, _); 5] = [
            ("good", self.good.key(), &[Role::Issuer], None, None),
            ("p256", &self.p256, &[Role::Issuer, Role::Disputant], past, None),
            ("expired", self.expired.key(), &[Role::Issuer], None, past),
            ("future", self.future.key(), &[Role::Issuer], future, None),
            ("arbiter", self.arbiter.key(), &[Role::Arbiter, Role::Verifier], None, None),
        ];
        for (name, key, roles, not_before, not_after) in keys {
            log.register_for(key, &format!("{name} {worker}"), roles, not_before, not_after);
        }
    }

    /// A small good envelope.
    pub(super) fn good(&mut self) -> String {
        self.good.issue().1
    }

    /// An envelope that is good but for who signed it.
    pub(super) fn by_nobody(&mut self) -> String {
        match self.dice.below(4) {
            0 => self.expired.issue().1,
            1 => self.future.issue().1,
            2 => self.arbiter.issue().1,
            _ => {
                let seed = self.dice.below(1 << 30) as u64 + 1_000_000;
                Issuing::new(&self.origin, seed).issue().1
            }
        }
    }

    /// A good statement with many groups, never the same twice, and the key that it names.
    pub(super) fn statement(&mut self) -> (Value, SigningKey) {
        let (_, envelope) = self.good.issue();
        let mut statement: Value = serde_json::from_slice(&payload(&envelope)).unwrap();
        let key = if self.dice.below(3) == 0 { &self.p256 } else { self.good.key() };
        let (spki, hex) = (key.public().as_str(), "5a".repeat(32));
        let key = key.clone();
        let groups = serde_json::json!({
            "claim": spki, "usage": {"sealed": hex}, "lengths": {"request": 10, "response": 20},
            "parameters": {"temperature": "0.7"}, "attempts": [{"upstream": "a", "status": 200}],
            "parts": {"count": 2, "root": hex}, "finish": {"status": 200, "reasons": ["stop"]},
            "content": {"text": hex}, "accountable": {"key": spki, "respond_within": 86400},
            "hints": {"deterministic": false},
        });
        statement["predicate"]["issuer"]["key"] = spki.into();
        let predicate = statement["predicate"].as_object_mut().unwrap();
        predicate.extend(groups.as_object().unwrap().clone());
        (statement, key)
    }

    /// Another registered issuer's key.
    pub(super) fn other_key(&self, key: &SigningKey) -> &SigningKey {
        let is_p256 = key.public() == self.p256.public();
        if is_p256 { self.good.key() } else { &self.p256 }
    }
}

/// The statement of an envelope.
pub(super) fn payload(envelope: &str) -> Vec<u8> {
    let envelope: Value = serde_json::from_str(envelope).unwrap();
    BASE64.decode(envelope["payload"].as_str().unwrap()).unwrap()
}

/// Any bytes, correctly signed.
pub(super) fn signed(statement: &[u8], key: &SigningKey) -> String {
    VerifiedEnvelope::sign(statement.to_vec(), key).unwrap().into_envelope().to_json()
}

/// The parts of an envelope, each as the JSON text of its value.
pub(super) struct Parts(pub(super) [String; 4]);

/// The names of the parts.
pub(super) const PARTS: [&str; 4] = ["payload", "payloadType", "keyid", "sig"];

impl Parts {
    pub(super) fn of(envelope: &str) -> Self {
        let envelope: Value = serde_json::from_str(envelope).unwrap();
        let signature = &envelope["signatures"][0];
        let parts = [&envelope["payload"], &envelope["payloadType"], &signature["keyid"], &signature["sig"]];
        Self(parts.map(Value::to_string))
    }

    /// Prints them again, each member as `print` says.
    pub(super) fn print(&self, print: impl Fn(usize, &str, &str) -> String) -> String {
        let [payload, kind, key, sig] = [0, 1, 2, 3].map(|part| print(part, PARTS[part], &self.0[part]));
        let list = |members: &[String]| {
            members.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join(",")
        };
        let signatures = format!("\"signatures\":[{{{}}}]", list(&[key, sig]));
        format!("{{{}}}", list(&[payload, kind, signatures]))
    }
}

/// A member as it is.
pub(super) fn plain(name: &str, raw: &str) -> String {
    format!("\"{name}\":{raw}")
}

/// The pointers of all members of a value, at any depth.
pub(super) fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let at = format!("{at}/{name}");
                pointers(value, &at, out);
                out.push(at);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{n}"), out);
            }
        }
        _ => {}
    }
}

/// Prints a value with one member as `edit` says: text that need not be JSON that anybody could hold.
pub(super) fn edited(value: &Value, target: &str, edit: &dyn Fn(&str, &str) -> String) -> String {
    fn print(value: &Value, at: &str, target: &str, edit: &dyn Fn(&str, &str) -> String) -> String {
        match value {
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| {
                    let at = format!("{at}/{name}");
                    let raw = print(value, &at, target, edit);
                    if at == target { edit(name, &raw) } else { plain(name, &raw) }
                });
                format!("{{{}}}", members.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(n, item)| print(item, &format!("{at}/{n}"), target, edit));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }
    print(value, "", target, edit)
}
