//! Requests that are ready to be sent: receipts signed and put into HTTP beforehand.

use std::thread;

use counterfoil_receipt::Id;

use super::{Issuing, Load};

/// As many issuers take turns. Fixed, so that a seed makes the same receipts on every machine.
const LANES: usize = 16;

/// About as many receipts are held signed at once: some 300 MB.
const ROUND_RECEIPTS: usize = 256 * 1024;

/// Signs what a load sends, in rounds.
pub(super) struct Stock {
    lanes: Vec<Issuing>,
    host: String,
    batch: usize,
    left: usize,
}

/// One request: its head, and receipts as its body.
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
    batch: bool,
    receipts: usize,
}

impl Stock {
    pub(super) fn new(load: &Load) -> Self {
        let seed = |lane| load.seed.wrapping_mul(1000).wrapping_add(lane);
        let origin = load.log.key.name().as_str();
        Self {
            lanes: (0..LANES as u64).map(|lane| Issuing::new(origin, seed(lane))).collect(),
            host: load.host.clone(),
            batch: load.batch.max(1),
            left: load.receipts,
        }
    }

    /// The next round's requests, signed on all processors; none when all receipts have been given.
    pub(super) fn sign(&mut self) -> Vec<Request> {
        // A whole number of turns, so that the next round goes on with the first issuer.
        let turn = LANES * self.batch;
        let round = self.left.min((ROUND_RECEIPTS / turn).max(1) * turn);
        self.left -= round;
        let (host, batch) = (&self.host, self.batch);
        let signers = thread::available_parallelism().map_or(1, usize::from).min(LANES);
        let mut signed: Vec<_> = thread::scope(|scope| {
            let each = LANES.div_ceil(signers);
            let shares = self.lanes.chunks_mut(each).enumerate();
            let signers: Vec<_> = shares
                .map(|(share, lanes)| {
                    let sign = move |(lane, issuing)| sign(issuing, share * each + lane, round, batch, host);
                    scope.spawn(move || lanes.iter_mut().enumerate().map(sign).collect::<Vec<_>>())
                })
                .collect();
            let joined =
                signers.into_iter().flat_map(|signer| signer.join().expect("signing does not panic"));
            joined.map(Vec::into_iter).collect()
        });
        let requests = round.div_ceil(batch);
        (0..requests).map(|request| signed[request % LANES].next().expect("one for each turn")).collect()
    }
}

/// One issuer's requests of a round of so many receipts: every sixteenth, starting with its own.
fn sign(issuing: &mut Issuing, lane: usize, round: usize, batch: usize, host: &str) -> Vec<Request> {
    let starts = (lane * batch..round).step_by(LANES * batch);
    let request = |start| {
        let receipts = batch.min(round - start);
        Request::new(host, batch > 1, (0..receipts).map(|_| issuing.issue()))
    };
    starts.map(request).collect()
}

impl Request {
    fn new(host: &str, batch: bool, receipts: impl Iterator<Item = (Id, String)>) -> Self {
        let bodies: Vec<_> = receipts.map(|(_, envelope)| envelope).collect();
        let (path, kind) = if batch {
            ("/v1/receipts/batch", "application/x-ndjson")
        } else {
            ("/v1/receipts", "application/json")
        };
        let (receipts, text) = (bodies.len(), bodies.join("\n"));
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            text.len()
        )
        .into_bytes();
        let body = bytes.len();
        bytes.extend_from_slice(text.as_bytes());
        bytes.shrink_to_fit();
        Self { bytes, body, batch, receipts }
    }

    /// All of it, as it goes over the wire.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The envelopes, one a line.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    /// Whether it is sent as a batch.
    pub(super) const fn is_batch(&self) -> bool {
        self.batch
    }

    /// How many receipts it has.
    pub(super) const fn receipts(&self) -> usize {
        self.receipts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(receipts: usize, batch: usize) -> Stock {
        let lanes = (0..LANES as u64).map(|lane| Issuing::new("log.example", lane)).collect();
        Stock { lanes, host: "h".into(), batch, left: receipts }
    }

    fn all(mut stock: Stock) -> Vec<Request> {
        let mut requests = Vec::new();
        loop {
            let round = stock.sign();
            if round.is_empty() {
                return requests;
            }
            requests.extend(round);
        }
    }

    /// A larger load with the same seed begins with the smaller one, and each receipt comes once.
    #[test]
    fn a_seed_makes_the_same_receipts() {
        for batch in [1, 3] {
            let (small, large) = (all(stock(41, batch)), all(stock(100, batch)));
            let whole = 41 / batch;
            for (small, large) in small.iter().zip(&large).take(whole) {
                assert_eq!(small.bytes(), large.bytes());
            }
            for (requests, expected) in [(&small, 41), (&large, 100)] {
                let lines: std::collections::BTreeSet<_> =
                    requests.iter().flat_map(|request| request.body().split(|byte| *byte == b'\n')).collect();
                assert_eq!(lines.len(), expected);
                assert_eq!(requests.iter().map(Request::receipts).sum::<usize>(), expected);
            }
        }
        assert!(all(stock(0, 1)).is_empty());
    }

    /// What is signed in several rounds goes on as if it were one: every issuer numbers on.
    #[test]
    fn rounds_only_cut() {
        let mut cut = stock(3 * LANES + 5, 1);
        cut.left = LANES;
        let mut requests = cut.sign();
        cut.left = 2 * LANES + 5;
        requests.extend(cut.sign());
        let whole = all(stock(3 * LANES + 5, 1));
        assert!(requests.iter().map(Request::bytes).eq(whole.iter().map(Request::bytes)));
    }
}
