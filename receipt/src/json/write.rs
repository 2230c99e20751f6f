//! Printing compact JSON: members in the order they are written, no whitespace, characters beyond ASCII as they are.

use std::fmt::Write as _;

use super::plain;

/// Prints an object; `fill` writes its members.
pub fn object(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> String {
    let mut out = String::new();
    write_object(&mut out, fill);
    out
}

/// Appends a string in quotes, escaping what must be escaped and nothing else.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (run, after) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(run);
        let Some(&byte) = after.as_bytes().first() else { break };
        escape(out, byte);
        rest = &after[1..];
    }
    out.push('"');
}

/// Appends the escape of a quote, a backslash, or a control character.
fn escape(out: &mut String, byte: u8) {
    let short = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        0x0c => "\\f",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        _ => {
            out.push_str("\\u00");
            out.extend(
                [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
            );
            return;
        }
    };
    out.push_str(short);
}

/// Appends an array; `write` appends one item.
pub fn array<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Appends an object; `fill` writes its members.
pub fn write_object(out: &mut String, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.push('{');
    fill(&mut ObjectWriter { out, empty: true });
    out.push('}');
}

/// Writes the members of one object.
#[derive(Debug)]
pub struct ObjectWriter<'w> {
    out: &'w mut String,
    empty: bool,
}

impl ObjectWriter<'_> {
    /// Starts a member and gives the text to append its value to.
    pub fn member(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        string(self.out, name);
        self.out.push(':');
        self.out
    }

    /// A member that is a string.
    pub fn string(&mut self, name: &str, text: &str) {
        string(self.member(name), text);
    }

    /// A member that is what `value` displays, as a string; it must display nothing that needs an escape.
    pub fn display(&mut self, name: &str, value: impl std::fmt::Display) {
        let out = self.member(name);
        write!(out, "\"{value}\"").expect("a string takes what it is given");
    }

    /// A member that is an integer.
    pub fn integer(&mut self, name: &str, value: u64) {
        write!(self.member(name), "{value}").expect("a string takes what it is given");
    }

    /// A member that is `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.member(name).push_str(if value { "true" } else { "false" });
    }

    /// A member that is `null`.
    pub fn null(&mut self, name: &str) {
        self.member(name).push_str("null");
    }

    /// A member that is written only if there is a value: `some("n", Some(7), ObjectWriter::integer)`.
    pub fn some<T>(&mut self, name: &str, value: Option<T>, write: impl FnOnce(&mut Self, &str, T)) {
        if let Some(value) = value {
            write(self, name, value);
        }
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        write_object(self.member(name), fill);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Value;

    #[test]
    fn members_stand_in_order_without_whitespace() {
        let text = object(|o| {
            o.integer("n", 7);
            o.null("none");
            o.object("inner", |o| o.boolean("b", true));
            array(o.member("list"), ["a", "b"], string);
        });
        assert_eq!(text, r#"{"n":7,"none":null,"inner":{"b":true},"list":["a","b"]}"#);
    }

    proptest! {
        /// Any text comes back, and is printed as serde_json prints it.
        #[test]
        fn strings_read_back(text in any::<String>()) {
            let mut printed = String::new();
            string(&mut printed, &text);
            let value = Value::parse(printed.as_bytes()).unwrap();
            prop_assert_eq!(value.text(), Some(text.as_str()));
            prop_assert_eq!(printed, serde_json::to_string(&text).unwrap());
        }
    }
}
