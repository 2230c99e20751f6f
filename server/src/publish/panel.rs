//! The witnesses that a policy names, and where each of them is asked.

use std::collections::BTreeMap;

use counterfoil_merkle::{
    key::VerifierKey,
    note::SIGNATURES_MAX,
    policy::{Listed, Policy},
};

use super::Identity;

/// The most witnesses' keys: with the log's and its clock's lines all fit into one note.
const KEYS_MAX: usize = SIGNATURES_MAX - 2;

/// The witnesses of a log, and which of them it takes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What a checkpoint needs to be published.
    pub policy: Policy,
    /// Whom to ask.
    pub witnesses: Vec<Endpoint>,
}

/// One witness, or several behind one URL, which are asked at once.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name in the policy; that of the first if there are several.
    pub name: String,
    /// Its submission prefix, without the slash at the end.
    pub submission: String,
    /// Its monitoring prefix, without the slash at the end.
    pub monitoring: String,
    /// The keys that it signs with.
    pub keys: Vec<VerifierKey>,
}

impl Panel {
    /// The witnesses of a log by its policy; `None` if it names none that could be asked and needs none.
    ///
    /// `monitoring` has monitoring prefixes by names in the policy, where they are not the submission prefix.
    pub fn new(
        policy: Policy,
        log: &Identity,
        monitoring: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, PanelError> {
        if !policy.logs().iter().any(|listed| listed.key == log.log) {
            return Err(PanelError::OtherLog { key: log.log.to_string() });
        }
        let asked = |listed: &Listed| {
            let own = listed.key == log.clock || listed.key.name() == log.clock.name();
            listed.url.as_deref().filter(|_| !own).map(|url| url.trim_end_matches('/').to_owned())
        };
        if !policy.is_met_by(|_, listed| asked(listed).is_some()) {
            return Err(PanelError::OutOfReach);
        }
        if let Some(name) = monitoring.keys().find(|name| policy.witnesses().all(|(known, _)| known != *name))
        {
            return Err(PanelError::Unknown { name: name.clone() });
        }
        let mut witnesses: Vec<Endpoint> = Vec::new();
        for (name, listed) in policy.witnesses() {
            let Some(submission) = asked(listed) else { continue };
            match witnesses.iter_mut().find(|other| other.submission == submission) {
                Some(shared) => shared.keys.push(listed.key.clone()),
                None => witnesses.push(Endpoint {
                    name: name.to_owned(),
                    monitoring: monitoring
                        .get(name)
                        .map_or_else(|| submission.clone(), |url| url.trim_end_matches('/').to_owned()),
                    submission,
                    keys: vec![listed.key.clone()],
                }),
            }
        }
        if witnesses.iter().map(|witness| witness.keys.len()).sum::<usize>() > KEYS_MAX {
            return Err(PanelError::TooMany);
        }
        Ok((!witnesses.is_empty()).then_some(Self { policy, witnesses }))
    }
}

/// Why a policy cannot be published under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PanelError {
    /// It is for other logs.
    #[error("it does not list this log's key, {key}")]
    OtherLog {
        /// That key.
        key: String,
    },
    /// Its quorum counts witnesses whose address it does not give.
    #[error("its quorum cannot be met by the witnesses for which it gives a URL")]
    OutOfReach,
    /// A monitoring prefix is given for a witness that is not in it.
    #[error("it has no witness {name}, for which a monitoring URL is given")]
    Unknown {
        /// That name.
        name: String,
    },
    /// Their lines would not fit into one note.
    #[error("it has more than {KEYS_MAX} witnesses with a URL, whose signatures do not fit into one note")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::{
        checkpoint::Origin,
        key::{Algorithm, KeyName, NoteSigner},
        policy::log_alone,
    };

    use super::*;

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> VerifierKey {
        let signer = NoteSigner::from_seed(KeyName::new(name).unwrap(), algorithm, &[seed; 32]);
        signer.unwrap().public().clone()
    }

    fn identity() -> Identity {
        Identity {
            origin: Origin::new("log.example").unwrap(),
            log: key("log.example", Algorithm::Ed25519, 1),
            clock: key("log.example/clock", Algorithm::CosignatureV1, 2),
        }
    }

    fn panel(lines: &str) -> Result<Option<Panel>, PanelError> {
        let log = identity();
        let text = log_alone(&log.log, &log.clock).replace("quorum none\n", lines);
        Panel::new(text.parse().unwrap(), &log, &BTreeMap::new())
    }

    fn witness(n: u8, url: &str) -> String {
        format!("witness w{n} {} {url}\n", key(&format!("w{n}"), Algorithm::CosignatureV1, 10 + n))
    }

    /// One URL is asked once, however many keys are behind it; the log's own clock is never asked.
    #[test]
    fn witnesses_are_asked_by_url() {
        assert!(panel("quorum none\n").unwrap().is_none());
        assert!(panel(&format!("{}quorum none\n", witness(1, ""))).unwrap().is_none());
        let (a, b, c) =
            (witness(1, "http://a.example/"), witness(2, "http://b.example"), witness(3, "http://a.example"));
        let found = panel(&format!("{a}{b}{c}group g 2 w1 w2 w3\nquorum g\n")).unwrap().unwrap();
        let shown: Vec<_> = found
            .witnesses
            .iter()
            .map(|it| (it.name.as_str(), it.submission.as_str(), it.keys.len()))
            .collect();
        assert_eq!(shown, [("w1", "http://a.example", 2), ("w2", "http://b.example", 1)]);
        assert_eq!(found.witnesses[1].monitoring, "http://b.example");
    }

    #[test]
    fn policies_that_cannot_be_published_under_are_refused() {
        let half =
            format!("{}{}group g all w1 w2\nquorum g\n", witness(1, "http://a.example"), witness(2, ""));
        assert_eq!(panel(&half).unwrap_err(), PanelError::OutOfReach);
        let many: String = (0..63).map(|n| witness(n, &format!("http://{n}.example"))).collect();
        assert_eq!(panel(&format!("{many}quorum none\n")).unwrap_err(), PanelError::TooMany);
        let log = identity();
        let monitoring = BTreeMap::from([("w9".to_owned(), "http://a.example".to_owned())]);
        let policy = log_alone(&log.log, &log.clock).parse().unwrap();
        assert!(matches!(Panel::new(policy, &log, &monitoring), Err(PanelError::Unknown { .. })));
        let stranger = Identity { log: key("log.example", Algorithm::Ed25519, 9), ..identity() };
        let policy = log_alone(&log.log, &log.clock).parse().unwrap();
        let refused = Panel::new(policy, &stranger, &BTreeMap::new()).unwrap_err();
        assert!(matches!(refused, PanelError::OtherLog { .. }));
    }
}
