//! What the end-to-end tests share: real processes, plain HTTP, and receipts by the thousand.

pub mod audit;
pub mod deployment;
pub mod evil;
pub mod http;
pub mod inside;
pub mod laws;
pub mod ledger;
pub mod person;
pub mod records;
pub mod secured;
pub mod served_witness;
pub mod signed_tree;
pub mod upstream;
pub mod watcher;
pub mod witness;

pub use counterfoil_client::load::Issuing;
pub use deployment::{Deployment, Programs, Run};
pub use http::{Http, Reply};
pub use person::Person;
pub use served_witness::ServedWitness;
pub use signed_tree::SignedTree;
pub use watcher::Watcher;
pub use witness::{Manner, Witness};

/// Waits until something is so.
///
/// # Panics
/// If it is not within a minute.
pub fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
