//! Who may see what became of an exchange.

use std::sync::{Mutex, mpsc};

use counterfoil_tests::{
    Deployment,
    upstream::{CHAT, LAST, STREAM, Upstream, json},
};

use super::stage::{CREDENTIAL, Proxy};
use crate::PROGRAMS;

/// Whoever has another credential, or none, learns nothing; the caller gets the same answer each time until it expires.
#[test]
fn an_exchange_belongs_to_its_credential() {
    let log = Deployment::start(PROGRAMS, "log.example/lookup");
    let upstream = Upstream::saying(json(200, CHAT));
    let mut proxy = Proxy::before(&log, &upstream, "keep.exchanges_s = 8");
    let answer = proxy.chat("{}");
    let exchange = answer.exchange().to_owned();
    let first = proxy.delivered(&exchange);
    let path = format!("/counterfoil/v1/exchanges/{exchange}");
    let none = proxy.caller().get("/counterfoil/v1/exchanges/00000000000000000000000000000000", CREDENTIAL);
    assert_eq!(none.status(), 404);
    for other in [
        "",
        "Authorization: Bearer of-another\r\n",
        "Authorization: of-the-caller\r\n",
        "X-Api-Key: of-the-caller\r\n",
        "Authorization: Bearer of-the-caller\r\nAuthorization: Bearer of-the-caller\r\n",
        "Authorization: Bearer of-the-caller\r\nX-Api-Key: k\r\n",
    ] {
        let refused = proxy.caller().get(&path, other);
        assert_eq!((refused.status(), refused.text()), (404, none.text()), "{other}");
    }
    for round in 0..4 {
        let again = proxy.caller().get(&path, CREDENTIAL);
        let again: serde_json::Value = serde_json::from_slice(&again.body).unwrap();
        assert_eq!(again, first, "round {round}");
        if round == 1 {
            proxy.kill();
            proxy.up();
        }
    }
    proxy.until("it expires", |proxy| proxy.look_up(&exchange).status() == 404);
    let malformed = ["x", "00", &exchange.to_uppercase(), &format!("{exchange}0")]
        .map(|name| proxy.look_up(name).status());
    assert_eq!(malformed, [404; 4]);
    assert_eq!(proxy.caller().post(&path, CREDENTIAL, b"").status(), 405);
    assert_eq!(proxy.caller().get("/counterfoil/else", CREDENTIAL).status(), 404);
    assert_eq!(upstream.asked().len(), 1, "none of this went to the upstream");
}

/// While an exchange is under way its caller is told so, and nobody else.
#[test]
fn an_exchange_under_way_is_its_callers_too() {
    use std::io::Write as _;
    let log = Deployment::start(PROGRAMS, "log.example/under-way");
    let (looked_up, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |_, stream| {
        stream.write_all(STREAM)?;
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(LAST).map(|()| true)
    });
    let proxy = Proxy::before(&log, &upstream, "");
    let mut caller = proxy.caller();
    caller.send_post("/v1/chat/completions", CREDENTIAL, b"{}");
    let head = caller.head();
    let line = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("counterfoil-exchange: ").map(str::to_owned));
    let exchange = line.unwrap();
    let now = proxy.look_up(&exchange);
    assert_eq!(
        (now.status(), now.text()),
        (202, r#"{"id":null,"bundle":null,"openings":null,"claim":null}"#)
    );
    assert_eq!(proxy.caller().get(&format!("/counterfoil/v1/exchanges/{exchange}"), "").status(), 404);
    looked_up.send(()).unwrap();
    let _ = proxy.delivered(&exchange);
}
