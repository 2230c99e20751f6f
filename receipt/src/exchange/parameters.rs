//! Settings of a request: the scalars at its top level, as far as they cannot be words about a person.

use crate::{
    json::{Data, Value},
    statement::groups::Parameters,
};

/// Settings whose value is a text, and which are codes of the service rather than words of the caller.
const CODES: &[&str] = &[
    "encoding_format",
    "inference_geo",
    "prompt_cache_retention",
    "reasoning_effort",
    "reasoning_format",
    "route",
    "service_tier",
    "speed",
    "tool_choice",
    "truncation",
    "verbosity",
];

/// Members that stand elsewhere in the receipt.
const ELSEWHERE: &[&str] = &["stream"];

/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 64;

/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// Most settings that are taken.
const COUNT_MAX: usize = 48;

/// Numbers and truth values under any name, texts under the names of known codes; each token exactly as sent.
pub(super) fn of(request: &Value<'_>) -> Parameters {
    let members = request.members().unwrap_or_default().iter();
    let settings = members.filter(|member| {
        let name = member.name.as_ref();
        let is_setting = match member.value.data() {
            Data::Number | Data::Bool(_) => true,
            Data::String(_) => CODES.contains(&name),
            _ => false,
        };
        let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        is_setting
            && !ELSEWHERE.contains(&name)
            && name != "sealed"
            && !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.chars().all(is_code)
            && member.value.raw().len() <= TOKEN_BYTES_MAX
            && member.value.raw().chars().all(|c| c.is_ascii_graphic())
    });
    let taken = settings.take(COUNT_MAX);
    Parameters(taken.map(|member| (member.name.to_string(), member.value.raw().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_taken_as_sent_and_words_are_not() {
        let request =
            br#"{"model":"m","temperature":0.70,"n":1,"stream":true,"user":"Ann","tool_choice":"auto",
            "stop":"Ann","logprobs":false,"seed":null,"metadata":{"a":1},"a b":1,"sealed":1,"top_p":1e0}"#;
        let Parameters(settings) = of(&Value::parse(request).unwrap());
        let expected = [
            ("temperature", "0.70"),
            ("n", "1"),
            ("tool_choice", "\"auto\""),
            ("logprobs", "false"),
            ("top_p", "1e0"),
        ];
        assert_eq!(settings, expected.map(|(name, token)| (name.to_owned(), token.to_owned())));
    }

    /// A code with a control character, which JSON allows beyond U+001F, is none.
    #[test]
    fn a_token_that_a_statement_cannot_carry_is_left_out() {
        let request = "{\"tool_choice\":\"a\u{7f}\",\"truncation\":\"a\u{85}\",\"speed\":\"fast\"}";
        let Parameters(settings) = of(&Value::parse(request.as_bytes()).unwrap());
        assert_eq!(settings, [("speed".to_owned(), "\"fast\"".to_owned())]);
    }
}
