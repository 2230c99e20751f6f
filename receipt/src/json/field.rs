//! Reading a [`Value`] into types: members taken by name, unknown ones refused, errors that name the place.

use std::{fmt, str::FromStr};

use super::{Data, Member, Value};

/// Most members that an object of a known shape can have.
const MEMBERS_MAX: usize = 64;

/// Most bytes of a refused text that an error repeats.
const QUOTED_BYTES_MAX: usize = 80;

/// A value and where it stands, so that an error can say so. Nothing is allocated until there is one.
#[derive(Clone, Copy, Debug)]
pub struct Field<'p, 'a> {
    value: &'p Value<'a>,
    place: Place<'p>,
}

#[derive(Clone, Copy, Debug)]
struct Place<'p> {
    above: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Item(usize),
}

impl<'p, 'a> Field<'p, 'a> {
    /// The outermost value.
    pub fn root(value: &'p Value<'a>) -> Self {
        Self { value, place: Place { above: None, step: Step::Root } }
    }

    /// The value itself.
    pub fn value(&self) -> &'p Value<'a> {
        self.value
    }

    /// Reads an object by the names of its members.
    pub fn object(&'p self) -> Result<Object<'p, 'a>, FieldError> {
        let Data::Object(members) = self.value.data() else { return Err(self.not("an object")) };
        if members.len() > MEMBERS_MAX {
            return Err(self.error(Reason::TooMany { max: MEMBERS_MAX, got: members.len() }));
        }
        Ok(Object { place: &self.place, members, taken: 0 })
    }

    /// Reads all members of an object whose names are not known, at most `max`.
    pub fn members(&'p self, max: usize) -> Result<impl Iterator<Item = (&'p str, Self)>, FieldError> {
        let Data::Object(members) = self.value.data() else { return Err(self.not("an object")) };
        if members.len() > max {
            return Err(self.error(Reason::TooMany { max, got: members.len() }));
        }
        let above = Some(&self.place);
        Ok(members.iter().map(move |member| {
            let step = Step::Member(member.name.as_ref());
            (member.name.as_ref(), Self { value: &member.value, place: Place { above, step } })
        }))
    }

    /// Reads an array of at most `max` items.
    pub fn items(&'p self, max: usize) -> Result<impl Iterator<Item = Self>, FieldError> {
        let Data::Array(items) = self.value.data() else { return Err(self.not("an array")) };
        if items.len() > max {
            return Err(self.error(Reason::TooMany { max, got: items.len() }));
        }
        let above = Some(&self.place);
        Ok(items
            .iter()
            .enumerate()
            .map(move |(n, value)| Self { value, place: Place { above, step: Step::Item(n) } }))
    }

    /// Reads an array of `min` to `max` values, none of them twice.
    pub fn list<T: PartialEq>(
        &'p self,
        min: usize,
        max: usize,
        read: impl Fn(&Self) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let mut list = Vec::new();
        for item in self.items(max)? {
            let value = read(&item)?;
            if list.contains(&value) {
                return Err(item.error(Reason::Twice));
            }
            list.push(value);
        }
        if list.len() < min {
            return Err(self.error(Reason::TooFew { min, got: list.len() }));
        }
        Ok(list)
    }

