//! Who may append, and who is shown statements, by the token that a request shows.

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use counterfoil_receipt::{Timestamp, bundle::Bundle};

use super::{App, error::ApiError};
use crate::{
    config::TokensConfig,
    tokens::{Denied, Scope, Tokens, TokensError},
};

/// What needs a token, and which tokens there are: replaced as a whole.
pub struct Access {
    rules: RwLock<Arc<Rules>>,
}

struct Rules {
    tokens: Tokens,
    require_for_append: bool,
    withhold_statements: bool,
}

impl Access {
    /// What a configuration asks for, with the tokens of its file.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn read(config: &TokensConfig) -> Result<Self, TokensError> {
        Ok(Self { rules: RwLock::new(Arc::new(Rules::read(config)?)) })
    }

    /// What a configuration asks for now, for requests from now on; returns how many tokens there are.
    ///
    /// # Errors
    /// As [`Access::read`]; what was so before stays.
    pub fn read_again(&self, config: &TokensConfig) -> Result<usize, TokensError> {
        let rules = Rules::read(config)?;
        let count = rules.tokens.count();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(count)
    }

    /// Whether who sends these headers may append.
    ///
    /// # Errors
    /// Why not.
    pub fn append(&self, headers: &HeaderMap, now: Timestamp) -> Result<(), Denied> {
        let rules = self.rules();
        if rules.require_for_append { rules.judge(headers, Scope::Append, now) } else { Ok(()) }
    }

    /// Whether who sends these headers is shown statements. Who shows no token, or one that is good for something else, is a
    /// stranger, and reads on without them.
    ///
    /// # Errors
    /// If the token is no longer good for anything: its holder would take what is missing for erased.
    pub fn statements(&self, headers: &HeaderMap, now: Timestamp) -> Result<Statements, Denied> {
        let rules = self.rules();
        if !rules.withhold_statements {
            return Ok(Statements::Shown);
        }
        match rules.judge(headers, Scope::Statements, now) {
            Ok(()) => Ok(Statements::Shown),
            Err(denied @ (Denied::Missing { .. } | Denied::Scope { .. })) => Ok(Statements::Withheld(denied)),
            Err(denied) => Err(denied),
        }
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rules {
    fn read(config: &TokensConfig) -> Result<Self, TokensError> {
        Ok(Self {
            tokens: config.file.as_deref().map(Tokens::read).transpose()?.unwrap_or_default(),
            require_for_append: config.require_for_append,
            withhold_statements: config.withhold_statements,
        })
    }

    fn judge(&self, headers: &HeaderMap, needed: Scope, now: Timestamp) -> Result<(), Denied> {
        let shown = bearer(headers).ok_or(Denied::Missing { needed })?;
        self.tokens.judge(shown, needed, now)
    }
}

/// The token of a request, if it shows exactly one (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_matches(' '))
}

/// Whether who asks is shown statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// As they are.
    Shown,
    /// As if they were not there, and why.
    Withheld(Denied),
}

impl Statements {
    /// Goes on only if they are shown: for what is computed from them.
    ///
    /// # Errors
    /// Why they are not.
    pub const fn required(self) -> Result<(), ApiError> {
        match self {
            Self::Shown => Ok(()),
            Self::Withheld(denied) => Err(ApiError::Denied(denied)),
        }
    }

    /// Whether they are shown.
    pub const fn are_shown(self) -> bool {
        matches!(self, Self::Shown)
    }

    /// A bundle as it is shown.
    pub fn within(self, bundle: Bundle) -> Bundle {
        if self.are_shown() { bundle } else { Bundle { statement: None, ..bundle } }
    }
}

impl FromRequestParts<Arc<App>> for Statements {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        Ok(app.access.statements(&parts.headers, app.now()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only one bearer token in good form is a token; what is meant for somebody else is not tried.
    #[test]
    fn one_bearer_token_is_shown() {
        let shown = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned)
        };
        for good in ["Bearer a", "bearer a", "BEARER  a "] {
            assert_eq!(shown(&[good]).as_deref(), Some("a"), "{good}");
        }
        for bad in [&[][..], &["Bearer"], &["Basic a"], &["a"], &["Bearera"], &["Bearer a", "Bearer a"]] {
            assert_eq!(shown(bad), None, "{bad:?}");
        }
    }
}
