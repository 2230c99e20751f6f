//! The reading of text into a [`Value`].

use std::borrow::Cow;

use super::{Data, JsonError, JsonReason, Member, Value, plain};

/// Objects with more members than this are checked for duplicate names by sorting.
const LINEAR_MEMBERS_MAX: usize = 16;

pub(super) fn parse(bytes: &[u8], depth_max: usize) -> Result<Value<'_>, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError { offset: error.valid_up_to(), reason: JsonReason::Utf8 })?;
    let mut parser = Parser { text, at: 0, depth_max };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.error(JsonReason::Trailing));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.space();
        let start = self.at;
        let data = match self.peek() {
            None => return Err(self.error(JsonReason::End)),
            Some(b'"') => Data::String(self.string()?),
            Some(b'{') => self.object(depth + 1)?,
            Some(b'[') => self.array(depth + 1)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) if self.word("null") => Data::Null,
            Some(_) if self.word("true") => Data::Bool(true),
            Some(_) if self.word("false") => Data::Bool(false),
            Some(_) => return Err(self.error(JsonReason::Expected("a value"))),
        };
        Ok(Value { raw: &self.text[start..self.at], data })
    }

    fn object(&mut self, depth: usize) -> Result<Data<'a>, JsonError> {
        self.enter(depth)?;
        let mut members: Vec<Member<'a>> = Vec::new();
        // Of the names that are not compared with those before them at once.
        let mut offsets = Vec::new();
        if self.took(b'}') {
            return Ok(Data::Object(members));
        }
        loop {
            self.space();
            let offset = self.at;
            if self.peek() != Some(b'"') {
                let due = if members.is_empty() { "a member's name or '}'" } else { "a member's name" };
                return Err(self.unexpected(due));
            }
            let name = self.string()?;
            if members.len() >= LINEAR_MEMBERS_MAX {
                offsets.push(offset);
            } else if members.iter().any(|member| member.name == name) {
                return Err(JsonError { offset, reason: JsonReason::Duplicate });
            }
            if !self.took(b':') {
                return Err(self.unexpected("':'"));
            }
            let value = self.value(depth)?;
            members.push(Member { name, value });
            if self.took(b'}') {
                break;
            }
            if !self.took(b',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
        if !offsets.is_empty() {
            check_names(&members, &offsets)?;
        }
        Ok(Data::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Data<'a>, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.took(b']') {
            return Ok(Data::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.took(b']') {
                return Ok(Data::Array(items));
            }
            if !self.took(b',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn number(&mut self) -> Result<Data<'a>, JsonError> {
        let start = self.at;
        let malformed = JsonError { offset: start, reason: JsonReason::Number };
        self.skip(b'-');
        if !self.skip(b'0') && self.digits() == 0 {
            return Err(malformed);
        }
        if self.skip(b'.') && self.digits() == 0 {
            return Err(malformed);
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            if self.digits() == 0 {
                return Err(malformed);
            }
        }
        Ok(Data::Number)
    }

    /// Reads a string; the opening quote is next.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut start = self.at;
        let mut unescaped: Option<String> = None;
        loop {
            self.at += plain(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                None => return Err(self.error(JsonReason::End)),
                Some(b'"') => {
                    let run = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(run),
                        Some(before) => Cow::Owned(before + run),
                    });
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(&self.text[start..self.at]);
                    let character = self.escape()?;
                    text.push(character);
                    start = self.at;
                }
                Some(_) => return Err(self.error(JsonReason::Control)),
            }
        }
    }

    /// Reads one escape; the backslash is next. Errors point at the backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let unknown = JsonError { offset: start, reason: JsonReason::Escape };
        self.at += 1;
        let character = match self.peek() {
            None => return Err(self.error(JsonReason::End)),
            Some(b'u') => {
                self.at += 1;
                return self.unicode(start);
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(_) => return Err(unknown),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        let surrogate = JsonError { offset: start, reason: JsonReason::Surrogate };
        let high = self.hex4(start)?;
        if !(0xd800..0xe000).contains(&high) {
            return char::from_u32(high).ok_or(surrogate);
        }
        if high >= 0xdc00 || !self.text[self.at..].starts_with("\\u") {
            return Err(surrogate);
        }
        self.at += 2;
        let low = self.hex4(start)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(surrogate);
        }
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(surrogate)
    }

    fn hex4(&mut self, start: usize) -> Result<u32, JsonError> {
        let unknown = JsonError { offset: start, reason: JsonReason::Escape };
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(unknown)?;
        let mut value = 0;
        for &digit in digits {
            value = value << 4 | char::from(digit).to_digit(16).ok_or(unknown)?;
        }
        self.at += 4;
        Ok(value)
    }

    /// Steps over an opening bracket if the depth it leads to is allowed.
    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.depth_max {
            return Err(self.error(JsonReason::Depth { max: self.depth_max }));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn took(&mut self, byte: u8) -> bool {
        self.space();
        self.skip(byte)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, due: &'static str) -> JsonError {
        self.error(if self.peek().is_none() { JsonReason::End } else { JsonReason::Expected(due) })
    }

    fn error(&self, reason: JsonReason) -> JsonError {
        JsonError { offset: self.at, reason }
    }
}

/// Finds a name that stands twice, in n log n: an object with thousands of members must not cost their square. `offsets` are those
/// of the last names; the ones before them differ.
fn check_names(members: &[Member<'_>], offsets: &[usize]) -> Result<(), JsonError> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| members[a].name.cmp(&members[b].name));
    let repeated = order.windows(2).filter(|pair| members[pair[0]].name == members[pair[1]].name);
    let first = members.len() - offsets.len();
    match repeated.map(|pair| offsets[pair[1] - first]).min() {
        Some(offset) => Err(JsonError { offset, reason: JsonReason::Duplicate }),
        None => Ok(()),
    }
}
