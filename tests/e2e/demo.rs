//! The README's first command, with the programs built for the tests.

use std::process::Command;

use crate::PROGRAMS;

/// The demo runs to its end; each of its steps checks its own exit code.
#[test]
fn the_demo_tells_its_story() {
    let output = Command::new(PROGRAMS.client).args(["demo", "--server", PROGRAMS.server]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    for said in [
        "16 proven, 0 known already, 0 refused",
        "yes: all that you asked for holds",
        "NO statement: entry and statement do not match",
        "FORK",
        "a fork was caught and proven",
    ] {
        assert!(out.contains(said), "{said}\nis not in\n{out}");
    }
}
