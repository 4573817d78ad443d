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
    waiting: Arc<Mutex<HashMap<StreamName, watch::Sender<i64>>>>,
}

impl Waiters {
    /// Tells of versions that are committed.
    pub fn tell(&self, visible: &[(StreamName, i64)]) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        for (stream, version) in visible {
            if let Some(told) = waiting.get(stream) {
                told.send_if_modified(|known| {
                    let newer = *version > *known;
                    *known = (*known).max(*version);
                    newer
                });
            }
        }
        waiting.retain(|_, told| told.receiver_count() > 0);
    }

    /// Listens to a stream. What was committed before is not told again: listen first, then look.
    pub fn listen(&self, stream: &StreamName) -> watch::Receiver<i64> {
        self.lock().entry(stream.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    pub fn are_any(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, watch::Sender<i64>>> {
        // Nothing panics while it is held; and if it did, the map would still be whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_hears_of_its_stream_and_is_forgotten_when_it_leaves() {
        let waiters = Waiters::default();
        let [one, other] = ["SKU-1", "SKU-2"].map(|sku| StreamName::stock(&sku.parse().unwrap()));
        assert!(!waiters.are_any());
        let mut told = waiters.listen(&one);
        assert!(waiters.are_any());
        waiters.tell(&[(other, 9), (one.clone(), 3), (one.clone(), 2)]);
        told.changed().await.unwrap();
        assert_eq!(*told.borrow_and_update(), 3);
        drop(told);
        waiters.tell(&[(one, 4)]);
        assert!(!waiters.are_any());
    }
}
