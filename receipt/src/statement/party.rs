//! How a party names itself: the only texts about anybody that a log holds, and signed by that party's own key.

use std::{fmt, str::FromStr};

/// Most bytes of a name.
pub const NAME_BYTES_MAX: usize = 128;

/// Most bytes of an address.
pub const CONTACT_BYTES_MAX: usize = 256;

/// A party's name, as it wrote it itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Where a party can be reached: an `https` or `mailto` URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Contact {
    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = PartyError;

    /// Reads 1 to 128 bytes that show as they are: nothing invisible, nothing that turns text around, no space at the ends.
    fn from_str(text: &str) -> Result<Self, PartyError> {
        let hidden = |c: char| c.is_control() || is_invisible(c) || (c.is_whitespace() && c != ' ');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.trim() != text || text.contains(hidden) {
            return Err(PartyError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Contact {
    type Err = PartyError;

    /// Reads `https://…` or `mailto:…` in printable ASCII.
    fn from_str(text: &str) -> Result<Self, PartyError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("mailto:"));
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        match rest {
            Some(rest) if !rest.is_empty() && text.len() <= CONTACT_BYTES_MAX && printable(rest) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(PartyError::Contact),
        }
    }
}

/// Characters that hide, join or turn the text around them.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Why a text is not how a party names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartyError {
    /// Not a name.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes, nothing invisible, and no space at either end")]
    Name,
    /// Not an address.
    #[error(
        "a contact is an https: or mailto: URI of at most {CONTACT_BYTES_MAX} printable ASCII characters"
    )]
    Contact,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a name shows is what it is.
    #[test]
    fn names_hide_nothing() {
        for text in ["A", "Bank of Nowhere", "Bänk №1", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for text in ["", " A", "A ", "A\tB", "A\nB", "A\u{202e}B", "A\u{200b}", "A\u{a0}B", long.as_str()] {
            assert_eq!(text.parse::<Name>(), Err(PartyError::Name), "{text:?}");
        }
    }

    #[test]
    fn contacts_are_addresses() {
        for text in ["https://bank.example/complain", "mailto:complaints@bank.example"] {
            assert_eq!(text.parse::<Contact>().unwrap().as_str(), text);
        }
        let long = format!("https://{}", "x".repeat(CONTACT_BYTES_MAX));
        for text in ["", "https://", "http://a", "mailto:", "mailto:a b", "https://ü", "javascript:x", &long]
        {
            assert_eq!(text.parse::<Contact>(), Err(PartyError::Contact), "{text:?}");
        }
    }
}
