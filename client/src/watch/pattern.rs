//! Patterns for names: a name itself, or one with `*` for any text and `?` for any character.

use std::{fmt, str::FromStr};

/// The longest pattern: names in statements are no longer.
const PATTERN_BYTES_MAX: usize = 512;

/// A pattern. `\` takes the next character as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    This(char),
    AnyOne,
    Any,
}

impl Pattern {
    /// Whether the whole name fits. Case counts. Costs at most the product of both lengths.
    pub fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut step, mut at) = (0, 0);
        // Where the last `*` stands, and what it has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.steps.get(step) {
                Some(Step::Any) => {
                    star = Some((step, at));
                    step += 1;
                }
                Some(Step::AnyOne) => (step, at) = (step + 1, at + 1),
                Some(Step::This(c)) if *c == name[at] => (step, at) = (step + 1, at + 1),
                _ => match &mut star {
                    Some((place, taken)) => {
                        *taken += 1;
                        (step, at) = (*place + 1, *taken);
                    }
                    None => return false,
                },
            }
        }
        self.steps[step..].iter().all(|step| *step == Step::Any)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        let mut steps = Vec::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            steps.push(match c {
                // Two stars are one: what a pattern costs does not grow with them.
                '*' if steps.last() == Some(&Step::Any) => continue,
                '*' => Step::Any,
                '?' => Step::AnyOne,
                '\\' => Step::This(characters.next().ok_or("a pattern does not end with a backslash")?),
                c => Step::This(c),
            });
        }
        Ok(Self { text: text.to_owned(), steps })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a pattern means, said as plainly as can be.
    fn naive(steps: &[Step], name: &[char]) -> bool {
        match (steps.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((Step::Any, rest)), None) => naive(rest, name),
            (Some((Step::Any, rest)), Some((_, tail))) => naive(rest, name) || naive(steps, tail),
            (Some((Step::AnyOne, rest)), Some((_, tail))) => naive(rest, tail),
            (Some((Step::This(c), rest)), Some((first, tail))) => c == first && naive(rest, tail),
            _ => false,
        }
    }

    #[test]
    fn names_fit() {
        for (pattern, name, fits) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4*", "gpt-4o-mini", true),
            ("gpt-4*", "gpt-4", true),
            ("*mini", "gpt-4o-mini", true),
            ("*mini", "gpt-4o-mini-2024", false),
            ("g?t-*-m*i", "gpt-4o-mini", true),
            ("GPT*", "gpt-4o", false),
            ("ft:*:org:*", "ft:gpt:org:x", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("?", "ü", true),
            ("*", "", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().fits(name), fits, "{pattern} {name}");
        }
        for bad in ["", "a\\", &"x".repeat(513)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Backtracking to the last star alone finds what trying everything finds.
        #[test]
        fn matching_is_what_it_says(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
            let pattern: Pattern = pattern.parse().unwrap();
            let characters: Vec<char> = name.chars().collect();
            prop_assert_eq!(pattern.fits(&name), naive(&pattern.steps, &characters));
        }
    }
}
