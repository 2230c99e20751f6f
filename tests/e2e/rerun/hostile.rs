//! What must not lead to a verdict: services that answer rubbish or nothing, and openings that are not those of the receipt.

use std::{io::Write as _, time::Duration};

use counterfoil_tests::upstream::{CHAT, LAST, STREAM, chunk, plain};

use super::*;

/// A way in which a service fails, and what is said of it.
type Failing = (&'static str, Upstream);

fn failing() -> Vec<Failing> {
    let saying = |bytes: &[u8]| Upstream::saying(bytes.to_vec());
    let nan = VECTORS.replace("0.6", "NaN");
    let one = r#"{"data":[{"index":0,"embedding":[0.6,0.8]}]}"#;
    let error = r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#;
    vec![
        ("no whole answer", Upstream::saying(json(200, "rubbish"))),
        ("says nothing", Upstream::saying(json(200, ""))),
        ("no whole answer", Upstream::saying(json(200, CHAT))),
        ("no whole answer", Upstream::saying(json(200, error))),
        ("no whole answer", Upstream::saying(json(200, &nan))),
        ("no whole answer", Upstream::saying(plain(200, "text/html", b"<html>\x1b[2JWelcome</html>"))),
        ("no whole answer", Upstream::saying([STREAM, &chunk(b"data: {}\n\n"), LAST].concat())),
        ("1 embeddings, and 2 inputs", Upstream::saying(json(200, one))),
        ("no such model", Upstream::saying(json(404, error))),
        ("answers 500", Upstream::saying(json(500, VECTORS))),
        ("answers 302", saying(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")),
        ("gives no answer", saying(b"no HTTP at all\r\n\r\n")),
        (
            "content encoding",
            saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: zip\r\nContent-Length: 2\r\n\r\n{}"),
        ),
        ("gives no answer", Upstream::start(|_, _| Ok(false))),
        (
            "gives no answer",
            Upstream::start(|_, stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"data\":")?;
                Ok(false)
            }),
        ),
        (
            "within 1s",
            Upstream::start(|_, stream| {
                // Until the client hangs up.
                while stream.write_all(b"").is_ok() && stream.peek(&mut [0])? > 0 {}
                Ok(false)
            }),
        ),
        (
            "within 1s",
            Upstream::start(|_, stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    stream.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
            }),
        ),
    ]
}

/// Whatever a service does, there is no verdict, no file, and an error that says what it did. With --record-errors, it is on
/// record that the check failed, and the receipt stands as before.
#[test]
fn a_service_that_fails_changes_nothing() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let size = case.size();
    for (said, upstream) in failing() {
        let url = upstream.url();
        // Only who is too slow is waited for so briefly that the wait ends.
        let patience = if said == "within 1s" { "1s" } else { "2m" };
        let run = case.rerun(&[&id], &["--endpoint", &url, "--timeout", patience]).exits(2);
        assert!(
            run.err.contains(said) && run.err.contains(&url) && run.err.contains(&id),
            "{said}: {}",
            run.err
        );
        assert!(run.err.contains("nothing was recorded") && !run.err.contains('\x1b'), "{}", run.err);
        assert!(!upstream.asked().is_empty(), "{said}");
        assert_eq!((case.size(), case.files()), (size, 0), "{said}");
    }
    let gone = Upstream::saying("").address;
    let nobody = case.rerun(&[&id], &["--endpoint", &format!("http://{gone}/%zz?q")]).exits(2);
    assert!(nobody.err.contains("cannot be asked"), "{}", nobody.err);

    let broken = Upstream::saying(json(500, "{}"));
    let run = case.rerun(&[&id], &["--endpoint", &broken.url(), "--record-errors"]).exits(0);
    let said = lines(&run);
    assert_eq!((&said[0]["result"], &said[1]["status"]), (&"error".into(), &"proven".into()));
    assert_eq!(case.size(), size + 1);
}

/// Of a sample, one that fails is enough: no verdict on any is recorded.
#[test]
fn one_failure_stops_the_sample() {
    let case = Case::new();
    let good = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let bad = case.receipt(EMBEDDINGS, &INPUT.replace("\"a\"", "\"stop\""), VECTORS.as_bytes());
    let size = case.size();
    let partly = Upstream::start(|asked, stream| {
        let is_bad = asked.body.windows(4).any(|bytes| bytes == b"stop");
        stream.write_all(&json(if is_bad { 503 } else { 200 }, VECTORS)).map(|()| true)
    });
    let run = case.rerun(&[&good, &bad], &["--endpoint", &partly.url()]).exits(2);
    assert!(run.err.contains(&bad), "{}", run.err);
    assert_eq!((case.size(), case.files(), partly.asked().len()), (size, 0, 2));
}

/// An answer without end is not read to its end.
#[test]
fn an_endless_answer_is_cut() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let endless = Upstream::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let piece = chunk(&[b' '; 65_536]);
        loop {
            stream.write_all(&piece)?;
        }
    });
    let run = case.rerun(&[&id], &["--endpoint", &endless.url()]).exits(2);
    assert!(run.err.contains("more than 67108864 bytes"), "{}", run.err);
    assert_eq!(case.files(), 0);
}

/// Before anything is sent, openings and bodies are held against the receipt. What does not hold is named, and nothing is sent.
#[test]
fn nothing_is_sent_unless_it_is_what_was_committed_to() {
    let case = Case::new();
    let id = case.receipt(EMBEDDINGS, INPUT, VECTORS.as_bytes());
    let other = case.receipt(EMBEDDINGS, &INPUT.replace("\"a\"", "\"other\""), VECTORS.as_bytes());
    let (size, watched) = (case.size(), service(VECTORS));
    let file = |id: &str, what: &str| case.path(&format!("receipts/{id}.{what}"));
    let refused = |what: &str, from: &str, to: &str, code: i32, said: &str| {
        let path = file(&id, what);
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{from}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let run = case.rerun(&[&id], &["--endpoint", &watched.url()]).exits(code);
        assert!(run.err.contains(said), "{said}: {}", run.err);
        fs::write(&path, good).unwrap();
    };
    let differs = "is not what the receipt commits to; nothing was sent";
    refused("request", "\"a\"", "\"A\"", 1, &format!("request {differs}"));
    refused("response", "0.8", "0.9", 1, &format!("response {differs}"));
    refused("openings.json", "0.8", "0.9", 1, &format!("content/embedding {differs}"));
    refused("openings.json", &id, &other, 1, differs);
    refused("openings.json", &id, &"0".repeat(64), 1, "the log has no record");
    refused("openings.json", "\"request\"", "\"requests\"", 1, "is no label");
    refused("openings.json", "\"request\"", "\"part/9\"", 1, "part/9 is nothing that the receipt commits to");
    refused("openings.json", "openings/v1", "openings/v2", 1, "openings");

    let gone = file(&id, "request");
    fs::rename(&gone, file(&id, "kept")).unwrap();
    let run = case.rerun(&[&id], &["--endpoint", &watched.url()]).exits(2);
    assert!(run.err.contains("no request to run again"), "{}", run.err);
    fs::rename(file(&id, "kept"), gone).unwrap();
    assert_eq!((case.size(), case.files(), watched.asked().len()), (size, 0, 0));

    // Without the response's body, the openings have what was said.
    fs::remove_file(file(&id, "response")).unwrap();
    let run = case.rerun(&[&id], &["--endpoint", &watched.url()]).exits(0);
    assert_eq!(lines(&run)[0]["result"], "supported");
}
