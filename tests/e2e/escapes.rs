//! A log that talks to terminals: whatever it says, no command passes on what a terminal would obey.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use counterfoil_tests::Issuing;

use crate::PROGRAMS;

const LOG_KEY: &str = "log.example/receipts+7155889b+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";

/// What it says, in JSON and plainly: clears the screen, in both forms, starts a line again, turns text around.
const JSON: &str =
    r#"{"type":"x","title":"\u001b[2J","status":400,"detail":"evil \u001b[2J\u009b31m\r\u202e\u0007 words"}"#;
const PLAIN: &str = "evil \x1b[2J\u{9b}31m\r\u{202e}\u{7} words\n";

/// Answers every request of a connection with that.
fn answer(stream: TcpStream, body: &str) -> std::io::Result<()> {
    let (mut reading, mut writing) = (BufReader::new(stream.try_clone()?), stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reading.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        reading.by_ref().take(length).read_to_end(&mut Vec::new())?;
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: ";
        write!(writing, "{head}{}\r\n\r\n{body}", body.len())?;
    }
}

/// An evil log; its URL. It goes on until the tests end.
fn evil_log(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, body));
        }
    });
    url
}

/// Each command that asks a log, against one that answers with what moves cursors and turns lines around.
#[test]
fn no_command_passes_it_on() {
    let home = tempfile::tempdir().unwrap();
    let (_, envelope) = Issuing::new("log.example/receipts", 1).issue();
    fs::write(home.path().join("e.json"), envelope).unwrap();
    let id = "0c4ff61cea50c28e8294f7c21221b63e92986068d590521e11fcf90bcbaf359d";
    let commands: [&[&str]; 9] = [
        &["get", id],
        &["prove", id],
        &["search", "--requested", "m-1"],
        &["standing", id],
        &["history", id],
        &["checkpoint"],
        &["append", "e.json"],
        &["monitor", "--once", "--state", "state"],
        &["load", "--fill", "1"],
    ];
    let mut quoted = 0;
    for (body, forms) in [(JSON, [&[][..], &["--json"]]), (PLAIN, [&[], &["--json"]])] {
        let url = evil_log(body);
        for (command, form) in commands.iter().flat_map(|command| forms.map(|form| (command, form))) {
            let ran = Command::new(PROGRAMS.client)
                .current_dir(home.path())
                .env("XDG_CONFIG_HOME", home.path().join("config"))
                .args([command, &["--url", &url, "--log-key", LOG_KEY][..], form].concat())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(!ran.status.success(), "{command:?} believes an evil log");
            for said in [ran.stdout, ran.stderr] {
                let said = String::from_utf8(said).expect("text");
                let is_obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
                assert!(!said.contains(is_obeyed), "{command:?} {form:?}: {said:?}");
                quoted += usize::from(said.contains("evil") && said.contains("[2J"));
            }
        }
    }
    assert!(quoted >= 4, "what it says is hardly ever shown: this shows nothing ({quoted})");
}
