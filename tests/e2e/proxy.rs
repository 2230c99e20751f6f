//! The proxy, from outside: what passes, what becomes of it, and what strangers can do.

pub(crate) mod caller;
mod hostile;
mod lookup;
mod outcomes;
mod passing;
mod receipts;
mod routing;
pub(crate) mod stage;
mod strict;
mod tls;
