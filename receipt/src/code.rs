//! Closed lists of codes.

/// A code of a closed list.
pub trait Code: Copy + PartialEq + 'static {
    /// The list.
    const LIST: &'static [Self];

    /// The code as it is written.
    fn code(self) -> &'static str;

    /// What it means, in a few words without a full stop.
    fn explained(self) -> &'static str;
}

/// Defines an enum of codes and the text of each: `as_str`, `Display`, `ALL`, and `CODES` for reading. What is written above a
/// code is what it means, for people too: `meaning`.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) const CODES: &'static [(&'static str, Self)] = &[$(($text, Self::$variant),)+];

            /// The code as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it means, in a few words without a full stop.
            pub const fn meaning(self) -> &'static str {
                let text: &str = match self { $(Self::$variant => concat!($($doc),+),)+ };
                crate::code::sentence(text)
            }

            /// Reads a code; nothing but the exact text of one.
            pub fn from_code(text: &str) -> Option<Self> {
                Self::CODES.iter().find(|(code, _)| *code == text).map(|(_, value)| *value)
            }
        }

        impl crate::code::Code for $name {
            const LIST: &'static [Self] = Self::ALL;

            fn code(self) -> &'static str {
                self.as_str()
            }

            fn explained(self) -> &'static str {
                self.meaning()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use codes;

/// A doc comment without the space before it and the full stop after it.
pub(crate) const fn sentence(text: &'static str) -> &'static str {
    match text.as_bytes() {
        [b' ', .., b'.'] => text.split_at(1).1.split_at(text.len() - 2).0,
        [b' ', ..] => text.split_at(1).1,
        _ => text,
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro is for public codes")]
mod tests {
    codes! {
        /// Codes.
        Codes {
            /// The first
            /// one.
            First = "first",
            /// The second
            Second = "second",
        }
    }

    #[test]
    fn what_stands_above_a_code_is_what_it_means() {
        let meanings: Vec<_> = Codes::ALL.iter().map(|code| code.meaning()).collect();
        assert_eq!(meanings, ["The first one", "The second"]);
        assert_eq!((Codes::First.as_str(), Codes::from_code("second")), ("first", Some(Codes::Second)));
        assert_eq!((Codes::CODES.len(), Codes::from_code("First")), (2, None));
    }
}
