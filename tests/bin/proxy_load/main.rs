//! What `tests/bench/proxy` measures with: a service that answers calls of a model, and callers beside it.
//!
//! `proxy-load service` · `proxy-load call DIRECT PROXY RATE SECONDS EVENTS` · `proxy-load hold PROXY STREAMS EVENTS PAUSE_MS`
//!
//! All of it runs on plain threads that block: nothing here waits for anything but the network and the clock.

mod caller;
mod service;
mod wire;

use std::{
    error::Error,
    io::{self, Write as _},
    net::SocketAddr,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use caller::{Load, Measured};

/// Bytes of a thread's stack: there are thousands of threads, and none does much.
const STACK_BYTES: usize = 128 * 1024;

/// Callers that may be waiting for an answer at once, at each target.
const CALLERS: usize = 256;

/// What is called before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);

/// Pause between two events of a stream, in a measurement of latency.
const PAUSE_MS: u64 = 10;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["service"] => return service::serve(),
        ["call", direct, proxy, rate, seconds, events] => call(
            [direct.parse()?, proxy.parse()?],
            rate.parse()?,
            Duration::from_secs(seconds.parse()?),
            events.parse()?,
        )?,
        ["hold", proxy, streams, events, pause_ms] => {
            hold(proxy.parse()?, streams.parse()?, events.parse()?, pause_ms.parse()?)?
        }
        _ => {
            return Err(
                "service | call DIRECT PROXY RATE SECONDS EVENTS | hold PROXY STREAMS EVENTS PAUSE_MS".into(),
            );
        }
    };
    writeln!(io::stdout(), "{result}")?;
    Ok(())
}

/// Calls a service directly and through the proxy by turns, each so many times a second, whether or not they keep up. With no
/// events the answers come in one piece.
fn call(
    targets: [SocketAddr; 2],
    rate: f64,
    time: Duration,
    events: usize,
) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let interval = Duration::from_secs_f64(1.0 / rate);
    let body = wire::request(events, PAUSE_MS);
    let loads = [(0, interval / 2), (1, Duration::ZERO)].map(|(target, offset)| {
        let load =
            Load { address: targets[target], body: body.clone(), interval, time: WARM_UP + time, offset };
        thread::spawn(move || load.run(CALLERS, WARM_UP))
    });
    let [direct, proxy] = loads.map(|load| load.join().map_err(|_| "a caller broke off")?);
    Ok(json!({ "direct": print(direct?), "proxy": print(proxy?) }))
}

/// Holds so many streams at once, and reads each to its end.
fn hold(
    proxy: SocketAddr,
    streams: usize,
    events: usize,
    pause_ms: u64,
) -> Result<Value, Box<dyn Error + Send + Sync>> {
    // They begin within as many seconds as a thousand of them.
    let interval = Duration::from_millis(1);
    let time = interval * u32::try_from(streams)?;
    let body = wire::request(events, pause_ms);
    let load = Load { address: proxy, body, interval, time, offset: Duration::ZERO };
    Ok(print(load.run(streams, Duration::ZERO)?))
}

fn print(measured: Measured) -> Value {
    let Measured { first, whole, event } = measured;
    json!({ "first_ms": percentiles(first), "whole_ms": percentiles(whole), "event_ms": percentiles(event) })
}

/// The percentiles that are reported of some times, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |per_mille: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last * per_mille / 1000).map(|time| time.as_secs_f64() * 1000.0)
    };
    json!({ "count": times.len(), "p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999), "max": at(1000) })
}

/// Starts a thread; the load is no load if the system has none.
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run)
}

/// The wall clock in microseconds: service and callers are on one machine.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
