//! What is known to be good: issuers, records and leaves that rules no longer alert to.

use std::collections::HashSet;

use counterfoil_merkle::Hash;
use counterfoil_receipt::{Id, entry::Entry, key::PublicKey};
use serde::Deserialize;

use super::RuleError;

/// One `[[known_good]]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownGoodTable {
    /// For the reader of the file.
    #[serde(default)]
    pub note: String,
    /// The rules that no longer alert; all, if there is none.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Issuers' keys: base64 of the SPKI.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Ids of records.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Leaf hashes of records.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// The lists, read.
#[derive(Clone, Debug, Default)]
pub struct KnownGood {
    lists: Vec<List>,
}

#[derive(Clone, Debug)]
struct List {
    rules: Vec<String>,
    issuers: HashSet<PublicKey>,
    ids: HashSet<Id>,
    leaves: HashSet<Hash>,
}

impl KnownGood {
    /// Reads the tables. Each must name something, and only rules that there are.
    pub fn read(tables: &[KnownGoodTable], rules: &[&str]) -> Result<Self, RuleError> {
        let mut lists = Vec::new();
        for (number, table) in (1..).zip(tables) {
            let error = |field, reason: String| RuleError::KnownGood { number, field, reason };
            if let Some(rule) = table.rules.iter().find(|rule| !rules.contains(&rule.as_str())) {
                return Err(error("rules", format!("no rule is called {rule:?}")));
            }
            if table.issuers.is_empty() && table.ids.is_empty() && table.leaves.is_empty() {
                return Err(error("issuers", "name at least one of issuers, ids and leaves".to_owned()));
            }
            lists.push(List {
                rules: table.rules.clone(),
                issuers: parsed(&table.issuers).map_err(|reason| error("issuers", reason))?,
                ids: parsed(&table.ids).map_err(|reason| error("ids", reason))?,
                leaves: parsed(&table.leaves).map_err(|reason| error("leaves", reason))?,
            });
        }
        Ok(Self { lists })
    }

    /// Whether a key is known to be good for that rule; without a rule, for all.
    pub fn covers_issuer(&self, key: &PublicKey, rule: Option<&str>) -> bool {
        self.lists_for(rule).any(|list| list.issuers.contains(key))
    }

    fn lists_for(&self, rule: Option<&str>) -> impl Iterator<Item = &List> {
        let names = move |list: &&List| rule.is_some_and(|rule| list.rules.iter().any(|name| name == rule));
        self.lists.iter().filter(move |list| list.rules.is_empty() || names(list))
    }

    /// Whether an entry is known to be good for that rule; without a rule, for all.
    pub fn covers(&self, entry: &Entry, rule: Option<&str>) -> bool {
        self.lists_for(rule).any(|list| {
            list.issuers.contains(&entry.issuer)
                || list.ids.contains(&entry.id)
                || (!list.leaves.is_empty() && list.leaves.contains(&entry.leaf_hash()))
        })
    }
}

fn parsed<T>(texts: &[String]) -> Result<HashSet<T>, String>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Eq + std::hash::Hash,
{
    texts.iter().map(|text| text.parse().map_err(|error| format!("{text:?}: {error}"))).collect()
}
