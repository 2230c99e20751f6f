//! Laws of the kernel, over every small tree and over published vectors, and every way of breaking them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod canonical;
mod evidence;
mod growth;
mod malformed;
mod naive;
mod proofs;
mod reference;
mod roles;
mod subtrees;
mod vectors;
