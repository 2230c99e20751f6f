//! A strict JSON reader: a small borrowed tree in which every value knows its exact text.
//!
//! Stricter than RFC 8259 where two readers could differ: no duplicate keys, no nesting beyond a stated depth, no lone
//! surrogates, nothing after the value. Numbers stay text. [`field`] reads the tree into types, [`mod@write`] prints.

pub mod field;
mod parser;
pub mod write;

use std::borrow::Cow;

/// How deeply arrays and objects may nest in Counterfoil's own formats; the outermost is level 1.
pub const DEPTH_MAX: usize = 16;

/// The largest integer that every JSON reader holds exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// One JSON value and the exact text it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Value<'a> {
    raw: &'a str,
    data: Data<'a>,
}

/// What a [`Value`] holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; its token is [`Value::raw`].
    Number,
    /// A string without its quotes and escapes; borrowed when it had no escape.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, members in the order of the text, no name twice.
    Object(Vec<Member<'a>>),
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The name, without quotes and escapes.
    pub name: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Value<'a> {
    /// Reads one JSON value that takes up all of `bytes`, nested at most [`DEPTH_MAX`] deep.
    ///
    /// Linear in the length of the text, save for sorting the names of objects with many members.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_within(bytes, DEPTH_MAX)
    }

    /// As [`Value::parse`], with another limit of depth: for what other services wrote.
    pub fn parse_within(bytes: &'a [u8], depth_max: usize) -> Result<Self, JsonError> {
        parser::parse(bytes, depth_max)
    }

    /// The exact text of this value, as it stands in the input.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// What it holds.
    pub fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// The member `name`, if this is an object that has it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members()?.iter().find(|member| member.name == name).map(|member| &member.value)
    }

    /// The members, if this is an object.
    pub fn members(&self) -> Option<&[Member<'a>]> {
        if let Data::Object(members) = &self.data { Some(members) } else { None }
    }

    /// The items, if this is an array.
    pub fn items(&self) -> Option<&[Self]> {
        if let Data::Array(items) = &self.data { Some(items) } else { None }
    }

    /// The text, if this is a string.
    pub fn text(&self) -> Option<&str> {
        if let Data::String(text) = &self.data { Some(text) } else { None }
    }

    /// The truth value, if this is one.
    pub fn boolean(&self) -> Option<bool> {
        if let Data::Bool(value) = self.data { Some(value) } else { None }
    }

    /// The integer, if this is a number written without sign, leading zero, fraction or exponent, at most [`INTEGER_MAX`].
    pub fn integer(&self) -> Option<u64> {
        if !matches!(self.data, Data::Number) || !self.raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.raw.parse().ok().filter(|&value| value <= INTEGER_MAX)
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "true or false",
            Data::Number => "a number",
            Data::String(_) => "a string",
            Data::Array(_) => "an array",
            Data::Object(_) => "an object",
        }
    }
}

/// How many of these bytes, from the first on, stand in a string as they are: no quote, no backslash, no control character.
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (number, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return number * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let rest_at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    bytes.len() - rest.len() + rest_at.unwrap_or(rest.len())
}

/// Eight bytes at once, the first one lowest. The lowest bit that is set is the highest of the first byte that is not plain; those
/// above it mean nothing, since a borrow goes upward.
fn special(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    let (quote, backslash) = (word ^ (EACH * u64::from(b'"')), word ^ (EACH * u64::from(b'\\')));
    // What is below the number that is taken off, and was below 0x80, has its highest bit set only now.
    let below = |word: u64, number: u64| word.wrapping_sub(EACH * number) & !word;
    (below(quote, 1) | below(backslash, 1) | below(word, 0x20)) & (EACH * 0x80)
}

/// Why some bytes are not the JSON we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct JsonError {
    /// Where it went wrong, counted in bytes from 0.
    pub offset: usize,
    /// What went wrong there.
    pub reason: JsonReason,
}

