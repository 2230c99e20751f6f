//! What the leaves of the log mean.

pub mod json;
