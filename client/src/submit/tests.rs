use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{source::Connection, testlog};

/// A server that gives these answers, one a connection, and keeps what it was sent.
async fn server(answers: Vec<(u16, String)>) -> (Api, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api =
        Api::new(&format!("http://{}", listener.local_addr().unwrap()), &Connection::default()).unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&sent);
    tokio::spawn(async move {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !whole(&request) {
                let mut part = [0; 65_536];
                let length = stream.read(&mut part).await.unwrap();
                request.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
            keep.lock().unwrap().push(request.split_once("\r\n\r\n").unwrap().1.to_owned());
            let head = format!("HTTP/1.1 {status} X\r\nretry-after: 0\r\nconnection: close\r\n");
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (api, sent)
}

fn whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() == length.parse::<usize>().unwrap()
}

fn submitter(api: Api, retries: u32) -> Submitter {
    let folder = tempfile::tempdir().unwrap();
    Submitter::new(api, testlog::log(folder.path()).known().trust().unwrap(), retries)
}

fn problem(status: u16) -> Value {
    json!({ "type": "about:blank", "title": "T", "status": status, "detail": "d" })
}

/// A busy log is asked again, as often as was said and no more.
#[tokio::test]
async fn busy_logs_are_asked_again() {
    let envelope = testlog::envelope(0);
    let busy = || (503, problem(503).to_string());
    let good = (201, testlog::answer(&envelope, 3).to_string());
    let (api, sent) = server(vec![busy(), (429, String::new()), good]).await;
    let outcome = submitter(api, 2).append(&envelope).await.unwrap();
    assert!(matches!(outcome, Outcome::Logged(logged) if logged.index.get() == 3));
    assert_eq!(*sent.lock().unwrap(), vec![envelope.to_json(); 3]);

    let (api, sent) = server(vec![busy(), busy(), busy()]).await;
    let given_up = submitter(api, 1).append(&envelope).await.unwrap_err();
    assert!(matches!(given_up, SubmitError::Status { status: 503, .. }) && given_up.is_silence());
    assert_eq!(sent.lock().unwrap().len(), 2);
}

/// A receipt that waits for the log's witnesses is sent again, which is harmless, until its proof comes; alone and in a batch.
#[tokio::test]
async fn what_is_not_published_yet_is_asked_for_again() {
    let envelopes: Vec<_> = (0..2).map(testlog::envelope).collect();
    let answer = |n: usize| testlog::answer(&envelopes[n], n as u64);
    let pending = |n: usize| {
        let mut pending = answer(n);
        pending.as_object_mut().unwrap().remove("proof");
        pending
    };
    let (api, sent) = server(vec![(202, pending(0).to_string()), (200, answer(0).to_string())]).await;
    let outcome = submitter(api, 1).append(&envelopes[0]).await.unwrap();
    assert!(matches!(outcome, Outcome::Logged(logged) if logged.index.get() == 0));
    assert_eq!(sent.lock().unwrap().len(), 2);

    let lines = format!("{}\n{}\n", answer(0), pending(1));
    let (api, sent) = server(vec![(202, lines), (200, format!("{}\n", answer(1)))]).await;
    let outcomes = submitter(api, 1).append_batch(&envelopes).await.unwrap();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(sent.lock().unwrap()[1], envelopes[1].to_json() + "\n", "only what is missing");

    let (api, _) = server(vec![(202, pending(0).to_string())]).await;
    let given_up = submitter(api, 0).append(&envelopes[0]).await.unwrap_err();
    assert!(matches!(given_up, SubmitError::Answer(AnswerError::NotPublished)) && given_up.is_silence());
}

/// What the log does not take is not sent again; what does not hold is no answer.
#[tokio::test]
async fn refusals_are_final_and_lies_are_named() {
    let envelope = testlog::envelope(0);
    let (api, sent) = server(vec![(422, problem(400).to_string())]).await;
    let Outcome::Refused(refused) = submitter(api, 5).append(&envelope).await.unwrap() else {
        panic!("refused")
    };
    assert_eq!((refused.status, refused.detail.as_str(), sent.lock().unwrap().len()), (422, "d", 1));

    let lie = testlog::answer(&testlog::envelope(1), 3).to_string();
    let (api, _) = server(vec![(201, lie)]).await;
    let error = submitter(api, 5).append(&envelope).await.unwrap_err();
    assert!(matches!(error, SubmitError::Answer(_)) && !error.is_silence(), "{error}");
}

/// Of a batch, only what the log had no room for is sent again.
#[tokio::test]
async fn batches_resume_where_they_stopped() {
    let envelopes: Vec<_> = (0..3).map(testlog::envelope).collect();
    let answer = |n: usize| testlog::answer(&envelopes[n], n as u64);
    let refused = |status| json!({ "error": problem(status) });
    let lines = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let first = lines(&[answer(0), refused(503), refused(422)]);
    let (api, sent) = server(vec![(200, first), (200, lines(&[answer(1)]))]).await;
    let outcomes = submitter(api, 1).append_batch(&envelopes).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Logged(logged) if logged.index.get() == 0));
    assert!(matches!(&outcomes[1], Outcome::Logged(logged) if logged.index.get() == 1));
    assert!(matches!(&outcomes[2], Outcome::Refused(problem) if problem.status == 422));
    assert_eq!(sent.lock().unwrap()[1], envelopes[1].to_json() + "\n");

    let (api, _) = server(vec![(200, lines(&[answer(0)]))]).await;
    let short = submitter(api, 1).append_batch(&envelopes).await.unwrap_err();
    assert!(matches!(short, SubmitError::Lines { sent: 3, got: 1 }), "{short}");
}
