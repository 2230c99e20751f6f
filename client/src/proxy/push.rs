//! Openings and claim keys, handed to the operator: into a directory, to a program, or both.

use std::{io::Write as _, path::PathBuf, time::Duration};

use super::{lookup, spool::record::Spooled};
use crate::{
    file::{self, Access, FileError},
    program,
};

/// Where openings and claim keys go.
#[derive(Clone, Debug)]
pub struct Push {
    /// A directory.
    pub folder: Option<PathBuf>,
    /// A program and its arguments; none if empty.
    pub command: Vec<String>,
    /// How long the program may take.
    pub timeout: Duration,
    /// Where its file is put meanwhile.
    pub scratch: PathBuf,
}

impl Push {
    /// Hands over what belongs to one exchange. Doing it again does no harm.
    pub async fn push(&self, spooled: &Spooled) -> Result<(), PushError> {
        if let Some(folder) = self.folder.clone() {
            let spooled = spooled.clone();
            let written = tokio::task::spawn_blocking(move || into(&folder, &spooled)).await;
            written.map_err(|_| PushError::Broken)??;
        }
        if let Some((program, arguments)) = self.command.split_first() {
            self.start(program, arguments, spooled).await?;
        }
        Ok(())
    }

    async fn start(&self, program: &str, arguments: &[String], spooled: &Spooled) -> Result<(), PushError> {
        let exchange = lookup::name(&spooled.exchange);
        let claim = spooled.claim.as_deref().map_or("null", String::as_str);
        let scratch = || -> std::io::Result<tempfile::NamedTempFile> {
            // Nobody else can read it, and it is removed when dropped.
            let mut file =
                tempfile::Builder::new().prefix("push-").suffix(".json").tempfile_in(&self.scratch)?;
            let (id, openings) = (spooled.id, &*spooled.openings);
            writeln!(
                file,
                r#"{{"exchange":"{exchange}","id":"{id}","openings":{openings},"claim":{claim}}}"#
            )?;
            Ok(file)
        };
        let file = scratch().map_err(FileError::new("write", &self.scratch))?;
        let mut command = program::command(program, arguments);
        command
            .env("COUNTERFOIL_EXCHANGE", &exchange)
            .env("COUNTERFOIL_ID", spooled.id.to_string())
            .env("COUNTERFOIL_FILE", file.path());
        program::run(command, program, self.timeout).await.map_err(PushError::Program)
    }
}

fn into(folder: &std::path::Path, spooled: &Spooled) -> Result<(), FileError> {
    let put = |kind: &str, text: &str| {
        let path = folder.join(format!("{}.{kind}.json", spooled.id));
        file::replace_durably(&path, text.as_bytes(), Access::Secret)
    };
    put("openings", &spooled.openings)?;
    spooled.claim.as_deref().map_or(Ok(()), |claim| put("claim", claim))
}

/// Why openings could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program did not end well.
    #[error("{0}")]
    Program(String),
    /// Writing broke off.
    #[error("writing broke off")]
    Broken,
}
