//! What is dear to find out and asked by many: it is found out once in two seconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// However many ask, it is read once in that time.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// What was read last, and when.
type Known<T> = Option<(Instant, Arc<T>)>;

/// Cheap to clone.
pub struct Cached<T> {
    known: Arc<Mutex<Known<T>>>,
    /// Whoever reads has it; the others wait for what is read.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<T> Cached<T> {
    /// What was read last, unless it is older.
    pub fn within(&self, age: Duration) -> Option<Arc<T>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, known)| Arc::clone(known))
    }

    pub async fn get(&self, read: impl AsyncFnOnce() -> T) -> Arc<T> {
        let read = async || Ok::<T, std::convert::Infallible>(read().await);
        match self.try_get(read).await {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// What could not be read is tried again by the next who asks.
    pub async fn try_get<E>(&self, read: impl AsyncFnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let _turn = self.turn.lock().await;
        if let Some(known) = self.within(FRESH_FOR) {
            return Ok(known);
        }
        let found = Arc::new(read().await?);
        let seen = Some((Instant::now(), Arc::clone(&found)));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(found)
    }
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Self {
        Self { known: Arc::clone(&self.known), turn: Arc::clone(&self.turn) }
    }
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { known: Arc::default(), turn: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_by_one_reading_and_a_failed_one_is_not_kept() {
        let (cached, readings) = (Cached::<u32>::default(), AtomicU32::new(0));
        let failed = cached.try_get(async || Err::<u32, _>("away")).await;
        assert_eq!((failed, cached.within(FRESH_FOR)), (Err("away"), None));
        let ask = async || {
            let read = async || {
                tokio::task::yield_now().await;
                readings.fetch_add(1, Ordering::Relaxed) + 7
            };
            *cached.get(read).await
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (7, 7, 7));
        assert_eq!((readings.load(Ordering::Relaxed), cached.within(FRESH_FOR)), (1, Some(Arc::new(7))));
        assert_eq!(cached.within(Duration::ZERO), None);
    }
}