    /// Reads an array of codes of a closed list, at least `min`, none of them twice.
    pub fn codes<T: Copy + PartialEq>(
        &'p self,
        min: usize,
        codes: &[(&'static str, T)],
    ) -> Result<Vec<T>, FieldError> {
        self.list(min, codes.len(), |item| item.code(codes))
    }

    /// A string of any length and content.
    pub fn string(&self) -> Result<&'p str, FieldError> {
        self.value.text().ok_or_else(|| self.not("a string"))
    }

    /// A string of 1 to `bytes_max` bytes, without control characters.
    pub fn text(&self, bytes_max: usize) -> Result<&'p str, FieldError> {
        let text = self.string()?;
        if text.is_empty() {
            return Err(self.error(Reason::Empty));
        }
        if text.len() > bytes_max {
            return Err(self.error(Reason::TooLong { bytes_max, got: text.len() }));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error(Reason::Control));
        }
        Ok(text)
    }

    /// An integer from 0 to [`super::INTEGER_MAX`].
    pub fn integer(&self) -> Result<u64, FieldError> {
        self.value.integer().ok_or_else(|| self.not("an integer from 0 to 2^53 - 1"))
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, FieldError> {
        self.value.boolean().ok_or_else(|| self.not("true or false"))
    }

    /// A string that [`FromStr`] reads.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, FieldError> {
        self.string()?.parse().map_err(|why: T::Err| {
            self.error(Reason::Form { got: quoted(self.value.raw()), why: why.to_string() })
        })
    }

    /// A string of a closed list.
    pub fn code<T: Copy>(&self, codes: &[(&'static str, T)]) -> Result<T, FieldError> {
        let text = self.string()?;
        let found = codes.iter().find(|(code, _)| *code == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let codes = codes.iter().map(|(code, _)| *code).collect();
            self.error(Reason::Code { codes, got: quoted(self.value.raw()) })
        })
    }

    /// `None` for `null`, else what `read` makes of the value.
    pub fn nullable<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        if self.value.is_null() { Ok(None) } else { read(self).map(Some) }
    }

    /// Demands exactly this string.
    pub fn exactly(&self, expected: &str) -> Result<(), FieldError> {
        if self.string()? == expected {
            return Ok(());
        }
        Err(self.mismatch(expected, self.value.raw()))
    }

    /// An error about this value.
    pub fn error(&self, reason: Reason) -> FieldError {
        FieldError { path: self.place.to_string(), reason }
    }

    /// The error that this value is another than it has to be.
    pub fn mismatch(&self, expected: &str, got: &str) -> FieldError {
        self.error(Reason::Mismatch { expected: quoted(expected), got: quoted(got) })
    }

    fn not(&self, expected: &'static str) -> FieldError {
        self.error(Reason::Kind { expected, got: self.value.kind() })
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = match self.above {
            Some(above) => {
                above.fmt(f)?;
                above
            }
            None => return Ok(()),
        };
        match self.step {
            Step::Root => Ok(()),
            Step::Item(n) => write!(f, "[{n}]"),
            Step::Member(name) if above.above.is_none() => f.write_str(&quoted(name)),
            Step::Member(name) => write!(f, ".{}", quoted(name)),
        }
    }
}

/// An object being read: take the members, then [`Object::finish`], which refuses what nobody took.
#[derive(Debug)]
pub struct Object<'p, 'a> {
    place: &'p Place<'p>,
    members: &'p [Member<'a>],
    taken: u64,
}

impl<'p, 'a> Object<'p, 'a> {
    /// Takes a member that must be there.
    pub fn required(&mut self, name: &'p str) -> Result<Field<'p, 'a>, FieldError> {
        self.optional(name).ok_or_else(|| self.at(name, Reason::Missing))
    }

    /// Takes a member if it is there. `null` is there.
    pub fn optional(&mut self, name: &'p str) -> Option<Field<'p, 'a>> {
        // Most of what can be there is not, and is asked for last.
        if self.taken.count_ones() as usize == self.members.len() {
            return None;
        }
        let position = self.members.iter().position(|member| member.name == name)?;
        self.taken |= 1 << position;
        let place = Place { above: Some(self.place), step: Step::Member(name) };
        Some(Field { value: &self.members[position].value, place })
    }

    /// Takes a member if it is there, and reads it.
    pub fn maybe<T>(
        &mut self,
        name: &'p str,
        read: impl FnOnce(&Field<'p, 'a>) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.optional(name).map(|field| read(&field)).transpose()
    }

    /// Refuses any member that was not taken.
    pub fn finish(self) -> Result<(), FieldError> {
        let unknown = self.members.iter().enumerate().find(|(position, _)| self.taken & (1 << position) == 0);
        match unknown {
            Some((_, member)) => Err(self.at(&member.name, Reason::Unknown)),
            None => Ok(()),
        }
    }

    /// An error about the member `name`.
    pub fn at(&self, name: &str, reason: Reason) -> FieldError {
        let place = Place { above: Some(self.place), step: Step::Member(name) };
        FieldError { path: place.to_string(), reason }
    }
}

