//! Which upstream answers a request, at which path, and whether the request calls a model.

use counterfoil_receipt::exchange::Call;

/// What tells which requests go to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The start of the paths, whole segments, such as `/openai`; it is taken off. Empty for all paths.
    pub prefix: String,
    /// Names of models; `*` at the end of one stands for any end. Empty for all.
    pub models: Vec<String>,
}

/// The routes of all upstreams, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// Takes the routes in order.
    pub const fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    /// Whether there is an upstream for a path, for one model at least.
    pub fn any(&self, path: &str) -> bool {
        self.candidates(path).next().is_some()
    }

    /// Whether the upstream for a path depends on the model.
    pub fn ask_for_model(&self, path: &str) -> bool {
        self.candidates(path).any(|(_, route)| !route.models.is_empty())
    }

    /// The upstream for a path and a model: of those with the longest prefix the first that takes the model, then of those
    /// with shorter ones.
    pub fn find(&self, path: &str, model: Option<&str>) -> Option<usize> {
        let mut found: Option<(usize, &Route)> = None;
        for (index, route) in self.candidates(path).filter(|(_, route)| route.takes(model)) {
            if found.is_none_or(|(_, best)| route.prefix.len() > best.prefix.len()) {
                found = Some((index, route));
            }
        }
        found.map(|(index, _)| index)
    }

    fn candidates<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (usize, &'a Route)> {
        self.0.iter().enumerate().filter(move |(_, route)| route.rest(path).is_some())
    }
}

impl Route {
    /// What follows the prefix in a path; `None` if the path does not start with it.
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn takes(&self, model: Option<&str>) -> bool {
        let matches = |pattern: &String| match (pattern.strip_suffix('*'), model) {
            (Some(start), Some(model)) => model.starts_with(start),
            (None, Some(model)) => pattern == model,
            (_, None) => false,
        };
        self.models.is_empty() || self.models.iter().any(matches)
    }
}

/// The call of a model that a request is, if it is one.
///
/// The path is read as services read it, escapes and doubled slashes undone: nobody goes without a receipt by writing it
/// otherwise.
pub fn call(method: &str, path: &str) -> Option<Call> {
    if method != "POST" {
        return None;
    }
    Call::at(&resolved(path)?).ok()
}

/// A path without escapes, empty segments and dots; `None` if it is no text.
fn resolved(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    let path = String::from_utf8(bytes).ok()?;
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use counterfoil_receipt::statement::receipt::Protocol;

    use super::*;

    fn route(prefix: &str, models: &[&str]) -> Route {
        Route { prefix: prefix.to_owned(), models: models.iter().map(|&model| model.to_owned()).collect() }
    }

    #[test]
    fn the_longest_prefix_that_takes_the_model_wins() {
        let routes = Routes::new(vec![
            route("", &[]),
            route("/openai", &["gpt-*", "o3"]),
            route("/openai", &[]),
            route("/openai/deep", &["gpt-5"]),
        ]);
        let cases = [
            ("/v1/models", None, Some(0)),
            ("/openai/v1/chat/completions", Some("gpt-4o"), Some(1)),
            ("/openai/v1/chat/completions", Some("o3"), Some(1)),
            ("/openai/v1/chat/completions", Some("o3-mini"), Some(2)),
            ("/openai/v1/chat/completions", None, Some(2)),
            ("/openai/deep/v1/responses", Some("gpt-5"), Some(3)),
            ("/openai/deep/v1/responses", Some("gpt-4"), Some(1)),
            ("/openai", None, Some(2)),
            ("/openaix/v1", None, Some(0)),
        ];
        for (path, model, expected) in cases {
            assert_eq!(routes.find(path, model), expected, "{path} {model:?}");
        }
        assert!(routes.ask_for_model("/openai/v1/models") && !routes.ask_for_model("/v1/chat/completions"));
        assert_eq!(Routes::new(vec![route("/a", &[])]).find("/b", None), None);
        assert_eq!(route("/a", &[]).rest("/a/v1/x"), Some("/v1/x"));
    }

    #[test]
    fn calls_of_models_are_known_however_they_are_written() {
        let protocol = |path| call("POST", path).map(|call| (call.protocol, call.path));
        for path in [
            "/v1/chat/completions",
            "/v1/chat/completions/",
            "/v1//chat/completions",
            "/v1/chat/%63ompletions",
            "/v1/chat%2Fcompletions",
            "/v1/./chat/x/../completions",
        ] {
            let expected = (Protocol::OpenaiChat, "/v1/chat/completions".to_owned());
            assert_eq!(protocol(path), Some(expected), "{path}");
        }
        assert_eq!(protocol("/anthropic/v1/messages").unwrap().0, Protocol::AnthropicMessages);
        for path in
            ["/v1/models", "/v1/chat/completions/%00", "/v1/chat/completions%ff", "/v1/files", "*", ""]
        {
            assert_eq!(protocol(path), None, "{path}");
        }
        assert_eq!(call("GET", "/v1/chat/completions"), None);
    }
}
