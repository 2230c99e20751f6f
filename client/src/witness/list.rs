//! Lists of logs as the public witness network publishes them (transparency-dev/witness-network, log-list-format.md).
//!
//! After the line `logs/v0`, each log has the lines `vkey`, `origin` (if its key has another name), `qpd` and `contact`,
//! in this order. Empty lines, and lines that begin with `#`, mean nothing.

use counterfoil_merkle::key::{KeyError, VerifierKey};

use super::roster::{RosterError, WatchedLog};

/// The longest list that is read: room for some 100,000 logs.
pub const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

const HEADER: &str = "logs/v0";

/// Reads a list.
pub fn parse(text: &str) -> Result<Vec<WatchedLog>, ListError> {
    let meaningful = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    let lines: Vec<_> = text.lines().enumerate().filter(meaningful).collect();
    let mut lines = Lines { rest: &lines, number: 1 };
    if lines.next() != Some(HEADER) {
        return Err(lines.error(Reason::Header));
    }
    let mut logs = Vec::new();
    while !lines.rest.is_empty() {
        logs.push(lines.log()?);
    }
    Ok(logs)
}

/// The lines that mean something, with their numbers from 0.
struct Lines<'a> {
    rest: &'a [(usize, &'a str)],
    /// Number of the line that was read last, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let ((index, line), rest) = self.rest.split_first()?;
        (self.rest, self.number) = (rest, index + 1);
        Some(line)
    }

    fn log(&mut self) -> Result<WatchedLog, ListError> {
        let key = self.value("vkey")?;
        let key: VerifierKey = key.parse().map_err(|error| self.error(Reason::Key(error)))?;
        let named = self.rest.first().is_some_and(|(_, line)| line.starts_with("origin "));
        let origin = if named { self.value("origin")? } else { key.name().as_str() }.to_owned();
        let per_day = self.value("qpd")?;
        let in_range = |number: &u32| (1..1 << 31).contains(number) && number.to_string() == per_day;
        let per_day = per_day.parse().ok().filter(in_range).ok_or_else(|| self.error(Reason::PerDay))?;
        self.value("contact")?;
        WatchedLog::new(&origin, vec![key], per_day).map_err(|error| self.error(Reason::Log(error)))
    }

    fn value(&mut self, keyword: &'static str) -> Result<&'a str, ListError> {
        let value = self.next().and_then(|line| line.strip_prefix(keyword)?.strip_prefix(' '));
        value.ok_or_else(|| self.error(Reason::Expected { keyword }))
    }

    const fn error(&self, reason: Reason) -> ListError {
        ListError { line: self.number, reason }
    }
}

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ListError {
    /// Which line, from 1; the last one if there are too few.
    pub line: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The first line is another.
    #[error("a list of logs begins with {HEADER:?}")]
    Header,
    /// Another line, or none.
    #[error("\"{keyword} …\" should be here")]
    Expected {
        /// How the line begins that should be there.
        keyword: &'static str,
    },
    /// Not a key.
    #[error(transparent)]
    Key(KeyError),
    /// Not a number of requests.
    #[error("requests a day are a decimal number from 1 to 2^31 - 1")]
    PerDay,
    /// Not a log.
    #[error(transparent)]
    Log(RosterError),
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::key::Algorithm;

    use super::*;
    use crate::testlog::signer;

    /// Laid out as the format's own example, with keys of ours.
    fn list() -> String {
        let [foo, bar] = ["tlog.foo.org", "bar.org/tlog"].map(|name| signer(name, Algorithm::Ed25519));
        format!(
            "#\n# List: 10qps-100klogs\n#\nlogs/v0\n\n# foo's log\nvkey {}\nqpd 86400\ncontact https://tlog.foo.org/contact\n\
             \n# bar's log\nvkey {}\norigin something else\nqpd 24\ncontact sysadmin (at) bar.org\n",
            foo.public(),
            bar.public()
        )
    }

    #[test]
    fn a_list_is_read() {
        let logs = parse(&list()).unwrap();
        let read: Vec<_> = logs.iter().map(|log| (log.origin().as_str(), log.per_day())).collect();
        assert_eq!(read, [("tlog.foo.org", 86400), ("something else", 24)]);
        assert_eq!(logs[1].keys()[0].name().as_str(), "bar.org/tlog");
        assert_eq!(parse("logs/v0\n"), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_are_named_by_their_line() {
        let cosigner = signer("tlog.foo.org", Algorithm::CosignatureV1);
        let foo = signer("tlog.foo.org", Algorithm::Ed25519);
        for (from, to, line, reason) in [
            ("logs/v0\n", "logs/v1\n", 4, "begins with"),
            ("qpd 86400\n", "", 8, "\"qpd …\""),
            ("qpd 86400", "qpd 0", 8, "from 1 to"),
            ("qpd 86400", "qpd 2147483648", 8, "from 1 to"),
            ("qpd 86400", "qpd 086400", 8, "from 1 to"),
            ("qpd 24\ncontact", "contact", 14, "\"qpd …\""),
            ("contact sysadmin (at) bar.org\n", "", 14, "\"contact …\""),
            ("qpd 24", "bastion none\nqpd 24", 14, "\"qpd …\""),
            ("vkey tlog", "vkey tlag", 7, "the key's id is"),
            (&foo.public().to_string(), &cosigner.public().to_string(), 9, "0x01"),
        ] {
            let error = parse(&list().replacen(from, to, 1)).unwrap_err();
            assert!(error.line == line && error.to_string().contains(reason), "{from:?}: {error}");
        }
        assert_eq!(parse("").unwrap_err().line, 1);
    }
}
