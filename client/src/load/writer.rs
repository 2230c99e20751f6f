//! Connections that append.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::{
    LoadError, check::Check, connection::Connection, measured::Tally, schedule::Schedule, stock::Request,
};

/// As many answers of one connection may wait to be verified.
const CHECKS_MAX: usize = 16;

/// What the line of an answer begins with if its receipt is in the log.
const APPENDED: &[u8] = b"{\"index\":";

/// What all connections that append share.
pub(super) struct Writing {
    pub(super) requests: Vec<Request>,
    pub(super) schedule: Schedule,
    pub(super) check: Option<Arc<Check>>,
}

impl Writing {
    /// Sends requests over one connection until there are no more.
    pub(super) async fn run(
        self: Arc<Self>,
        mut connection: Connection,
        tally: Arc<Mutex<Tally>>,
    ) -> Result<(), LoadError> {
        let mut checks = JoinSet::new();
        while let Some(turn) = self.schedule.next().await {
            let Some(request) = usize::try_from(turn.number).ok().and_then(|n| self.requests.get(n)) else {
                break;
            };
            let answer = connection.exchange(request.bytes()).await?;
            let acknowledged = acknowledged(request, answer.status, answer.body)?;
            let refused = request.receipts() - acknowledged;
            tally.lock().unwrap_or_else(PoisonError::into_inner).append(turn.due, acknowledged, refused);
            if let Some(check) = self.check.as_ref().filter(|_| refused == 0) {
                let (writing, check, answer) = (Arc::clone(&self), Arc::clone(check), answer.body.to_vec());
                checks.spawn_blocking(move || {
                    let number = usize::try_from(turn.number).expect("the number of a request that was sent");
                    check.appended(writing.requests[number].body(), &answer)
                });
            }
            while checks.len() > CHECKS_MAX {
                finish(&mut checks).await?;
            }
        }
        while !checks.is_empty() {
            finish(&mut checks).await?;
        }
        Ok(())
    }
}

async fn finish(checks: &mut JoinSet<Result<(), LoadError>>) -> Result<(), LoadError> {
    checks.join_next().await.map_or(Ok(()), |checked| checked.map_err(|_| LoadError::Thread)?)
}

/// How many receipts of a request are in the log now: all, or none if there was no room.
fn acknowledged(request: &Request, status: u16, answer: &[u8]) -> Result<usize, LoadError> {
    let refusal = |text| LoadError::Status { status, answer: String::from_utf8_lossy(text).into_owned() };
    match status {
        201 if !request.is_batch() => Ok(1),
        200 if !request.is_batch() => Err(LoadError::Known),
        200 => {
            let lines = answer.split_inclusive(|&byte| byte == b'\n');
            let appended = lines.take_while(|line| line.starts_with(APPENDED)).count();
            if appended == request.receipts() {
                return Ok(appended);
            }
            let other = answer.split(|&byte| byte == b'\n').find(|line| !line.starts_with(APPENDED));
            Err(refusal(other.unwrap_or_default()))
        }
        429 | 503 => Ok(0),
        _ => Err(refusal(answer)),
    }
}
