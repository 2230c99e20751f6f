//! Programs of the operator's, started for one piece of work each: by no shell, in an environment that has what is small and
//! ours, and killed with all that they started if they take too long.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};

/// Most bytes of what a program writes that are kept, for the error.
pub const OUTPUT_BYTES_MAX: usize = 4096;

/// How long what a program started may hold its output open once it has ended itself.
const LINGER: Duration = Duration::from_secs(1);

/// What a program keeps of our own environment.
const KEPT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A program as it is named, with an environment of little.
pub fn command(program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Runs a command of [`command`] to its end; in words what went wrong, with what it said.
pub async fn run(mut command: Command, program: &str, patience: Duration) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let group = Group(child.id());
    match timeout(patience, wait(&mut child)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, output))) => {
            let output = String::from_utf8_lossy(&output);
            Err(format!("{program} ended with {status}: {}", output.trim()))
        }
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            Err(format!("{program} did not end within {patience:?}"))
        }
    }
}

/// Runs a command that leads a process group of its own, gives it `input`, and takes what it writes, at most `bytes_max` bytes.
/// It need not read all of the input. Its standard input and output are pipes.
pub async fn answer(
    mut command: Command,
    input: &[u8],
    bytes_max: usize,
    patience: Duration,
) -> Result<Vec<u8>, AnswerError> {
    let mut child = command.spawn().map_err(AnswerError::Start)?;
    let group = Group(child.id());
    let answered = timeout(patience, exchange(&mut child, input, bytes_max)).await;
    let answered = answered.unwrap_or(Err(AnswerError::Slow));
    if !matches!(answered, Ok(_) | Err(AnswerError::Ended(_))) {
        group.kill();
        let _ = child.wait().await;
    }
    answered
}

/// Speaks with a program until it ends.
async fn exchange(child: &mut Child, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, AnswerError> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // A program that has seen enough closes its end.
            let _ = stdin.write_all(input).await;
        }
    };
    let take = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(bytes_max as u64 + 1).read_to_end(&mut output).await?;
        }
        io::Result::Ok(output)
    };
    let output = {
        let mut take = std::pin::pin!(take);
        tokio::select! {
            output = &mut take => output,
            () = give => take.await,
        }
    };
    let output = output.map_err(AnswerError::Start)?;
    if output.len() > bytes_max {
        return Err(AnswerError::TooLong);
    }
    let status = child.wait().await.map_err(AnswerError::Start)?;
    if status.success() { Ok(output) } else { Err(AnswerError::Ended(status)) }
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It could not be started, or spoken with.
    #[error("it cannot be run")]
    Start(#[source] io::Error),
    /// It failed.
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    /// It did not end in time.
    #[error("it did not end in time")]
    Slow,
    /// It wrote too much.
    #[error("it wrote too much")]
    TooLong,
}

/// Waits for the end, and reads what is written meanwhile: all of it, so that the program is not held up.
async fn wait(child: &mut Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let reading = async { tokio::join!(read(stdout, &mut out), read(stderr, &mut err)) };
        let mut reading = std::pin::pin!(reading);
        tokio::select! {
            status = child.wait() => {
                // What it left running may keep its output open; that is nobody's concern.
                let _ = timeout(LINGER, reading).await;
                status?
            }
            _ = &mut reading => child.wait().await?,
        }
    };
    err.extend_from_slice(&out);
    err.truncate(OUTPUT_BYTES_MAX);
    Ok((status, err))
}

async fn read(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

/// The process group of a program that has not been waited for yet, so that its number is still its own.
struct Group(Option<u32>);

impl Group {
    fn kill(self) {
        let id = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It may have ended this very moment.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}
