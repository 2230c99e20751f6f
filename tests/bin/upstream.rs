//! A service to put behind the proxy, as a process of its own that can be killed: `under-test-upstream ADDRESS`.
//!
//! It answers chat completions with the text of the request's `echo`, as a stream if that is asked for.

use std::{
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use counterfoil_tests::upstream::{Asked, LAST, STREAM, Upstream, chunk, json};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).ok_or_else(|| io::Error::other("an address is due"))?;
    let upstream = Upstream::start_at(TcpListener::bind(address)?, answer);
    writeln!(io::stdout(), "listening on http://{}", upstream.address)?;
    loop {
        thread::park();
    }
}

fn answer(asked: &Asked, stream: &mut TcpStream) -> io::Result<bool> {
    let request: serde_json::Value = serde_json::from_slice(&asked.body)?;
    let echo = request["echo"].as_str().unwrap_or_default();
    if request["stream"] != true {
        let answer = format!(
            r#"{{"model":"m-1","choices":[{{"index":0,"message":{{"content":"{echo}"}},"finish_reason":"stop"}}]}}"#
        );
        return stream.write_all(&json(200, &answer)).map(|()| true);
    }
    stream.write_all(STREAM)?;
    for character in echo.chars() {
        let event = format!(
            "data: {{\"model\":\"m-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{character}\"}}}}]}}\n\n"
        );
        stream.write_all(&chunk(event.as_bytes()))?;
        thread::sleep(Duration::from_millis(1));
    }
    let end =
        "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    stream.write_all(&chunk(end.as_bytes()))?;
    stream.write_all(&chunk(b"data: [DONE]\n\n"))?;
    stream.write_all(LAST).map(|()| true)
}
