//! Who is connected: no more than so many, and so many from one address.
//!
//! At each moment it is either the log's turn to work on a connection's request, or the peer's to send or to take something.
//! When there are no places left, whoever has kept the others waiting for longest loses its own: nothing was promised to it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::network::{Network, Source};

/// The places for connections.
pub(super) struct Connections {
    most: usize,
    /// From one source; 0: no limit.
    most_from_one: usize,
    /// Who connects for others.
    proxies: Arc<[Network]>,
    began: Instant,
    open: Mutex<Open>,
    /// Whether somebody waits for a place, and what wakes it.
    is_waited_for: AtomicBool,
    freed: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    places: HashMap<u64, (Option<Source>, Arc<State>)>,
    from: HashMap<Source, usize>,
}

struct State {
    /// Since when it is the peer's turn, in nanoseconds and one more; 0 while it is the log's.
    peers_since: AtomicU64,
    /// Told when the place is given to somebody else.
    leave: Notify,
}

/// A place, until it is dropped.
pub(super) struct Place {
    number: u64,
    turn: Turn,
}

/// Whose turn it is on a connection.
#[derive(Clone)]
pub(super) struct Turn {
    state: Arc<State>,
    connections: Arc<Connections>,
}

/// More connections from one address than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Connections {
    pub(super) fn new(most: usize, most_from_one: usize, proxies: Arc<[Network]>) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_from_one,
            proxies,
            began: Instant::now(),
            open: Mutex::default(),
            is_waited_for: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// A place for who has connected, once there is one.
    pub(super) async fn place(self: &Arc<Self>, peer: IpAddr) -> Result<Place, TooMany> {
        if let Some(place) = self.try_place(peer)? {
            return Ok(place);
        }
        self.is_waited_for.store(true, SeqCst);
        let place = loop {
            if let Some(place) = self.try_place(peer).transpose() {
                break place;
            }
            self.freed.notified().await;
        };
        self.is_waited_for.store(false, SeqCst);
        place
    }

    fn try_place(self: &Arc<Self>, peer: IpAddr) -> Result<Option<Place>, TooMany> {
        let is_proxy = self.proxies.iter().any(|network| network.contains(peer));
        let source = (self.most_from_one > 0 && !is_proxy).then(|| Source::of(peer));
        let mut open = self.open();
        if source
            .is_some_and(|source| open.from.get(&source).is_some_and(|count| *count >= self.most_from_one))
        {
            return Err(TooMany);
        }
        if open.places.len() >= self.most && !open.let_go() {
            return Ok(None);
        }
        let state = Arc::new(State { peers_since: AtomicU64::new(self.now()), leave: Notify::new() });
        let number = open.next;
        open.next += 1;
        open.places.insert(number, (source, Arc::clone(&state)));
        if let Some(source) = source {
            *open.from.entry(source).or_default() += 1;
        }
        Ok(Some(Place { number, turn: Turn { state, connections: Arc::clone(self) } }))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let elapsed: Duration = self.began.elapsed();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn wake(&self) {
        if self.is_waited_for.load(SeqCst) {
            self.freed.notify_one();
        }
    }
}

impl Open {
    /// Takes the place of whoever has been waited for longest; false if it is the log's turn everywhere.
    fn let_go(&mut self) -> bool {
        let since = |state: &State| state.peers_since.load(SeqCst);
        let waited_for = self.places.iter().filter(|(_, (_, state))| since(state) > 0);
        let Some((&number, (_, state))) = waited_for.min_by_key(|(_, (_, state))| since(state)) else {
            return false;
        };
        state.leave.notify_one();
        self.remove(number);
        true
    }

    fn remove(&mut self, number: u64) {
        let Some((source, _)) = self.places.remove(&number) else { return };
        let Some(source) = source else { return };
        if let Some(count) = self.from.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.from.remove(&source);
            }
        }
    }
}

impl Place {
    /// Whose turn it is here.
    pub(super) const fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Done once the place is given to somebody else.
    pub(super) async fn lost(&self) {
        self.turn.state.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turn.connections.open().remove(self.number);
        self.turn.connections.wake();
    }
}

impl Turn {
    /// Whether the log has a request to work on.
    pub(super) fn is_ours(&self) -> bool {
        self.state.peers_since.load(SeqCst) == 0
    }

    /// A request has come whole.
    pub(super) fn ours(&self) {
        self.state.peers_since.store(0, SeqCst);
    }

    /// There is an answer to be taken, and then another request to be sent.
    pub(super) fn peers(&self) {
        self.state.peers_since.store(self.connections.now(), SeqCst);
        self.connections.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Whether a place was given to somebody else.
    fn is_lost(place: &Place) -> bool {
        let (mut lost, waker) = (std::pin::pin!(place.lost()), std::task::Waker::noop());
        lost.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    /// Whoever keeps the others waiting for longest goes; nobody whose request is being worked on.
    #[tokio::test]
    async fn the_longest_waited_for_goes() {
        let connections = Connections::new(3, 0, [].into());
        let [first, second, third] = [A, A, B].map(|peer| connections.try_place(peer).unwrap().unwrap());
        first.turn().ours();
        let fourth = connections.place(B).await.unwrap();
        assert_eq!([&first, &second, &third].map(is_lost), [false, true, false]);
        first.turn().peers();
        let fifth = connections.place(B).await.unwrap();
        assert_eq!([&first, &third, &fourth].map(is_lost), [false, true, false]);
        for busy in [&first, &fourth, &fifth] {
            busy.turn().ours();
        }
        assert!(connections.try_place(B).unwrap().is_none(), "the log has work to do for all of them");
        // What was lost already makes no room when it ends, and what has a place does.
        drop((second, third));
        assert!(connections.try_place(B).unwrap().is_none());
        let (sixth, ()) = tokio::join!(connections.place(B), async { drop(first) });
        let sixth = sixth.unwrap();
        sixth.turn().ours();
        let (seventh, ()) = tokio::join!(connections.place(A), async { fourth.turn().peers() });
        assert!(seventh.is_ok() && is_lost(&fourth) && !is_lost(&fifth));
    }

    /// One address has so many; another, and a proxy of ours, is not concerned.
    #[tokio::test]
    async fn one_address_has_so_many() {
        let connections = Connections::new(100, 2, ["192.0.2.2/32".parse().unwrap()].into());
        let place = async |peer| connections.place(peer).await;
        let (first, second) = (place(A).await.unwrap(), place(A).await.unwrap());
        assert_eq!(place(A).await.err(), Some(TooMany));
        let _proxied = [place(B).await.unwrap(), place(B).await.unwrap(), place(B).await.unwrap()];
        drop(first);
        let third = place(A).await.unwrap();
        assert_eq!(place(A).await.err(), Some(TooMany));
        drop((second, third));
        assert!(connections.open().from.is_empty(), "nothing is remembered of who has gone");
    }
}
