//! Asking a person who would be unsure. Programs say everything by flags, and are told which flag they left out.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;
use counterfoil_receipt::Code;

use super::Terminal;

/// Reads a code, for a flag.
pub(super) fn code<T: Code>(text: &str) -> Result<T, String> {
    let found = T::LIST.iter().copied().find(|code| code.code() == text);
    found.ok_or_else(|| format!("it is one of: {}", codes::<T>()))
}

fn codes<T: Code>() -> String {
    T::LIST.iter().map(|code| code.code()).collect::<Vec<_>>().join(", ")
}

/// What was said, or else what a person chooses from a list.
pub(super) fn choose<T: Code>(
    said: Option<T>,
    flag: &str,
    question: &str,
    terminal: &Terminal,
) -> anyhow::Result<T> {
    match said {
        Some(said) => Ok(said),
        None => Ok(ask::<T>(flag, question, false, terminal)?[0]),
    }
}

/// As [`choose`], of one or several.
pub(super) fn choose_some<T: Code>(
    said: &[T],
    flag: &str,
    question: &str,
    terminal: &Terminal,
) -> anyhow::Result<Vec<T>> {
    if said.is_empty() { ask(flag, question, true, terminal) } else { Ok(said.to_vec()) }
}

/// Whether somebody sits there who can be asked.
fn is_watched(terminal: &Terminal) -> bool {
    !terminal.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask<T: Code>(flag: &str, question: &str, several: bool, terminal: &Terminal) -> anyhow::Result<Vec<T>> {
    if !is_watched(terminal) {
        bail!("say {flag} with one of: {}", codes::<T>());
    }
    terminal.note(question);
    for (n, code) in T::LIST.iter().enumerate() {
        terminal.note(format_args!("  {:>2}  {} ({})", n + 1, code.explained(), code.code()));
    }
    loop {
        let how = if several { "numbers, with spaces between" } else { "a number" };
        let answer = line(&format!("{how}, or nothing to stop: "))?;
        let chosen: Option<Vec<T>> = answer.split_whitespace().map(read).collect();
        match chosen {
            Some(chosen) if chosen.is_empty() => bail!("stopped; nothing was signed"),
            Some(chosen) if several || chosen.len() == 1 => return Ok(chosen),
            _ => terminal.note(format_args!("that is none of 1 to {}", T::LIST.len())),
        }
    }
}

fn read<T: Code>(word: &str) -> Option<T> {
    let number = word.parse::<usize>().ok().and_then(|number| T::LIST.get(number.checked_sub(1)?).copied());
    number.or_else(|| code(word).ok())
}

/// Asks before something that cannot be taken back; programs are taken to mean it.
pub(super) fn confirm(what: &str, terminal: &Terminal) -> anyhow::Result<()> {
    if !is_watched(terminal) {
        return Ok(());
    }
    terminal.note(what);
    let answer = line("It cannot be taken back. Go on? [y/N] ")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("stopped; nothing was signed") }
}

fn line(prompt: &str) -> anyhow::Result<String> {
    write!(io::stderr(), "{prompt}")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}
