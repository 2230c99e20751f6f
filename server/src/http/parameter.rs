//! The parts of an address, such that what cannot be read is a problem detail like any other.

use axum::{
    extract::{self, FromRequestParts},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The parts of a path that its route names.
pub struct Path<T>(pub T);

/// The members of a query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = extract::Path::from_request_parts(parts, state).await;
        let extract::Path(path) = path.map_err(|error| malformed("path", error.body_text()))?;
        Ok(Self(path))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = extract::Query::from_request_parts(parts, state).await;
        let extract::Query(query) = query.map_err(|error| malformed("query", error.body_text()))?;
        Ok(Self(query))
    }
}

const fn malformed(name: &'static str, reason: String) -> ApiError {
    ApiError::Parameter { name, reason }
}
