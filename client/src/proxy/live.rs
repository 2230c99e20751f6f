//! Exchanges that are under way: begun, and not in the spool yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::spool::record::ExchangeId;

/// All exchanges under way, with what is kept of their callers' credentials.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    exchanges: Mutex<HashMap<ExchangeId, [u8; 32]>>,
    ended: Notify,
}

impl Live {
    /// An exchange begins; it is under way until the result is dropped.
    pub fn begin(&self, exchange: ExchangeId, credential: [u8; 32]) -> UnderWay {
        self.exchanges().insert(exchange, credential);
        UnderWay { live: self.clone(), exchange }
    }

    /// What is kept of the credential of an exchange under way.
    pub fn find(&self, exchange: &ExchangeId) -> Option<[u8; 32]> {
        self.exchanges().get(exchange).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.exchanges().len()
    }

    /// Waits until there are none.
    pub async fn none(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }

    fn exchanges(&self) -> MutexGuard<'_, HashMap<ExchangeId, [u8; 32]>> {
        self.0.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange under way.
#[derive(Debug)]
pub struct UnderWay {
    live: Live,
    exchange: ExchangeId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.live.exchanges().remove(&self.exchange);
        self.live.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn exchanges_are_known_while_they_are_under_way() {
        let live = Live::default();
        let one = live.begin([1; 16], [2; 32]);
        assert_eq!((live.find(&[1; 16]), live.find(&[2; 16]), live.count()), (Some([2; 32]), None, 1));
        let waiting = tokio::spawn({
            let live = live.clone();
            async move { live.none().await }
        });
        drop(one);
        waiting.await.unwrap();
        assert_eq!(live.find(&[1; 16]), None);
    }
}
