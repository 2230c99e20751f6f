//! An upstream behind TLS: asked if its certificate is right, and told nothing if it is not.

use std::sync::{Mutex, mpsc};

use counterfoil_tests::{
    Deployment,
    secured::{Secured, certificate},
    upstream::{CHAT, EVENTS, LAST, STREAM, chunk, json},
};

use super::stage::{CREDENTIAL, Proxy, opened, statement, verify};
use crate::PROGRAMS;

const REQUEST: &str = r#"{"model":"m-1","stream":true,"messages":[]}"#;

/// The configuration of one upstream; `ca` is a line about whom to trust.
fn one(upstream: &Secured, ca: &str) -> String {
    format!("[[upstream]]\nname = \"one\"\nurl = \"{}\"\n{ca}\n", upstream.url())
}

fn ca(name: &str) -> String {
    format!("ca = \"{}\"", certificate(name).display())
}

/// Answers pass as they are, each event as it comes, whether the certificate's authority is given or the system's.
#[test]
fn answers_pass_from_an_upstream_that_is_trusted() {
    let log = Deployment::start(PROGRAMS, "log.example/tls");
    let (seen, next) = mpsc::channel::<()>();
    let next = Mutex::new(next);
    let upstream = Secured::start("localhost", move |asked, stream| {
        if asked.path().starts_with("/plain") {
            stream.write_all(&json(200, CHAT))?;
            return stream.flush();
        }
        stream.write_all(STREAM)?;
        for event in EVENTS {
            stream.write_all(&chunk(event.as_bytes()))?;
            stream.flush()?;
            // Only when the caller has it does the next one follow.
            next.lock().unwrap().recv().unwrap();
        }
        stream.write_all(LAST)?;
        stream.flush()
    });
    for is_given in [true, false] {
        let ca = if is_given { ca("authority") } else { String::new() };
        let mut proxy = Proxy::configure(&log, &one(&upstream, &ca));
        proxy.roots = (!is_given).then(|| certificate("authority"));
        proxy.up();
        let plain = proxy.caller().post("/plain/v1/chat/completions", CREDENTIAL, REQUEST.as_bytes());
        assert_eq!((plain.status(), plain.text()), (200, CHAT));
        let delivered = proxy.delivered(plain.exchange());
        verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(CHAT.as_bytes()));

        let mut caller = proxy.caller();
        caller.send_post("/v1/chat/completions", CREDENTIAL, REQUEST.as_bytes());
        let head = caller.head();
        for event in EVENTS {
            assert_eq!(caller.chunk().unwrap(), event.as_bytes());
            seen.send(()).unwrap();
        }
        assert!(caller.chunk().unwrap().is_empty(), "the end");
        let exchange = super::caller::Answer { head, ..Default::default() }.exchange().to_owned();
        let delivered = proxy.delivered(&exchange);
        verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(EVENTS.concat().as_bytes()));
        assert_eq!(
            opened(&delivered, "group/attempts")[0]["upstream"],
            format!("localhost:{}", upstream.address.port())
        );
        proxy.down();
    }
    let host = format!("Host: localhost:{}\r\n", upstream.address.port()).to_lowercase();
    let asked = upstream.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.head.to_lowercase().contains(&host)), "{asked:?}");
}

/// A certificate of an authority that is not trusted, or of another service: nothing is sent there, credentials least of all,
/// and the caller and the receipt are told that there was no answer.
#[test]
fn nothing_is_told_to_an_upstream_that_is_not_trusted() {
    let log = Deployment::start(PROGRAMS, "log.example/tls-strangers");
    let shown = |name| Secured::start(name, |_, stream| stream.write_all(&json(200, CHAT)));
    let (right, elsewhere, stranger) = (shown("localhost"), shown("elsewhere"), shown("stranger"));
    for (upstream, ca) in [
        (&elsewhere, ca("authority")),
        (&stranger, ca("authority")),
        // Not trusted by the system.
        (&right, String::new()),
    ] {
        let mut proxy = Proxy::configure(&log, &one(upstream, &ca));
        proxy.up();
        let answer = proxy.chat(REQUEST);
        assert_eq!(answer.status(), 502, "{}", answer.head);
        let delivered = proxy.delivered(answer.exchange());
        verify(&log, &proxy, &delivered, REQUEST.as_bytes(), Some(&answer.body));
        assert_eq!(statement(&delivered)["predicate"]["outcome"], "aborted_by_upstream");
        assert!(opened(&delivered, "group/attempts")[0]["status"].is_null());
        assert!(upstream.asked().is_empty(), "nothing was asked");
        proxy.down();
    }
}
