//! The service: a thread for each connection.

use std::{
    error::Error,
    io::{self, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{now_us, spawn, wire};

/// Serves until it is killed.
pub(crate) fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    for stream in listener.incoming() {
        let stream = stream?;
        // Callers come and go; what is missing then is theirs to miss.
        spawn(move || drop(connection(&stream)))?;
    }
    Ok(())
}

fn connection(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let plain = wire::answer();
    while let Some((_, framing)) = wire::read_head(&mut reader)? {
        let (events, pause_ms) = wire::asked(&wire::read_piece(&mut reader, framing)?)?;
        if events == 0 {
            (&*stream).write_all(plain.as_bytes())?;
        } else {
            answer(stream, events, Duration::from_millis(pause_ms))?;
        }
    }
    Ok(())
}

/// A stream: its head goes out with the first event, each other event by itself.
fn answer(mut stream: &TcpStream, events: u64, pause: Duration) -> io::Result<()> {
    let start = Instant::now();
    for event in 0..events {
        let due = pause.saturating_mul(u32::try_from(event).unwrap_or(u32::MAX));
        thread::sleep(due.saturating_sub(start.elapsed()));
        let head = if event == 0 { wire::STREAM } else { "" };
        stream.write_all(format!("{head}{}", wire::event(now_us())).as_bytes())?;
    }
    stream.write_all(wire::end().as_bytes())
}
