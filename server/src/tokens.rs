//! Bearer tokens: a file has their digests, scopes and ends, one a line; the tokens themselves only their holders have.
//!
//! ```text
//! # digest, scopes, end, name
//! sha256:<64 hex digits> append,statements 2027-02-19T20:18:15Z gateway
//! ```

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use counterfoil_merkle::Hash;
use counterfoil_receipt::Timestamp;
use subtle::ConstantTimeEq as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

/// Most tokens of a file: every request that shows one is compared with all of them.
pub const TOKENS_MAX: usize = 1000;

/// Most bytes of a file of tokens.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What every token begins with, so that a leaked one is found by those who look for secrets.
const PREFIX: &str = "counterfoil_";

/// What every digest begins with.
const DIGEST: &str = "sha256:";

/// Most bytes of a token's name.
const NAME_BYTES_MAX: usize = 64;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Appending records.
    Append,
    /// Reading statements, and what is computed from them.
    Statements,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Append, Self::Statements];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Statements => "statements",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(LineError::Scope)
    }
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    digest: Hash,
    scopes: BTreeSet<Scope>,
    expires: Timestamp,
}

impl FromStr for Token {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let parts: Vec<_> = line.split_ascii_whitespace().collect();
        let [digest, scopes, expires, name] = parts[..] else { return Err(LineError::Parts) };
        let digest = digest.strip_prefix(DIGEST).and_then(|hex| hex.parse().ok()).ok_or(LineError::Digest)?;
        let scopes = scopes.split(',').map(Scope::from_str).collect::<Result<_, _>>()?;
        check_name(name)?;
        Ok(Self { digest, scopes, expires: moment(expires).ok_or(LineError::End)? })
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let seconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
    Timestamp::from_millis(u64::try_from(seconds).ok()?.checked_mul(1000)?)
}

fn check_name(name: &str) -> Result<(), LineError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    let good = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed);
    if good { Ok(()) } else { Err(LineError::Name) }
}

/// The tokens of a file.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    tokens: Vec<Token>,
}

impl Tokens {
    /// Reads a file that nobody but its owner can change.
    ///
    /// # Errors
    /// [`TokensError`], with the line that is wrong.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let failed = |source| TokensError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.mode() & 0o022 != 0 {
            return Err(TokensError::Mode { path: path.to_owned(), mode: metadata.mode() & 0o777 });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(TokensError::TooMany { path: path.to_owned() });
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, TokensError> {
        let (mut tokens, mut digests) = (Vec::new(), BTreeSet::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| TokensError::Line { path: path.to_owned(), line: number, reason };
            let token: Token = line.parse().map_err(wrong)?;
            if !digests.insert(*token.digest.as_bytes()) {
                return Err(wrong(LineError::Twice));
            }
            tokens.push(token);
        }
        if tokens.len() > TOKENS_MAX {
            return Err(TokensError::TooMany { path: path.to_owned() });
        }
        Ok(Self { tokens })
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Whether a token is good for something now. Takes as long for a token that is nearly right as for any other.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, shown: &str, needed: Scope, now: Timestamp) -> Result<(), Denied> {
        let digest = Hash::of(&[shown.as_bytes()]);
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.digest.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(token);
            }
        }
        match found {
            None => Err(Denied::Unknown),
            Some(token) if token.expires <= now => Err(Denied::Expired),
            Some(token) if !token.scopes.contains(&needed) => Err(Denied::Scope { needed }),
            Some(_) => Ok(()),
        }
    }
}

/// A token that was just made.
pub struct NewToken {
    /// What its holder shows.
    pub token: Zeroizing<String>,
    /// The line for the file of tokens.
    pub line: String,
}

/// Makes a token of 256 random bits, which ends after `lasts`. Without a name it is called after its digest.
///
/// # Errors
/// If the system gives no random bytes, or name, scopes or end are none.
pub fn make(
    scopes: &BTreeSet<Scope>,
    name: Option<&str>,
    lasts: Duration,
    now: Timestamp,
) -> Result<NewToken, MakeError> {
    name.map_or(Ok(()), check_name)?;
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(io::Error::other)?;
    let token = Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(BASE64URL.encode(secret.as_slice()))));
    let digest = Hash::of(&[token.as_bytes()]).to_string();
    let seconds = (now.millis() / 1000).checked_add(lasts.as_secs()).and_then(|s| i64::try_from(s).ok());
    let expires = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let expires = expires.and_then(|expires| expires.format(&Rfc3339).ok()).ok_or(LineError::End)?;
    let scopes = scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
    let name = name.map_or_else(|| format!("token-{}", &digest[..8]), str::to_owned);
    let line = format!("{DIGEST}{digest} {scopes} {expires} {name}");
    line.parse::<Token>()?;
    Ok(NewToken { token, line })
}

/// Why a caller may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It shows no token.
    #[error("a token with the scope {needed} is due, as \"Authorization: Bearer TOKEN\"")]
    Missing {
        /// What the token must be good for.
        needed: Scope,
    },
    /// Nobody gave it that token, or it was taken back.
    #[error("the token is not one of this log")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is good for something else.
    #[error("the token has not the scope {needed}")]
    Scope {
        /// What the token must be good for.
        needed: Scope,
    },
}