/// What is wrong with one value of a JSON text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}{}{reason}", if .path.is_empty() { "" } else { ": " })]
pub struct FieldError {
    /// The place, such as `predicate.api.protocol` or `subject[1].digest`; empty for the outermost value.
    pub path: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong at the path of a [`FieldError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A required member is not there.
    #[error("required, but not there")]
    Missing,
    /// No member of this name is known here.
    #[error("unknown member")]
    Unknown,
    /// Another kind of value is due.
    #[error("must be {expected}, is {got}")]
    Kind {
        /// What is due.
        expected: &'static str,
        /// What is there.
        got: &'static str,
    },
    /// An empty text.
    #[error("must not be empty")]
    Empty,
    /// A text that is too long.
    #[error("has {got} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// The limit.
        bytes_max: usize,
        /// How many there are.
        got: usize,
    },
    /// Too few items.
    #[error("has {got} elements, at least {min} are due")]
    TooFew {
        /// How many are due.
        min: usize,
        /// How many there are.
        got: usize,
    },
    /// Too many members or items.
    #[error("has {got} elements, at most {max} are allowed")]
    TooMany {
        /// The limit.
        max: usize,
        /// How many there are.
        got: usize,
    },
    /// An item of a list that was there before.
    #[error("is listed twice")]
    Twice,
    /// A text with a control character.
    #[error("contains a control character")]
    Control,
    /// A text that is not of the form that is due.
    #[error("{got} is refused: {why}")]
    Form {
        /// What is there.
        got: String,
        /// What its type says against it.
        why: String,
    },
    /// A code that is not on the list.
    #[error("{got} is none of {}", .codes.join(", "))]
    Code {
        /// The list.
        codes: Vec<&'static str>,
        /// What is there.
        got: String,
    },
    /// A value other than the only one possible.
    #[error("must be {expected}, is {got}")]
    Mismatch {
        /// The only possible value.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Members that go together are not all there.
    #[error("{names} go together: all or none")]
    Together {
        /// The members.
        names: &'static str,
    },
    /// A rule between members is broken.
    #[error("{0}")]
    Rule(&'static str),
}

/// A text as an error repeats it: shortened, without control characters.
fn quoted(text: &str) -> String {
    let mut end = text.len().min(QUOTED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut shown: String =
        text[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if end < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let value = Value::parse(text.as_bytes()).unwrap();
        read(&value).expect_err("must be refused").to_string()
    }

    fn read(value: &Value<'_>) -> Result<(), FieldError> {
        let root = Field::root(value);
        let mut object = root.object()?;
        let inner = object.required("inner")?;
        let mut members = inner.object()?;
        members.required("number")?.integer()?;
        members.maybe("text", |text| text.text(4).map(drop))?;
        members.maybe("code", |code| code.code(&[("a", 1), ("b", 2)]).map(drop))?;
        if let Some(list) = members.optional("list") {
            for item in list.items(2)? {
                item.boolean()?;
            }
        }
        members.finish()?;
        object.finish()
    }

    #[test]
    fn errors_name_the_place_and_the_reason() {
        assert!(
            read(&Value::parse(br#"{"inner":{"number":1,"text":"four","list":[true]}}"#).unwrap()).is_ok()
        );
        let cases = [
            ("[]", "must be an object, is an array"),
            ("{}", "inner: required, but not there"),
            (r#"{"inner":null}"#, "inner: must be an object, is null"),
            (
                r#"{"inner":{"number":1.0}}"#,
                "inner.number: must be an integer from 0 to 2^53 - 1, is a number",
            ),
            (r#"{"inner":{"number":1,"text":""}}"#, "inner.text: must not be empty"),
            (r#"{"inner":{"number":1,"text":"fiver"}}"#, "inner.text: has 5 bytes, at most 4 are allowed"),
            (r#"{"inner":{"number":1,"text":"a\u0085"}}"#, "inner.text: contains a control character"),
            (r#"{"inner":{"number":1,"code":"c"}}"#, "inner.code: \"c\" is none of a, b"),
            (
                r#"{"inner":{"number":1,"list":[true,0]}}"#,
                "inner.list[1]: must be true or false, is a number",
            ),
            (
                r#"{"inner":{"number":1,"list":[true,true,true]}}"#,
                "inner.list: has 3 elements, at most 2 are allowed",
            ),
            (r#"{"inner":{"number":1,"other":1}}"#, "inner.other: unknown member"),
            (r#"{"inner":{"number":1},"a\nb":1}"#, "a\u{fffd}b: unknown member"),
        ];
        for (text, message) in cases {
            assert_eq!(refused(text), message, "{text}");
        }
    }

    #[test]
    fn an_object_with_more_members_than_can_be_counted_is_refused() {
        let text =
            format!("{{{}}}", (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(refused(&text), "has 65 elements, at most 64 are allowed");
    }
}
