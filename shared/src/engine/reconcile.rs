//! Comparing with the world outside: hourly, and before anything else after events were taken back. What differs is
//! looked at by a command like any other.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    sync::mpsc::Sender,
    time::{interval, sleep},
};
use tracing::{info, warn};

use super::clock::Clock;
use crate::{contract::Timestamp, decider::Decider};

/// Commands that compare our state with what somebody outside says has happened since then.
pub type Reconcile<D> = Compare<<D as Decider>::Command>;
pub type Compared<D> = Commands<<D as Decider>::Command>;

type Compare<C> = Arc<dyn Fn(Timestamp) -> Commands<C> + Send + Sync>;
type Commands<C> = Pin<Box<dyn Future<Output = Result<Vec<C>>> + Send>>;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Each run looks back this far at least: what was changed while we were away is among it.
const BACK: Duration = Duration::from_secs(24 * 60 * 60);
const RETRY: Duration = Duration::from_secs(5);

/// Asks until it is answered.
pub(super) async fn compare<C>(reconcile: &Compare<C>, now: Timestamp) -> Vec<C> {
    loop {
        match reconcile(now - BACK).await {
            Ok(commands) => {
                info!(records = commands.len(), "reconciling");
                return commands;
            }
            Err(error) => warn!("waiting to reconcile: {error:#}"),
        }
        sleep(RETRY).await;
    }
}

/// The first time at once: a process that crashes every half hour reconciles too.
pub(super) async fn hourly<C>(reconcile: Compare<C>, clock: Clock, compared: Sender<C>) {
    let mut hours = interval(EVERY);
    loop {
        hours.tick().await;
        for command in compare(&reconcile, clock.now()).await {
            if compared.send(command).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn how_far_it_looks_back_is_told_by_the_databases_clock() {
        let database = Timestamp::from_timestamp_millis(1_500_000_000_000).unwrap();
        let asked = Arc::new(Mutex::new(None));
        let note = Arc::clone(&asked);
        let reconcile: Compare<u8> = Arc::new(move |since| {
            *note.lock().unwrap() = Some(since);
            Box::pin(async { Ok(vec![7]) })
        });
        let (sender, mut compared) = mpsc::channel(1);
        let hourly = tokio::spawn(hourly(reconcile, Clock::new(database), sender));
        assert_eq!(compared.recv().await, Some(7));
        hourly.abort();
        let back = database - asked.lock().unwrap().unwrap();
        assert!(back <= chrono::Duration::days(1) && back > chrono::Duration::hours(23), "{back}");
    }
}
