//! A monitor hears of what was refused, however often it has to be told, and nobody waits for that.

use std::{collections::VecDeque, sync::Mutex};

use axum::{Router, http::StatusCode, routing::post};
use counterfoil_merkle::{Hash, evidence::ForkEvidence};
use tokio::{net::TcpListener, sync::mpsc};

use super::{tree::Tree, *};
use crate::{gossip::Gossip, witness::handover};

/// A monitor that answers as it is told to, the last answer for ever, and passes on what it heard.
async fn monitor(answers: Vec<(StatusCode, String)>) -> (Gossip, mpsc::UnboundedReceiver<String>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let gossip = async move |body: String| {
        heard.send(body).unwrap();
        let mut answers = answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gossips = Gossip::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    let router = Router::new().route("/v1/gossip", post(gossip));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (gossips, hears)
}

fn says(relation: &str) -> (StatusCode, String) {
    (StatusCode::OK, format!("{{\"relation\":{relation:?},\"size\":7,\"more\":1}}"))
}

/// A witness that has cosigned size 5 and refused 9.
async fn suspicious() -> (Home, Arc<Witness>, Tree) {
    let (home, tree) = (Home::new(), Tree::new(20));
    let witness = home.up();
    add(&witness, &tree.request(0, 5)).await.unwrap();
    add(&witness, &tree.forked(3, 9).request(5, 9)).await.unwrap_err();
    (home, witness, tree)
}

async fn until(witness: &Witness, done: impl Fn(&View) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !done(&view(witness)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{:?}", view(witness)));
}

/// The note reaches the monitor after failures of every kind, once it is there it is told no more, not even after a
/// restart, and meanwhile the log is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitor_hears_of_it_in_the_end() {
    let (home, witness, tree) = suspicious().await;
    let failing = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND];
    let mut answers: Vec<_> = failing.map(|status| (status, String::new())).into();
    answers.push((StatusCode::OK, "<html>".to_owned()));
    answers.push(says("unknown"));
    let (monitor, mut hears) = monitor(answers).await;
    let task = tokio::spawn(handover::run(Arc::clone(&witness), monitor.clone()));
    for _ in 0..4 {
        assert_eq!(hears.recv().await.unwrap(), tree.forked(3, 9).checkpoint(9).to_string());
        add(&witness, &tree.request(5, 5)).await.unwrap();
    }
    until(&witness, |view| view.waiting == 0).await;
    assert_eq!(view(&witness).refused, 1, "it is kept all the same");
    add(&witness, &tree.forked(3, 10).request(5, 10)).await.unwrap_err();
    assert_eq!(hears.recv().await.unwrap(), tree.forked(3, 10).checkpoint(10).to_string());
    until(&witness, |view| view.waiting == 0).await;
    task.abort();
    let _ = task.await;
    drop(witness);

    let witness = home.up();
    let task = tokio::spawn(handover::run(Arc::clone(&witness), monitor));
    add(&witness, &tree.forked(3, 11).request(5, 11)).await.unwrap_err();
    assert_eq!(hears.recv().await.unwrap(), tree.forked(3, 11).checkpoint(11).to_string());
    until(&witness, |view| view.waiting == 0).await;
    assert_eq!(view(&witness).refused, 3);
    task.abort();
}

/// A note that goes with the tree is no suspect: it takes no room, and is not kept again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_monitor_clears_is_forgotten() {
    let (home, witness, tree) = suspicious().await;
    let (monitor, mut hears) = monitor(vec![says("consistent")]).await;
    let task = tokio::spawn(handover::run(Arc::clone(&witness), monitor));
    hears.recv().await.unwrap();
    until(&witness, |view| view.refused == 0).await;
    assert_eq!(files(&home.log().join("refused")).len(), 0);
    add(&witness, &tree.forked(3, 9).request(5, 9)).await.unwrap_err();
    assert_eq!(view(&witness).refused, 0);
    task.abort();
}

/// Evidence that comes with the monitor's answer is checked as anybody's, and ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitors_evidence_counts_if_it_proves() {
    let (_home, witness, tree) = suspicious().await;
    let good = ForkEvidence::same_size(tree.checkpoint(9), tree.forked(3, 9).checkpoint(9)).to_string();
    let rubbish = ForkEvidence::same_size(tree.checkpoint(9), tree.checkpoint(9)).to_string();
    let with = |evidence: &str| {
        let answer = serde_json::json!({ "relation": "inconsistent", "size": 7, "evidence": evidence });
        (StatusCode::OK, answer.to_string())
    };
    let (monitor, mut hears) = monitor(vec![with(&rubbish), with("?"), with(&good)]).await;
    let task = tokio::spawn(handover::run(Arc::clone(&witness), monitor));
    for new in [10, 11] {
        hears.recv().await.unwrap();
        until(&witness, |view| view.waiting == 0).await;
        assert_eq!(view(&witness).evidence, None);
        add(&witness, &tree.forked(3, new).request(5, new)).await.unwrap_err();
    }
    until(&witness, |view| view.evidence.as_deref() == Some(good.as_str())).await;
    let forked = Refusal::Forked { log: Hash::of(&[watched().origin().as_str().as_bytes()]) };
    assert_eq!(add(&witness, &tree.request(5, 9)).await, Err(forked));
    task.abort();
}
