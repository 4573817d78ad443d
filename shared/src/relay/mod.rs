//! The relay: the log is the outbox. What was committed is published, in order, until the broker has it.
//!
//! One relay of a database is active, whoever has the lock. It decides nothing: [`machine`] is told what happened
//! and says what to do, [`shell`] does it.

pub mod machine;
pub mod record;
pub mod handle;
pub mod heal;
mod shell;
mod session;
mod publishing;
mod producer;

pub use handle::{Relay, RelayHandle, State};

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use crate::{broker::BrokerSettings, contract::topics::Topic, telemetry::Metrics};
use handle::Inside;

#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// The source of the events, and the name of the database session.
    pub service: String,
    pub database_url: String,
    pub broker: BrokerSettings,
    /// The topics of this service's events. None: there is no event log, only dead letters are published.
    pub topics: Vec<Topic>,
}

/// Starts the relay on the present runtime. It waits for whatever is away.
pub fn start(settings: RelaySettings, metrics: Metrics) -> Relay {
    let (handle, told) = (RelayHandle::new(), metrics.clone());
    let shell = shell::Shell::new(settings, metrics, &handle);
    let inside = Arc::clone(&handle.inside);
    let task = tokio::spawn(async move { watched(shell.run(), &inside, &told).await });
    Relay::new(handle, task)
}

/// A panic is a mistake of ours: without a word the backlog would grow for ever.
async fn watched(run: impl Future<Output = ()>, inside: &Inside, metrics: &Metrics) {
    if AssertUnwindSafe(run).catch_unwind().await.is_err() {
        shell::halted(inside, metrics, "the relay panicked".into());
    }
    shell::know_no_backlog(metrics);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_relay_that_panics_is_told_as_halted_and_not_as_behind() {
        let (handle, metrics) = (RelayHandle::new(), Metrics::new("order-service", "test"));
        let ended = async {
            metrics.relay_backlog.set(7);
            metrics.relay_oldest_seconds.set(60.0);
        };
        watched(ended, &handle.inside, &metrics).await;
        assert_eq!((metrics.relay_halted.get(), metrics.relay_backlog.get()), (0, 0));
        assert!(!matches!(handle.state(), State::Halted { .. }));

        let panicked = async {
            metrics.relay_backlog.set(7);
            metrics.relay_oldest_seconds.set(60.0);
            panic!("a mistake of ours");
        };
        watched(panicked, &handle.inside, &metrics).await;
        assert_eq!(handle.state(), State::Halted { reason: "the relay panicked".into() });
        assert_eq!((metrics.relay_halted.get(), metrics.relay_backlog.get()), (1, 0));
        assert_eq!(metrics.relay_oldest_seconds.get(), 0.0);
    }
}
