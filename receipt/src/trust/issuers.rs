//! Names for issuers' keys: the `[[issuer]]` tables of a trust file, and of a server's issuer file.

use std::collections::{HashMap, hash_map};

use serde::Deserialize;
use toml::value::{Datetime, Offset};

use super::{TRUST_BYTES_MAX, TrustError};
use crate::{Timestamp, key::PublicKey, statement::key::Role};

/// The longest name.
pub(super) const NAME_BYTES_MAX: usize = 256;

const DAY_MS: u64 = 86_400_000;

/// Issuers by key. One key has one name; one name may have several keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuers {
    by_key: HashMap<PublicKey, NamedIssuer>,
}

/// A name for a key, and when it was the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedIssuer {
    name: String,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerFile {
    #[serde(default)]
    issuer: Vec<IssuerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerTable {
    name: String,
    key: String,
    not_before: Option<Datetime>,
    not_after: Option<Datetime>,
    #[serde(default)]
    roles: Vec<RoleCode>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RoleCode(Role);

impl TryFrom<String> for RoleCode {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        let codes = || Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        Role::from_code(&code).map(Self).ok_or_else(|| format!("role {code:?} is none of {}", codes()))
    }
}

impl Issuers {
    /// Reads a file of `[[issuer]]` tables and nothing else.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if text.len() > TRUST_BYTES_MAX {
            return Err(TrustError::TooLong { got: text.len() });
        }
        let file: IssuerFile = toml::from_str(text)?;
        Self::from_tables(file.issuer)
    }

    pub(super) fn from_tables(tables: Vec<IssuerTable>) -> Result<Self, TrustError> {
        let mut by_key = HashMap::new();
        for (index, table) in tables.into_iter().enumerate() {
            let (key, named) = table.read(index + 1)?;
            match by_key.entry(key) {
                hash_map::Entry::Vacant(place) => place.insert(named),
                hash_map::Entry::Occupied(taken) => {
                    let first: &NamedIssuer = taken.get();
                    return Err(TrustError::SameKey { first: first.name.clone(), second: named.name });
                }
            };
        }
        Ok(Self { by_key })
    }

    /// The name for a key.
    pub fn find(&self, key: &PublicKey) -> Option<&NamedIssuer> {
        self.by_key.get(key)
    }

    /// How many keys have a name.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key has a name.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl NamedIssuer {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key is trusted for; nothing in particular if empty.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Whether the key is trusted in that role.
    pub fn may_act_as(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// The first moment at which the key was this issuer's.
    pub const fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// The last one.
    pub const fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Whether the key was this issuer's at that moment.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before.is_none_or(|first| first <= at) && self.not_after.is_none_or(|last| at <= last)
    }
}

impl IssuerTable {
    fn read(self, number: usize) -> Result<(PublicKey, NamedIssuer), TrustError> {
        let Self { name, key, not_before, not_after, roles } = self;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(TrustError::Name { number });
        }
        let key = key.parse().map_err(|reason| TrustError::Key { name: name.clone(), reason })?;
        let moment = |member, value: Option<Datetime>, rest_of_day| {
            let read = |value| {
                moment(value, rest_of_day).ok_or_else(|| TrustError::Moment { name: name.clone(), member })
            };
            value.map(read).transpose()
        };
        let not_before = moment("not_before", not_before, 0)?;
        let not_after = moment("not_after", not_after, DAY_MS - 1)?;
        if not_before.zip(not_after).is_some_and(|(first, last)| last < first) {
            return Err(TrustError::NeverValid { name });
        }
        let roles = roles.into_iter().map(|role| role.0).collect();
        Ok((key, NamedIssuer { name, not_before, not_after, roles }))
    }
}

/// A date with its offset as a moment; a date alone is midnight UTC and `rest_of_day` more.
fn moment(value: Datetime, rest_of_day: u64) -> Option<Timestamp> {
    let date = value.date?;
    let midnight = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day))
        .checked_mul(i64::try_from(DAY_MS).ok()?)?;
    let ms = match (value.time, value.offset) {
        (None, None) => midnight.checked_add_unsigned(rest_of_day)?,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            let seconds = i64::from(time.hour) * 3600
                + i64::from(time.minute) * 60
                + i64::from(time.second.unwrap_or(0))
                - minutes * 60;
            midnight + seconds * 1000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000)
        }
        _ => return None,
    };
    Timestamp::from_millis(u64::try_from(ms).ok()?)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years begin in March, so that leap days end them.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
