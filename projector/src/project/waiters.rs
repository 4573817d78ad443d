//! Who waits until the view has a version of a stream. The loop tells after each commit what became visible; what
//! another replica commits is not told here, so a waiter also looks by itself now and then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared::contract::ids::StreamName;
use tokio::sync::watch;

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
}

/// By the key of the stream's messages, which an order's three streams have in common.
type Waiting = HashMap<Box<str>, HashMap<StreamName, watch::Sender<i64>>>;

impl Waiters {
    /// Tells of versions that are committed.
    pub fn tell(&self, visible: &[(StreamName, i64)]) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        for (stream, version) in visible {
            if let Some(told) = waiting.get(stream.key()).and_then(|of_key| of_key.get(stream)) {
                told.send_if_modified(|known| {
                    let newer = *version > *known;
                    *known = (*known).max(*version);
                    newer
                });
            }
        }
        forget_the_gone(&mut waiting);
    }

    /// Listens to a stream. What was committed before is not told again: listen first, then look.
    pub fn listen(&self, stream: &StreamName) -> watch::Receiver<i64> {
        let mut waiting = self.lock();
        // A replica that commits nothing tells nobody.
        forget_the_gone(&mut waiting);
        let of_key = waiting.entry(stream.key().into()).or_default();
        of_key.entry(stream.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Whether somebody listens to a stream whose messages have this key.
    pub fn is_awaited(&self, key: &[u8]) -> bool {
        let waiting = self.lock();
        !waiting.is_empty() && str::from_utf8(key).is_ok_and(|key| waiting.contains_key(key))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing panics while it is held; and if it did, the map would still be whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_the_gone(waiting: &mut Waiting) {
    waiting.retain(|_, of_key| {
        of_key.retain(|_, told| told.receiver_count() > 0);
        !of_key.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_hears_of_its_stream_and_is_forgotten_when_it_leaves() {
        let waiters = Waiters::default();
        let [one, other] = ["SKU-1", "SKU-2"].map(|sku| StreamName::stock(&sku.parse().unwrap()));
        assert!(!waiters.is_awaited(b"SKU-1"));
        let mut told = waiters.listen(&one);
        assert!(waiters.is_awaited(b"SKU-1"));
        assert!(!waiters.is_awaited(b"SKU-2") && !waiters.is_awaited(b"\xff"));
        waiters.tell(&[(other.clone(), 9), (one.clone(), 3), (one.clone(), 2)]);
        told.changed().await.unwrap();
        assert_eq!(*told.borrow_and_update(), 3);
        drop(told);
        waiters.tell(&[(one.clone(), 4)]);
        assert!(!waiters.is_awaited(b"SKU-1"));
        drop(waiters.listen(&one));
        let _told = waiters.listen(&other);
        assert!(!waiters.is_awaited(b"SKU-1"), "also where nothing is committed");
    }
}
