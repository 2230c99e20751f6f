//! Who may do what with which token: a table of roles and calls, tried cell by cell.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use counterfoil_receipt::SigningKey;
use counterfoil_tests::{Deployment, Http, Issuing, Reply, until};

use crate::PROGRAMS;

/// The columns of the table.
const ROLES: [&str; 7] = ["stranger", "append", "statements", "both", "expired", "revoked", "basic"];

/// What an answer is: its status, and whether it has statements (`+`) or has none where they could be (`-`).
type Cells = [&'static str; ROLES.len()];

/// Everybody.
const ALL: Cells = ["200"; ROLES.len()];

/// Appending one receipt, if a token is due for it.
const APPEND: Cells = ["401", "201", "403", "201", "401", "401", "401"];

/// Appending a batch.
const BATCH: Cells = ["401", "200", "403", "200", "401", "401", "401"];

/// What is made of statements, if a token is due for them.
const OF_STATEMENTS: Cells = ["401", "403", "200", "200", "401", "401", "401"];

/// Nobody, for it is elsewhere.
const NONE: Cells = ["404"; ROLES.len()];

/// What has statements among other things.
const WITHIN: Cells = ["200-", "200-", "200+", "200+", "401", "401", "200-"];

/// A log, tokens for all roles, and one receipt to ask for.
struct Stage {
    log: Deployment,
    /// What each role sends as a header, in the order of the columns.
    headers: Vec<String>,
    /// The lines of the tokens' file.
    lines: Vec<String>,
    issuing: Issuing,
    /// An envelope that nobody could append yet.
    refused: Option<String>,
    /// Index 1: its id, leaf and issuer as paths have them.
    receipt: [String; 3],
    /// Whether operators have an address of their own.
    has_admin: bool,
}

impl Stage {
    /// A log with these switches on, all at one address.
    fn new(origin: &str, switches: &[&str]) -> Self {
        Self::with(origin, switches, false)
    }

    fn with(origin: &str, switches: &[&str], has_admin: bool) -> Self {
        let mut log = Deployment::init(PROGRAMS, origin, &["--open"]);
        let (mut headers, mut lines) = (vec![String::new()], Vec::new());
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        for (role, scopes) in [
            ("append", "append"),
            ("statements", "statements"),
            ("both", "append,statements"),
            ("expired", "append,statements"),
        ] {
            let (token, line) = new_token(scopes, role);
            let end = line.split(' ').nth(2).unwrap();
            lines.push(if role == "expired" {
                line.replace(end, "2020-01-01T00:00:00Z")
            } else {
                line.clone()
            });
            headers.push(bearer(&token));
        }
        headers.push(bearer(&new_token("append,statements", "revoked").0));
        headers.push("Authorization: Basic Zm9vOmJhcg==\r\n".to_owned());
        fs::write(log.directory().join("tokens"), lines.join("\n")).unwrap();
        let config = log.directory().join("counterfoil.toml");
        let text = fs::read_to_string(&config).unwrap();
        let mut text = text.replace("[tokens]\n", "[tokens]\nfile = \"tokens\"\n");
        if has_admin {
            text = format!("admin = \"127.0.0.1:0\"\n{text}");
        }
        for switch in switches {
            let off = format!("{switch} = false");
            assert!(text.contains(&off), "{text}");
            text = text.replace(&off, &format!("{switch} = true"));
        }
        fs::write(&config, text).unwrap();
        log.up();
        let key = SigningKey::from_ed25519_seed(&[7; 32]);
        let issuer = key.public().as_str().replace('+', "-").replace('/', "_");
        let mut issuing = Issuing::with_key(&log.origin, 1, key);
        let (id, envelope) = issuing.issue();
        let appended = log.http().post_with("/v1/receipts", &headers[3], envelope.as_bytes()).unwrap();
        assert_eq!(appended.status, 201, "{}", appended.text());
        let leaf = appended.json()["leaf"].as_str().unwrap().to_owned();
        let stage = Self {
            log,
            headers,
            lines,
            issuing,
            refused: None,
            receipt: [id.to_string(), leaf, issuer],
            has_admin,
        };
        let indexed = || {
            let known = stage.log.http().get_with("/v1/overdue", &stage.headers[3]).unwrap();
            known.status == 200 && known.json()["complete"] == 2
        };
        until(indexed, "the index follows");
        stage
    }

    /// Tries every cell of the table; returns how many there were.
    fn tries(&mut self, append: Cells, batch: Cells, of_statements: Cells, within: Cells) -> usize {
        let [id, leaf, issuer] = self.receipt.clone();
        let gets = [
            ("/statement/000.p/2".to_owned(), of_statements),
            (format!("/v1/issuers/{issuer}"), of_statements),
            ("/v1/overdue".to_owned(), of_statements),
            ("/v1/receipts?outcome=complete".to_owned(), of_statements),
            (format!("/v1/receipts?requested=m-1&issuer={issuer}"), of_statements),
            (format!("/v1/receipts/{id}"), within),
            ("/v1/entries/1".to_owned(), within),
            (format!("/v1/leaves/{leaf}"), within),
            (format!("/v1/receipts?issuer={issuer}"), within),
            (format!("/v1/receipts/{id}/history"), within),
            ("/checkpoint".to_owned(), ALL),
            ("/tile/0/000.p/2".to_owned(), ALL),
            ("/tile/entries/000.p/2".to_owned(), ALL),
            (format!("/v1/proofs/inclusion?id={id}"), ALL),
            ("/v1/proofs/consistency?from=1&to=2".to_owned(), ALL),
            ("/openapi.json".to_owned(), ALL),
            ("/healthz".to_owned(), ALL),
            ("/readyz".to_owned(), ALL),
            ("/metrics".to_owned(), if self.has_admin { NONE } else { ALL }),
        ];
        let mut tried = 0;
        for (role, name) in ROLES.iter().enumerate() {
            let (mut http, header) = (self.log.http(), self.headers[role].clone());
            // First, while the log has two entries and no more.
            for (path, cells) in &gets {
                let reply = http.get_with(path, &header).unwrap();
                check(&format!("{name} on {path}"), &reply, cells[role]);
                tried += 1;
                if self.has_admin {
                    let is_there = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
                    let reply = Http::connect(self.log.admin()).unwrap().get_with(path, &header).unwrap();
                    check(
                        &format!("{name} on operators' {path}"),
                        &reply,
                        if is_there { "200" } else { "404" },
                    );
                    tried += 1;
                }
            }
            for path in ["/v1/receipts", "/v1/receipts/batch"].iter().filter(|_| self.has_admin) {
                let mut http = Http::connect(self.log.admin()).unwrap();
                let reply = http.post_with(path, &header, self.issuing.issue().1.as_bytes()).unwrap();
                check(&format!("{name} on operators' {path}"), &reply, "404");
                tried += 1;
            }
            tried += self.appends(&mut http, role, &append, &batch);
        }
        tried
    }

    fn appends(&mut self, http: &mut Http, role: usize, append: &Cells, batch: &Cells) -> usize {
        let before = size(&self.log);
        for (path, cells) in [("/v1/receipts", append), ("/v1/receipts/batch", batch)] {
            // What one may not append the next one tries to.
            let envelope = self.refused.take().unwrap_or_else(|| self.issuing.issue().1);
            let reply = http.post_with(path, &self.headers[role], envelope.as_bytes()).unwrap();
            check(&format!("{} on {path}", ROLES[role]), &reply, cells[role]);
            if reply.status >= 300 {
                self.refused = Some(envelope);
            }
        }
        let let_in = [append, batch].iter().filter(|cells| cells[role].starts_with('2')).count();
        until(|| size(&self.log) == before + let_in as u64, "what is let in is there, and nothing else");
        2
    }
}

/// A new token and its line.
fn new_token(scopes: &str, name: &str) -> (String, String) {
    let made = Command::new(PROGRAMS.server)
        .args(["token", "new", "--scope", scopes, "--days", "90", "--name", name])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = String::from_utf8(made.stdout).unwrap();
    let token = text.lines().find_map(|line| line.strip_prefix("token ")).unwrap().trim().to_owned();
    let line = text.lines().find(|line| line.starts_with("sha256:")).unwrap().to_owned();
    assert!(line.ends_with(&format!(" {name}")) && !line.contains(&token), "{line}");
    (token, line)
}

fn size(log: &Deployment) -> u64 {
    let checkpoint = log.http().get("/checkpoint").unwrap();
    checkpoint.text().lines().nth(1).unwrap().parse().unwrap()
}

/// Holds an answer against its cell.
fn check(what: &str, reply: &Reply, cell: &str) {
    let status: u16 = cell[..3].parse().unwrap();
    assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
    assert!(reply.header("x-request-id").is_some_and(|id| id.len() == 16), "{what}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{what}");
    let policy = reply.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
    // What may be kept on the way is public for ever, or the description of all this.
    let is_kept = reply.header("cache-control").unwrap_or_default() != "no-store";
    assert_eq!(
        is_kept,
        status == 200 && ["/tile/", "openapi"].iter().any(|part| what.contains(part)),
        "{what}"
    );
    let challenge = reply.header("www-authenticate");
    match status {
        401 | 403 => {
            assert!(
                challenge.is_some_and(|challenge| challenge.starts_with("Bearer ")),
                "{what}: {challenge:?}"
            );
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
            let class = if status == 401 { "token" } else { "scope" };
            let kind = reply.json()["type"].as_str().unwrap().to_owned();
            assert_eq!(kind, format!("https://counterfoil.dev/problems/{class}"), "{what}");
        }
        _ => assert_eq!(challenge, None, "{what}"),
    }
    if let Some(is_shown) = cell.get(3..).filter(|sign| !sign.is_empty()).map(|sign| sign == "+") {
        let body = reply.json();
        let records = body["records"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        assert!(!records.is_empty(), "{what}");
        for record in &records {
            let has = record.get("statement").map(serde_json::Value::is_string);
            assert_eq!(has, Some(is_shown), "{what}: {body}");
        }
        if let Some(standing) = body.get("standing") {
            assert_eq!(standing.is_object(), is_shown, "{what}: {body}");
        }
    }
}

/// With both switches on each role does its own and no other, and strangers read all that is public.
#[test]
fn each_role_does_its_own() {
    let mut stage = Stage::new("log.example/roles", &["require_for_append", "withhold_statements"]);
    let tried = stage.tries(APPEND, BATCH, OF_STATEMENTS, WITHIN);
    assert_eq!(tried, 21 * ROLES.len());
    let (told, tokens) =
        (stage.log.server_log(), fs::read_to_string(stage.log.directory().join("tokens")).unwrap());
    for header in &stage.headers[1..=5] {
        let token = header.trim().rsplit(' ').next().unwrap();
        assert!(!told.contains(token) && !tokens.contains(token), "a token is kept");
    }
    let named = stage.log.http().get_with("/nowhere", "X-Request-Id: mine-1\r\n").unwrap();
    assert_eq!((named.status, named.header("x-request-id")), (404, Some("mine-1")));
    stage.log.down();
}

/// With an address for operators each role does its own at either address and no other, and what is theirs is nowhere else.
#[test]
fn operators_have_an_address_of_their_own() {
    let switches = ["require_for_append", "withhold_statements"];
    let mut stage = Stage::with("log.example/roles-admin", &switches, true);
    assert_ne!(stage.log.address(), stage.log.admin());
    let tried = stage.tries(APPEND, BATCH, OF_STATEMENTS, WITHIN);
    assert_eq!(tried, 2 * 21 * ROLES.len());
    stage.log.down();
}

/// Where no token is due, none is looked at, not even a bad one.
#[test]
fn switches_are_apart() {
    let (one, whole) = (["201"; ROLES.len()], ["200+"; ROLES.len()]);
    Stage::new("log.example/roles-none", &[]).tries(one, ALL, ALL, whole);
    Stage::new("log.example/roles-append", &["require_for_append"]).tries(APPEND, BATCH, ALL, whole);
    Stage::new("log.example/roles-read", &["withhold_statements"]).tries(one, ALL, OF_STATEMENTS, WITHIN);
}

/// Tokens come and go without a restart; a file that cannot be read lets nobody in and nobody out.
#[test]
fn tokens_are_read_again() {
    let mut stage = Stage::new("log.example/roles-again", &["withhold_statements"]);
    let path = stage.log.directory().join("tokens");
    let status = |stage: &Stage, role: usize| {
        let reply = stage.log.http().get_with("/statement/000.p/2", &stage.headers[role]);
        reply.unwrap().status
    };
    assert_eq!([2, 3].map(|role| status(&stage, role)), [200, 200]);
    fs::write(&path, format!("# without\n{}\n", stage.lines[2])).unwrap();
    stage.log.hang_up();
    until(|| status(&stage, 2) == 401, "the token is taken back");
    assert_eq!(status(&stage, 3), 200);

    fs::write(&path, format!("{}\nrubbish\n", stage.lines[1])).unwrap();
    stage.log.hang_up();
    until(
        || stage.log.server_log().contains("the tokens were not read again; the old ones stay"),
        "a warning",
    );
    assert!(stage.log.server_log().contains("tokens, line 2: "), "{}", stage.log.server_log());
    assert_eq!([2, 3].map(|role| status(&stage, role)), [401, 200]);

    fs::write(&path, stage.lines[1].clone()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    stage.log.hang_up();
    until(|| stage.log.server_log().contains("others can change it"), "a warning");
    assert_eq!([2, 3].map(|role| status(&stage, role)), [401, 200]);

    stage.log.down();
    let refused = stage.log.server_run(&["run"]).exits(2);
    assert!(refused.err.contains("others can change it"), "{}", refused.err);
}

/// The client shows its token from a file that nobody else can read; without it a log that asks for one is not heard, which says
/// nothing of the record.
#[test]
fn the_client_shows_its_token() {
    let mut stage = Stage::new("log.example/roles-client", &["require_for_append", "withhold_statements"]);
    let log = &stage.log;
    let file = |name: &str, role: usize| -> PathBuf {
        let path = log.home().join(name);
        let token = stage.headers[role].trim().rsplit(' ').next().unwrap();
        fs::write(&path, format!("{token}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (both, scope) = (file("both", 3), file("scope", 2));
    let (url, both, scope) = (log.url(), both.to_str().unwrap(), scope.to_str().unwrap());
    let add = |name| ["log", "add", name, &url, &log.log_key, "--clock", &log.clock_key];
    log.client(&add("without")).exits(0);
    log.client(&[&add("with")[..], &["--token-file", both]].concat()).exits(0);
    fs::write(log.home().join("next.json"), stage.issuing.issue().1).unwrap();
    let append = |more: &[&str]| log.client(&[&["append", "next.json"], more].concat());
    let refused = append(&["--log", "without"]).exits(2);
    assert!(refused.err.contains("401") && refused.err.contains("a token"), "{}", refused.err);
    let refused = append(&["--log", "without", "--token-file", scope]).exits(2);
    assert!(refused.err.contains("403") && refused.err.contains("scope append"), "{}", refused.err);
    assert_eq!(size(log), 2);
    append(&["--log", "with"]).exits(0);
    assert_eq!(size(log), 3);
    fs::set_permissions(both, fs::Permissions::from_mode(0o644)).unwrap();
    append(&["--log", "with"]).exits(2);
}