/// What is wrong with a line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Not four parts.
    #[error("digest, scopes, end and name are due, with spaces between")]
    Parts,
    /// No digest.
    #[error("a digest is {DIGEST} and 64 lower-case hex digits")]
    Digest,
    /// No scope.
    #[error("scopes are append and statements, with a comma between")]
    Scope,
    /// No moment.
    #[error("an end is a time such as 2027-02-19T20:18:15Z")]
    End,
    /// No name.
    #[error("a name has 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens, underscores and @")]
    Name,
    /// The digest of a line before.
    #[error("this token has a line already")]
    Twice,
}

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// Reading failed.
    #[error("tokens.file: {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could let themselves in.
    #[error("tokens.file: {} has mode {mode:04o}: others can change it; mend with `chmod go-w {}`", path.display(), path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// More than are compared.
    #[error("tokens.file: {}: at most {TOKENS_MAX} tokens and {FILE_BYTES_MAX} bytes", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
    },
    /// A line that is none.
    #[error("tokens.file: {}, line {line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        reason: LineError,
    },
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The system gives no random bytes.
    #[error("random bytes: {0}")]
    Random(#[from] io::Error),
    /// Its line would not be read.
    #[error(transparent)]
    Line(#[from] LineError),
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const NOW: u64 = 1_763_712_345_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn parse(text: &str) -> Result<Tokens, TokensError> {
        Tokens::parse(text, Path::new("tokens"))
    }

    /// A token is good for its scopes until its end, and no other text is good for anything.
    #[test]
    fn a_token_is_good_for_its_scopes_until_its_end() {
        let append = make(&[Scope::Append].into(), Some("gateway"), DAY, at(NOW)).unwrap();
        let both = make(&Scope::ALL.into(), None, DAY, at(NOW)).unwrap();
        assert!(append.line.ends_with(" append 2025-11-22T08:05:45Z gateway"), "{}", append.line);
        assert!(both.line.contains(" append,statements ") && !both.line.contains(&**both.token));
        let tokens = parse(&format!("# ours\n\n{}\n  {}  \n", append.line, both.line)).unwrap();
        assert_eq!(tokens.count(), 2);
        let last = at(NOW + 24 * 3600 * 1000 - 1);
        let judge = |token: &str, scope, now| tokens.judge(token, scope, now);
        for scope in Scope::ALL {
            assert_eq!(judge(&both.token, scope, last), Ok(()));
            assert_eq!(judge(&both.token, scope, at(NOW + 24 * 3600 * 1000)), Err(Denied::Expired));
            for other in ["", PREFIX, &both.token[1..], &format!("{}x", *both.token), &both.line] {
                assert_eq!(judge(other, scope, last), Err(Denied::Unknown), "{other}");
            }
        }
        assert_eq!(judge(&append.token, Scope::Append, last), Ok(()));
        let needed = Scope::Statements;
        assert_eq!(judge(&append.token, needed, last), Err(Denied::Scope { needed }));
        assert_eq!(Tokens::default().judge(&append.token, needed, last), Err(Denied::Unknown));
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let new = || make(&[Scope::Append].into(), None, DAY, at(NOW)).unwrap();
        assert_ne!(*new().token, *new().token);
        let name =
            |name| make(&[Scope::Append].into(), Some(name), DAY, at(NOW)).err().map(|e| e.to_string());
        assert!(name("two words").unwrap().contains("a name has"));
        assert!(make(&BTreeSet::new(), None, DAY, at(NOW)).is_err(), "good for nothing");
        assert!(make(&[Scope::Append].into(), None, Duration::MAX, at(NOW)).is_err(), "never ends");
    }

    #[test]
    fn wrong_lines_are_named() {
        let good = make(&[Scope::Append].into(), Some("a"), DAY, at(NOW)).unwrap().line;
        for (line, message) in [
            (good.clone() + " more", "line 2: digest, scopes, end and name are due"),
            (good.replace("sha256:", ""), "a digest is sha256:"),
            (good.replace("sha256:", "sha256:0"), "a digest is sha256:"),
            (good.replace(" append ", " admin "), "scopes are append and statements"),
            (good.replace("T08", "T28"), "an end is a time"),
            (good.replace(" a", " ä"), "scopes are"),
            (good.clone(), "this token has a line already"),
        ] {
            let error = parse(&format!("{good}\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("tokens, line 2: ") && error.contains(message), "{error}");
        }
        let line = |n: usize| good.replace(&good[7..15], &format!("{n:08x}")) + "\n";
        let many = (0..=TOKENS_MAX).map(line).collect::<String>();
        assert!(matches!(parse(&many), Err(TokensError::TooMany { .. })));
    }

    /// Who can write into the file can let anybody in.
    #[test]
    fn a_file_that_others_can_change_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        fs::write(&path, "# none\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Tokens::read(&path).unwrap().count(), 0);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        let error = Tokens::read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0664") && error.contains("chmod go-w"), "{error}");
    }
}
