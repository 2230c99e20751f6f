//! What sinks are told: one JSON object, the same for all of them.

use std::fmt::Write as _;

use counterfoil_merkle::Hash;
use counterfoil_receipt::{Timestamp, audit::Class};
use serde::{Deserialize, Serialize};

/// Most bytes of an alert's text for people; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Why somebody is told, or why something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Something was found.
    Finding,
    /// What was found before has passed.
    Cleared,
    /// Findings could not be delivered to this sink, and will not be.
    Missed,
    /// Somebody tries whether alerts arrive.
    Test,
    /// The monitor lives, and so do its looks at all logs.
    Heartbeat,
    /// Seen, not for long enough to tell anybody. Told to nobody.
    Seen,
    /// No longer seen, and nobody need know. Told to nobody.
    Ended,
}

impl Event {
    /// The event as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Cleared => "cleared",
            Self::Missed => "missed",
            Self::Test => "test",
            Self::Heartbeat => "heartbeat",
            Self::Seen => "seen",
            Self::Ended => "ended",
        }
    }

    /// Whether sinks are told.
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Seen | Self::Ended)
    }
}

/// One thing that was found, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Alert {
    /// Why it is told.
    pub event: Event,
    /// The same for the same finding for as long as it lasts, over restarts and for every sink.
    pub id: Hash,
    /// The origin of the log; empty where it is about the monitor itself.
    pub log: String,
    /// How grave it is.
    pub class: Class,
    /// What was found.
    pub code: String,
    /// Where.
    pub place: String,
    /// The watch rule that asked for it.
    pub rule: Option<String>,
    /// The particulars, for people.
    pub message: String,
    /// When the monitor found it.
    pub at: Timestamp,
    /// Since when it lasts; none of what happened once and for all.
    pub since: Option<Timestamp>,
}

impl Alert {
    /// The id of a finding: of what makes it the same thing, and of nothing else.
    pub fn id(log: &str, code: &str, place: &str, rule: Option<&str>, since: Option<Timestamp>) -> Hash {
        let since = since.map(|since| since.to_string());
        let parts =
            ["counterfoil-alert/v1", log, code, place, rule.unwrap_or(""), since.as_deref().unwrap_or("")];
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Hash::of(&[&bytes])
    }

    /// A name for this message: a receiver that knows it has seen it.
    pub fn message_id(&self) -> String {
        match self.event {
            Event::Finding => self.id.to_string(),
            event => format!("{}.{}", self.id, event.as_str()),
        }
    }
}

/// The JSON of an alert, members in this order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    event: Event,
    id: String,
    log: String,
    class: String,
    code: String,
    place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    message: String,
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

impl From<Alert> for Document {
    fn from(alert: Alert) -> Self {
        Self {
            event: alert.event,
            id: alert.id.to_string(),
            log: alert.log,
            class: alert.class.to_string(),
            code: alert.code,
            place: alert.place,
            rule: alert.rule,
            message: alert.message,
            at: alert.at.millis(),
            since: alert.since.map(Timestamp::millis),
        }
    }
}

impl TryFrom<Document> for Alert {
    type Error = &'static str;

    fn try_from(document: Document) -> Result<Self, &'static str> {
        let moment = |millis| Timestamp::from_millis(millis).ok_or("a time beyond all times");
        Ok(Self {
            event: document.event,
            id: document.id.parse().map_err(|_| "an id is 64 hex digits")?,
            log: document.log,
            class: Class::from_code(&document.class).ok_or("a class that there is not")?,
            code: document.code,
            place: document.place,
            rule: document.rule,
            message: document.message,
            at: moment(document.at)?,
            since: document.since.map(moment).transpose()?,
        })
    }
}

/// A text of at most [`MESSAGE_BYTES_MAX`] bytes in which nothing moves a cursor.
pub fn cut(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars() {
        if short.len() + 10 > MESSAGE_BYTES_MAX {
            short.push('…');
            break;
        }
        // JSON escapes the rest; a hook that prints this to a terminal does not.
        if c.is_control() {
            let _ = write!(short, "{}", c.escape_unicode());
        } else {
            short.push(c);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        let at = Timestamp::from_millis(1_763_712_345_678).unwrap();
        Alert {
            event: Event::Finding,
            id: Alert::id("log.example", "fork-same-size", "checkpoint 7", None, None),
            log: "log.example".to_owned(),
            class: Class::Fork,
            code: "fork-same-size".to_owned(),
            place: "checkpoint 7".to_owned(),
            rule: None,
            message: "two roots".to_owned(),
            at,
            since: None,
        }
    }

    /// What is written reads back, and ids are those that receivers know for ever.
    #[test]
    fn alerts_read_back() {
        let alert = alert();
        let text = serde_json::to_string(&alert).unwrap();
        // Worked out with Python's hashlib: SHA-256 over the six parts, each behind its length in eight bytes.
        let id = "af0dcf470041cf32";
        assert!(text.starts_with(&format!("{{\"event\":\"finding\",\"id\":\"{id}")), "{text}");
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
        let whole = Alert { rule: Some("r".to_owned()), since: Some(alert.at), ..alert };
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), whole);
        for bad in [
            text.replace("FORK", "SPOON"),
            text.replace("\"at\":1", "\"at\":99999"),
            text.replace("\"id\":\"a", "\"id\":\"g"),
        ] {
            assert!(serde_json::from_str::<Alert>(&bad).is_err(), "{bad}");
        }
    }

    /// Each part of what makes a finding the same thing counts, and no two parts run into one another.
    #[test]
    fn ids_tell_findings_apart() {
        let at = Timestamp::from_millis(7);
        let ids = [
            Alert::id("a", "b", "c", None, None),
            Alert::id("ab", "", "c", None, None),
            Alert::id("a", "bc", "", None, None),
            Alert::id("a", "b", "c", Some("d"), None),
            Alert::id("a", "b", "c", None, at),
            Alert::id("a", "b", "cd", None, None),
            Alert::id("a", "b", "c", Some("7"), None),
        ];
        for (place, id) in ids.iter().enumerate() {
            assert!(!ids[..place].contains(id), "{place}");
        }
    }

    #[test]
    fn texts_are_cut_and_harmless() {
        assert_eq!(cut("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\u{a}b");
        let long = cut(&"ü".repeat(5000));
        assert!(long.len() <= MESSAGE_BYTES_MAX && long.ends_with('…'), "{}", long.len());
        assert!(cut(&"\u{7}".repeat(5000)).len() <= MESSAGE_BYTES_MAX);
    }
}
