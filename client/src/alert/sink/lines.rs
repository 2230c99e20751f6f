//! JSON lines, to a file or to standard output.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use super::{Message, TellError};

/// A file that lines are appended to. It is opened anew each time, so whoever rotates it may just move it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Standard output.
    Out,
    /// A file.
    File(PathBuf),
}

impl Lines {
    pub(super) fn tell(&self, messages: &[Message]) -> Result<(), TellError> {
        let mut text: String = messages.iter().flat_map(|message| [message.json.as_str(), "\n"]).collect();
        match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(|error| TellError::passing(format_args!("standard output: {error}")))
            }
            Self::File(path) => {
                let mut append = || {
                    let mut file = File::options().create(true).read(true).append(true).open(path)?;
                    if !ends_a_line(&mut file)? {
                        text.insert(0, '\n');
                    }
                    file.write_all(text.as_bytes())?;
                    file.sync_all()
                };
                let appended: io::Result<()> = append();
                appended.map_err(|error| TellError::passing(format_args!("{}: {error}", path.display())))
            }
        }
    }
}

/// Whether a crash has not left half a line at the end.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::message::Event;

    /// Half a line, left by a crash, does not swallow the next; a file that was moved away is begun anew.
    #[test]
    fn lines_stay_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.jsonl");
        let lines = Lines::File(path.clone());
        let message = |json: &str| Message {
            id: String::new(),
            event: Event::Test,
            facts: Vec::new(),
            json: json.to_owned(),
        };
        lines.tell(&[message("1"), message("2")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        std::fs::write(&path, "1\n{\"half").unwrap();
        lines.tell(&[message("3")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n{\"half\n3\n");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        lines.tell(&[message("4")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4\n");
        let nowhere = Lines::File(folder.path().join("none/alerts.jsonl"));
        assert!(nowhere.tell(&[message("5")]).is_err());
    }
}
