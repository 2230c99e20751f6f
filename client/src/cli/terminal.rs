//! What a person or a program sees: lines or JSON, colour on a terminal only, nothing that a terminal would obey.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
};

use counterfoil_receipt::Timestamp;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Where output goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    json: bool,
    colour: bool,
    progress: bool,
}

/// What sets a terminal to each tone, in their order, and back.
const TONES: [&str; 5] = ["\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"];

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// As it should not be.
    Bad,
    /// To be noticed.
    Warn,
    /// Less important.
    Dim,
}

impl Terminal {
    /// Standard output as it is: JSON if asked for, colour if it is a terminal and `NO_COLOR` is not set.
    pub fn new(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !json && !no_colour && io::stdout().is_terminal();
        Self { json, colour, progress: io::stderr().is_terminal() }
    }

    /// Whether programs read this.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether somebody watches standard error.
    pub const fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Prints a line for a person; nothing if programs read this.
    pub fn line(&self, text: impl fmt::Display) {
        if !self.json {
            self.raw(format_args!("{}\n", self.obeyed(&text.to_string())));
        }
    }

    /// Prints one line of JSON for a program; nothing if persons read this.
    pub fn value(&self, value: &Value) {
        if self.json {
            self.raw(format_args!("{}\n", harmless(&value.to_string(), json_escape)));
        }
    }

    /// Prints exactly this, whoever reads it. Nobody reads further if it cannot be written.
    pub fn raw(&self, text: fmt::Arguments<'_>) {
        let _ = io::stdout().lock().write_fmt(text);
    }

    /// Says on standard error what went wrong, with its causes; for programs, on standard output too.
    pub fn error(&self, error: &anyhow::Error) {
        let text = shown(&format!("{error:#}"));
        let _ = writeln!(io::stderr(), "counterfoil: {text}");
        self.value(&serde_json::json!({ "error": format!("{error:#}") }));
    }

    /// Says something on standard error.
    pub fn note(&self, text: impl fmt::Display) {
        let _ = writeln!(io::stderr(), "{}", self.obeyed(&text.to_string()));
    }

    /// Lines as they may go to a terminal: whatever is quoted in them, all that it obeys are ends of lines, tabs, and our tones.
    fn obeyed(&self, text: &str) -> String {
        let mut safe = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(is_obeyed) {
            let (before, from) = rest.split_at(at);
            safe.push_str(before);
            let tone = TONES.iter().find(|tone| self.colour && from.starts_with(**tone));
            let kept = tone.map_or_else(|| usize::from(from.starts_with(['\n', '\t'])), |tone| tone.len());
            let (kept, after) = from.split_at(kept);
            safe.push_str(kept);
            rest = after;
            if kept.is_empty() {
                let length = from.chars().next().map_or(0, char::len_utf8);
                safe.push_str(&shown(&from[..length]));
                rest = &from[length..];
            }
        }
        safe.push_str(rest);
        safe
    }

    /// A text in a tone.
    pub fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => TONES[0],
            Tone::Bad => TONES[1],
            Tone::Warn => TONES[2],
            Tone::Dim => TONES[3],
        };
        format!("{code}{text}{}", TONES[4])
    }
}

/// A text that somebody else wrote, without what a terminal would obey: control characters, and those that reorder text.
pub fn shown(text: &str) -> String {
    harmless(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

fn json_escape(c: char) -> String {
    let mut units = [0; 2];
    let mut text = String::new();
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(text, "\\u{unit:04x}");
    }
    text
}

/// Whether a terminal obeys it, or shows others in another order for it.
fn is_obeyed(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || reorders
}

fn harmless(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            safe.push_str(&escape(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A moment as people write it, in UTC.
pub fn moment(at: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.millis()) * 1_000_000);
    date.ok().and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{at} ms"))
}

/// As [`moment`], of POSIX seconds.
pub fn moment_s(seconds: u64) -> String {
    let at = seconds.checked_mul(1000).and_then(Timestamp::from_millis);
    at.map_or_else(|| format!("{seconds} s"), moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No text of a stranger moves the cursor, clears the screen or turns a line around.
    #[test]
    fn terminals_obey_nobody() {
        let text = "a\x1b[2J\u{9b}31m\r\n\u{202e}b\u{7f}é";
        assert_eq!(shown(text), "a\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}\\u{202e}b\\u{7f}é");
        let json = harmless(&serde_json::json!(text).to_string(), json_escape);
        assert!(json.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    /// A line keeps its tones, its ends and its tabs; whatever it quotes is quoted, also where somebody forgot to.
    #[test]
    fn lines_quote_what_they_do_not_mean() {
        let terminal = |colour| Terminal { json: false, colour, progress: false };
        let text = terminal(true).paint(Tone::Bad, "no\u{9b}2J\u{202e}") + "\ta\x1b[2J\nb\r\x1b";
        let expected = "\x1b[31mno\\u{9b}2J\\u{202e}\x1b[0m\ta\\u{1b}[2J\nb\\u{d}\\u{1b}";
        assert_eq!(terminal(true).obeyed(&text), expected);
        assert_eq!(terminal(false).obeyed("\x1b[31mé\x1b[0m"), "\\u{1b}[31mé\\u{1b}[0m");
        assert_eq!(terminal(false).obeyed("plain\n"), "plain\n");
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment(Timestamp::from_millis(1_763_712_345_678).unwrap()), "2025-11-21T08:05:45.678Z");
        assert_eq!(moment_s(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment_s(u64::MAX), "18446744073709551615 s");
    }
}
