//! The rules of the log, kept as the configuration says: a change is a record, signed by the operator.

use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_receipt::{
    PublicKey, Statement,
    admission::{Admitted, Chain},
    key::Signer,
    statement::{Frame, Issuer, Nonce, Origin, Predicate, Rules, SignError, Subject, rules::Mode},
};

use crate::config::{AdmissionConfig, AdmissionMode, ConfigError};

/// The rules that are wanted, and the key to sign them with.
pub struct WantedRules {
    log: Origin,
    key: Option<Arc<dyn Signer>>,
    wanted: Mutex<(Mode, Vec<PublicKey>)>,
}

impl WantedRules {
    /// What the configuration asks for. `key` is the operator's.
    pub fn new(
        log: Origin,
        key: Option<Arc<dyn Signer>>,
        config: &AdmissionConfig,
    ) -> Result<Self, ConfigError> {
        Ok(Self { log, key, wanted: Mutex::new(wanted(config)?) })
    }

    /// The log.
    pub const fn log(&self) -> &Origin {
        &self.log
    }

    /// Takes what the configuration asks for now.
    pub fn set(&self, config: &AdmissionConfig) -> Result<(), ConfigError> {
        let wanted = wanted(config)?;
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        Ok(())
    }

    /// The record to be logged, if other rules are in force than are wanted.
    ///
    /// # Errors
    /// [`RulesError`] if nobody here can sign it.
    pub fn due(&self, in_force: &Rules) -> Result<Option<Admitted>, RulesError> {
        let (mode, registrars) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if mode == in_force.mode && registrars == in_force.registrars {
            return Ok(None);
        }
        let key = self.key.as_deref().ok_or(RulesError::NoKey)?;
        if *key.public() != in_force.operator {
            let (operator, configured) = (in_force.operator.clone(), key.public().clone());
            return Err(RulesError::OtherOperator { operator, configured });
        }
        let rules = Rules { mode, registrars, operator: in_force.operator.clone() };
        Ok(Some(sign(&self.log, rules, key)?))
    }
}

/// Signs rules; `key` is the operator's.
pub fn sign(log: &Origin, rules: Rules, key: &dyn Signer) -> Result<Admitted, SignError> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    let statement = Statement {
        subject: Subject::Log,
        frame: Frame {
            nonce: Nonce::new(nonce),
            log: log.clone(),
            issuer: Issuer { key: key.public().clone(), software: None },
            numbering: None,
        },
        predicate: Predicate::Rules(rules),
    };
    Ok(Admitted::new(statement.sign(key)?, statement, Chain::default()))
}

/// Mode and registrars, as rules name them.
pub fn wanted(config: &AdmissionConfig) -> Result<(Mode, Vec<PublicKey>), ConfigError> {
    let mode = match config.mode {
        AdmissionMode::Open => Mode::Open,
        AdmissionMode::Registered => Mode::Registered,
    };
    Ok((mode, config.registrar_keys()?))
}

/// Why the rules cannot be made what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// No key to sign with.
    #[error(
        "the configuration asks for other rules than are in force; without operator_key_file nobody can sign them"
    )]
    NoKey,
    /// The wrong key to sign with.
    #[error(
        "the configuration asks for other rules than are in force, and operator_key_file is {configured}, not the operator {operator}"
    )]
    OtherOperator {
        /// The operator by the rules in force.
        operator: PublicKey,
        /// The key in the file.
        configured: PublicKey,
    },
    /// The record was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::SigningKey;

    use super::*;

    /// A record is due when mode or registrars differ, and only the operator in force signs it.
    #[test]
    fn rules_are_changed_by_their_operator_alone() {
        let (operator, other) =
            (SigningKey::from_ed25519_seed(&[1; 32]), SigningKey::from_ed25519_seed(&[2; 32]));
        let registrar = other.public().to_string();
        let config = AdmissionConfig { mode: AdmissionMode::Registered, registrars: vec![registrar] };
        let log: Origin = "log.example".parse().unwrap();
        let in_force =
            Rules { mode: Mode::Open, registrars: Vec::new(), operator: operator.public().clone() };
        let with = |key: Option<SigningKey>| {
            let key = key.map(|key| Arc::new(key) as Arc<dyn Signer>);
            WantedRules::new(log.clone(), key, &config).unwrap()
        };
        assert!(matches!(with(None).due(&in_force), Err(RulesError::NoKey)));
        assert!(matches!(with(Some(other)).due(&in_force), Err(RulesError::OtherOperator { .. })));
        let keeper = with(Some(operator));
        let due = keeper.due(&in_force).unwrap().expect("a record is due");
        let Some(Predicate::Rules(rules)) = due.judged.decides().map(|it| it.predicate.clone()) else {
            panic!("rules decide");
        };
        assert!(keeper.due(&rules).unwrap().is_none());
    }
}