/// What is wrong at the offset of a [`JsonError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonReason {
    /// The bytes are not UTF-8 from here on.
    #[error("not UTF-8")]
    Utf8,
    /// The text ends in the middle of a value.
    #[error("the text ends too early")]
    End,
    /// Something else was due here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A number that JSON does not allow.
    #[error("not a number")]
    Number,
    /// A control character that stands in a string without an escape.
    #[error("control character in a string")]
    Control,
    /// An unknown escape.
    #[error("unknown escape")]
    Escape,
    /// Half of a surrogate pair.
    #[error("lone surrogate")]
    Surrogate,
    /// An object names a member twice.
    #[error("member named twice")]
    Duplicate,
    /// Arrays and objects nest too deeply.
    #[error("nested more than {max} deep")]
    Depth {
        /// The limit.
        max: usize,
    },
    /// Something follows the value.
    #[error("something follows the value")]
    Trailing,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &[u8]) -> (usize, JsonReason) {
        let error = Value::parse(text).expect_err("must be refused");
        (error.offset, error.reason)
    }

    #[test]
    fn values_keep_their_exact_text() {
        let text = br#" {"a" : [1, -2.50e+3 ,"x\u00e9\ud83d\ude00\n"], "b":{ "c" :null } } "#;
        let value = Value::parse(text).unwrap();
        let a = value.member("a").unwrap();
        assert_eq!(a.raw(), r#"[1, -2.50e+3 ,"x\u00e9\ud83d\ude00\n"]"#);
        assert_eq!(a.items().unwrap()[1].raw(), "-2.50e+3");
        assert_eq!(a.items().unwrap()[2].text(), Some("xé😀\n"));
        assert_eq!(value.member("b").unwrap().raw(), r#"{ "c" :null }"#);
        assert_eq!(value.raw().len(), text.len() - 2);
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let value = Value::parse(br#"["plain","esc\t"]"#).unwrap();
        let borrowed: Vec<bool> = value
            .items()
            .unwrap()
            .iter()
            .map(|item| matches!(item.data(), Data::String(Cow::Borrowed(_))))
            .collect();
        assert_eq!(borrowed, [true, false]);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        use JsonReason as R;
        let cases: &[(&[u8], usize, R)] = &[
            (b"", 0, R::End),
            (b"  ", 2, R::End),
            (b"{\"a\":1,\"a\":2}", 7, R::Duplicate),
            (b"{\"a\":1,\"\\u0061\":2}", 7, R::Duplicate),
            (b"1 2", 2, R::Trailing),
            (b"{}\0", 2, R::Trailing),
            (b"\xef\xbb\xbf{}", 0, R::Expected("a value")),
            (b"\"\xff\"", 1, R::Utf8),
            (b"\"a\nb\"", 2, R::Control),
            (b"\"\\ud800\"", 1, R::Surrogate),
            (b"\"\\udc00\"", 1, R::Surrogate),
            (b"\"\\ud800\\u0041\"", 1, R::Surrogate),
            (b"\"\\x41\"", 1, R::Escape),
            (b"\"\\u00g0\"", 1, R::Escape),
            (b"\"abc", 4, R::End),
            (b"01", 1, R::Trailing),
            (b"-", 0, R::Number),
            (b"+1", 0, R::Expected("a value")),
            (b".5", 0, R::Expected("a value")),
            (b"1.", 0, R::Number),
            (b"1e", 0, R::Number),
            (b"[1,]", 3, R::Expected("a value")),
            (b"[1 2]", 3, R::Expected("',' or ']'")),
            (b"{\"a\" 1}", 5, R::Expected("':'")),
            (b"{\"a\":1 \"b\":2}", 7, R::Expected("',' or '}'")),
            (b"{a:1}", 1, R::Expected("a member's name or '}'")),
            (b"{\"a\":1,}", 7, R::Expected("a member's name")),
            (b"nul", 0, R::Expected("a value")),
            (b"NaN", 0, R::Expected("a value")),
            (b"'a'", 0, R::Expected("a value")),
        ];
        for (text, offset, expected) in cases {
            assert_eq!(reason(text), (*offset, *expected), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn depth_is_bounded_exactly() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(
            reason(nested(DEPTH_MAX + 1).as_bytes()),
            (DEPTH_MAX, JsonReason::Depth { max: DEPTH_MAX })
        );
        assert_eq!(reason("[".repeat(1_000_000).as_bytes()).1, JsonReason::Depth { max: DEPTH_MAX });
    }

    /// Objects with many members take another road to the same rule.
    #[test]
    fn duplicates_are_found_in_large_objects() {
        let members = |last: &str| {
            let names: Vec<String> =
                (0..2000).map(|n| format!("\"m{n}\":0")).chain([format!("\"{last}\":0")]).collect();
            format!("{{{}}}", names.join(","))
        };
        assert!(Value::parse(members("other").as_bytes()).is_ok());
        let text = members("m7");
        assert_eq!(reason(text.as_bytes()), (text.rfind("\"m7\"").unwrap(), JsonReason::Duplicate));
    }

    #[test]
    fn integers_are_plain_and_exact_everywhere() {
        let integer = |text: &'static str| Value::parse(text.as_bytes()).unwrap().integer();
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("9007199254740991"), Some(INTEGER_MAX));
        for text in ["9007199254740992", "18446744073709551616", "-0", "-1", "1.0", "1e3", "\"1\"", "null"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    fn same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
        match (ours.data(), theirs) {
            (Data::Null, serde_json::Value::Null) => true,
            (Data::Bool(a), serde_json::Value::Bool(b)) => a == b,
            (Data::Number, serde_json::Value::Number(n)) => ours.raw().parse::<f64>().ok() == n.as_f64(),
            (Data::String(a), serde_json::Value::String(b)) => a == b,
            (Data::Array(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Data::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|m| b.get(m.name.as_ref()).is_some_and(|v| same(&m.value, v)))
            }
            _ => false,
        }
    }

    proptest! {
        /// Eight bytes at once find what one after the other does, wherever it stands and whatever stands around it.
        #[test]
        fn plain_bytes_are_counted(
            mut bytes in prop::collection::vec(prop_oneof![0x20_u8..0x7f, any::<u8>()], 0..40),
            at in any::<prop::sample::Index>(),
            byte in prop_oneof![Just(b'"'), Just(b'\\'), 0_u8..0x24, 0x5a_u8..0x60, 0x7e_u8..0xa4],
        ) {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let special = bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            prop_assert_eq!(plain(&bytes), special.unwrap_or(bytes.len()));
        }

        /// Whatever we accept, another reader accepts and reads alike; nothing makes ours panic.
        #[test]
        fn agrees_with_serde_json(text in r#"([\[\]{},:"\\ue0-9.+\-aé 	]|"a"|true|null|\\ud83d|\\ude00|\{"b":){0,24}"#) {
            if let Ok(ours) = Value::parse(text.as_bytes()) {
                let theirs: serde_json::Value = serde_json::from_str(&text).expect("serde_json accepts it too");
                prop_assert!(same(&ours, &theirs));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Value::parse(&bytes);
        }
    }
}
