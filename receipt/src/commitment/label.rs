//! What a commitment is to. The label is hashed with the bytes, so that one cannot stand for another.

use std::{fmt, str::FromStr};

use crate::{code::codes, statement::GroupName};

/// What a commitment is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// The request's body: `request`.
    Request,
    /// The response's body: `response`.
    Response,
    /// The n-th input message, counted from 0: `part/<n>`.
    Part(u32),
    /// A group's JSON: `group/<name>`.
    Group(GroupName),
    /// A member of a group that is itself a commitment.
    Member(MemberLabel),
    /// A body before the n-th transform: `transforms/<n>/before`.
    Before(u32),
    /// A body after the n-th transform: `transforms/<n>/after`.
    After(u32),
    /// The n-th piece of evidence of a record: `<kind>/evidence/<n>`.
    Evidence(Evidenced, u32),
}

codes! {
    /// Kinds of records that commit to evidence.
    Evidenced {
        /// A verdict.
        Verdict = "verdict",
        /// A dispute.
        Dispute = "dispute",
        /// A response.
        Response = "response",
        /// A remedy.
        Remedy = "remedy",
    }
}

codes! {
    /// Members of groups and records that are commitments themselves.
    MemberLabel {
        /// `content.text`
        Text = "text",
        /// `content.tool_calls`
        ToolCalls = "tool_calls",
        /// `content.token_ids`
        TokenIds = "content/token_ids",
        /// `content.embedding`
        Embedding = "content/embedding",
        /// `upstream.request_id`
        RequestId = "upstream/request_id",
        /// `caller.reference`
        CallerReference = "caller/reference",
        /// `links.previous_response`
        PreviousResponse = "links/previous_response",
        /// `links.conversation`
        Conversation = "links/conversation",
        /// What a disputant has to say.
        DisputeStatement = "dispute/statement",
        /// What a respondent has to say.
        ResponseStatement = "response/statement",
        /// The reasons for a resolution.
        ResolutionStatement = "resolution/statement",
        /// A resolution's own reference.
        ResolutionReference = "resolution/reference",
        /// A JSON object of what is right.
        CorrectionValues = "correction/values",
    }
}

impl Label {
    /// Whether the bytes are a body, which the opening leaves out.
    pub const fn is_body(self) -> bool {
        matches!(self, Self::Request | Self::Response | Self::Before(_) | Self::After(_))
    }

    /// Whether the bytes are not text, so that the opening carries them in base64.
    pub const fn is_binary(self) -> bool {
        matches!(
            self,
            Self::Member(MemberLabel::Text | MemberLabel::ToolCalls | MemberLabel::TokenIds)
                | Self::Evidence(..)
        )
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Response => f.write_str("response"),
            Self::Part(n) => write!(f, "part/{n}"),
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Member(member) => member.fmt(f),
            Self::Before(n) => write!(f, "transforms/{n}/before"),
            Self::After(n) => write!(f, "transforms/{n}/after"),
            Self::Evidence(kind, n) => write!(f, "{kind}/evidence/{n}"),
        }
    }
}

impl FromStr for Label {
    type Err = LabelError;

    /// Reads what `Display` prints, and nothing else.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let label = if let Some(n) = text.strip_prefix("part/") {
            n.parse().ok().map(Self::Part)
        } else if let Some(name) = text.strip_prefix("group/") {
            GroupName::from_code(name).map(Self::Group)
        } else if let Some(rest) = text.strip_prefix("transforms/") {
            match rest.split_once('/') {
                Some((n, "before")) => n.parse().ok().map(Self::Before),
                Some((n, "after")) => n.parse().ok().map(Self::After),
                _ => None,
            }
        } else if let Some((kind, n)) = text.split_once("/evidence/") {
            Evidenced::from_code(kind).zip(n.parse().ok()).map(|(kind, n)| Self::Evidence(kind, n))
        } else {
            match text {
                "request" => Some(Self::Request),
                "response" => Some(Self::Response),
                _ => MemberLabel::from_code(text).map(Self::Member),
            }
        };
        label.filter(|label| label.to_string() == text).ok_or(LabelError)
    }
}

/// A text that is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no label of a commitment")]
pub struct LabelError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_one_form() {
        let evidence = Evidenced::ALL.iter().map(|kind| Label::Evidence(*kind, 3));
        let members = MemberLabel::ALL.iter().copied().map(Label::Member);
        let groups = GroupName::ALL.iter().copied().map(Label::Group);
        let others = [
            Label::Request,
            Label::Response,
            Label::Part(0),
            Label::Part(42),
            Label::Before(1),
            Label::After(0),
        ];
        for label in members.chain(groups).chain(evidence).chain(others) {
            assert_eq!(label.to_string().parse(), Ok(label));
        }
        for text in
            ["", "part/", "part/01", "part/+1", "part/-1", "group/", "group/none", "content/text", "Request"]
        {
            assert_eq!(text.parse::<Label>(), Err(LabelError), "{text}");
        }
    }
}
