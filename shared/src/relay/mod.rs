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
    let handle = RelayHandle::new();
    let shell = shell::Shell::new(settings, metrics, &handle);
    let inside = Arc::clone(&handle.inside);
    let task = tokio::spawn(async move {
        // A panic is a mistake of ours: without a word the backlog would grow for ever.
        if AssertUnwindSafe(shell.run()).catch_unwind().await.is_err() {
            inside.set_state(State::Halted { reason: "the relay panicked".into() });
        }
    });
    Relay::new(handle, task)
}
