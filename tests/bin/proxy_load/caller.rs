//! Callers: an open loop, in which each call is due at its time whoever is late.

use std::{
    error::Error,
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    now_us, spawn,
    wire::{self, DONE, Framing},
};

/// The longest that a caller waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls at even intervals.
pub(crate) struct Load {
    /// Where they go.
    pub(crate) address: SocketAddr,
    /// What they ask.
    pub(crate) body: String,
    /// Between two of them.
    pub(crate) interval: Duration,
    /// For how long they begin.
    pub(crate) time: Duration,
    /// When the first is due.
    pub(crate) offset: Duration,
}

/// How long things took, counted from when the call was due; events from when they were sent.
#[derive(Default)]
pub(crate) struct Measured {
    /// Until the first byte of the body.
    pub(crate) first: Vec<Duration>,
    /// Until the last one.
    pub(crate) whole: Vec<Duration>,
    /// Each event of a stream.
    pub(crate) event: Vec<Duration>,
}

type Failed = Box<dyn Error + Send + Sync>;

impl Load {
    /// Calls with so many callers, and counts what was due after the warm-up. Every answer has to come whole.
    pub(crate) fn run(self, callers: usize, warm_up: Duration) -> Result<Measured, Failed> {
        let (load, next) = (Arc::new(self), Arc::new(AtomicU64::new(0)));
        // Nobody calls before everybody is connected.
        let connected: Vec<_> = (0..callers).map(|_| connect(load.address)).collect::<Result<_, _>>()?;
        let start = Instant::now() + Duration::from_millis(100);
        let callers = connected.into_iter().map(|stream| {
            let (load, next) = (Arc::clone(&load), Arc::clone(&next));
            spawn(move || load.call(stream, start, warm_up, &next))
        });
        let callers: Vec<_> = callers.collect::<Result<_, _>>()?;
        let mut all = Measured::default();
        for caller in callers {
            let one = caller.join().map_err(|_| "a caller broke off")??;
            all.first.extend(one.first);
            all.whole.extend(one.whole);
            all.event.extend(one.event);
        }
        Ok(all)
    }

    fn call(
        &self,
        stream: TcpStream,
        start: Instant,
        warm_up: Duration,
        next: &AtomicU64,
    ) -> Result<Measured, Failed> {
        let mut measured = Measured::default();
        let mut reader = BufReader::new(stream);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer of-the-caller\r\ncontent-type: application/json\r\naccept: */*\r\nuser-agent: load\r\ncontent-length: {}\r\n\r\n{}",
            self.address,
            self.body.len(),
            self.body
        );
        loop {
            let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed))?;
            let since = self.offset + self.interval * number;
            if since >= self.time {
                return Ok(measured);
            }
            let due = start + since;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let is_counted = since >= warm_up;
            reader.get_mut().write_all(request.as_bytes())?;
            let mut events = Vec::new();
            let first = answer(&mut reader, &mut events)?;
            if is_counted {
                measured.first.push(first.saturating_duration_since(due));
                measured.whole.push(due.elapsed());
                measured.event.append(&mut events);
            }
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads an answer to its end, which it has to have; when its body began.
fn answer(reader: &mut BufReader<TcpStream>, events: &mut Vec<Duration>) -> Result<Instant, Failed> {
    let (status, framing) = wire::read_head(reader)?.ok_or("no answer")?;
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("an answer with another status: {status}").into());
    }
    let mut piece = wire::read_piece(reader, framing)?;
    let first = Instant::now();
    if let Framing::Length(_) = framing {
        return Ok(first);
    }
    let mut last = Vec::new();
    while !piece.is_empty() {
        if let Some(sent) = wire::sent_us(&piece) {
            events.push(Duration::from_micros(now_us().saturating_sub(sent)));
        }
        last = piece;
        piece = wire::read_piece(reader, framing)?;
    }
    if last.ends_with(DONE) { Ok(first) } else { Err("a stream without its end".into()) }
}
