//! JSON lines, to a file or to standard output.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    time::Duration,
};

use tokio::time::timeout;

use super::{Message, TellError};

/// How long one writing may take: a pipe that nobody reads from, or a disk that does not answer, is a sink that is out.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that lines are appended to. It is opened anew each time, so whoever rotates it may just move it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Standard output.
    Out,
    /// A file.
    File(PathBuf),
}

impl Lines {
    pub(super) async fn tell(&self, messages: &[Message]) -> Result<(), TellError> {
        let text: String = messages.iter().flat_map(|message| [message.json.as_str(), "\n"]).collect();
        let (lines, name) = (self.clone(), self.name());
        let written = tokio::task::spawn_blocking(move || lines.write(text));
        let failed = |reason: &dyn std::fmt::Display| TellError::passing(format_args!("{name}: {reason}"));
        match timeout(PATIENCE, written).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(failed(&error)),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&"it does not take what is written")),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Out => "standard output".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn write(&self, mut text: String) -> io::Result<()> {
        match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()
            }
            Self::File(path) => {
                let mut file = File::options().create(true).read(true).append(true).open(path)?;
                if !ends_a_line(&mut file)? {
                    text.insert(0, '\n');
                }
                file.write_all(text.as_bytes())?;
                file.sync_all()
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
    #[tokio::test]
    async fn lines_stay_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.jsonl");
        let lines = Lines::File(path.clone());
        let message = |json: &str| Message {
            id: String::new(),
            event: Event::Test,
            facts: Vec::new(),
            json: json.to_owned(),
        };
        lines.tell(&[message("1"), message("2")]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        std::fs::write(&path, "1\n{\"half").unwrap();
        lines.tell(&[message("3")]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n{\"half\n3\n");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        lines.tell(&[message("4")]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4\n");
        let nowhere = Lines::File(folder.path().join("none/alerts.jsonl"));
        assert!(nowhere.tell(&[message("5")]).await.is_err());
    }
}
