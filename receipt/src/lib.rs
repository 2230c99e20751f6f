//! What the leaves of the log mean.
