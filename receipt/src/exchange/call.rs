//! Which paths call a model, and in which protocol.

use crate::statement::{TEXT_BYTES_MAX, receipt::Protocol};

/// A call of a model: what its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The protocol that is spoken at the path.
    pub protocol: Protocol,
    /// The path, without its query.
    pub path: String,
}

impl Call {
    /// The call that is made at the path of a URL; a query is left out.
    pub fn at(path: &str) -> Result<Self, NotAnInference> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        match protocol(path).filter(|_| path.len() <= TEXT_BYTES_MAX) {
            Some(protocol) => Ok(Self { protocol, path: path.to_owned() }),
            None => Err(NotAnInference { path: shortened(path) }),
        }
    }
}

/// An exchange that calls no model: counting tokens, keeping conversations, anything else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is no call of a model that receipts are known for")]
pub struct NotAnInference {
    /// The path that was called.
    pub path: String,
}

/// The protocol that is spoken at a path.
fn protocol(path: &str) -> Option<Protocol> {
    let known = [
        ("/chat/completions", Protocol::OpenaiChat),
        ("/completions", Protocol::OpenaiCompletions),
        ("/responses", Protocol::OpenaiResponses),
        ("/embeddings", Protocol::OpenaiEmbeddings),
        ("/v1/messages", Protocol::AnthropicMessages),
    ];
    let printable = !path.chars().any(char::is_control);
    known.iter().find(|(end, _)| printable && path.ends_with(end)).map(|(_, protocol)| *protocol)
}

fn shortened(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(80).collect()
}
