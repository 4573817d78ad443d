//! Comparing with the world outside: hourly, and before anything else after events were taken back. What differs is
//! looked at by a command like any other.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    sync::mpsc::Sender,
    time::{interval, sleep},
};
use tracing::{info, warn};

use crate::{contract::Timestamp, decider::Decider};

/// Commands that compare our state with what somebody outside says has happened since then.
pub type Reconcile<D> = Arc<dyn Fn(Timestamp) -> Compared<D> + Send + Sync>;
pub type Compared<D> = Pin<Box<dyn Future<Output = Result<Vec<<D as Decider>::Command>>> + Send>>;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Each run looks back this far at least: what was changed while we were away is among it.
const BACK: Duration = Duration::from_secs(24 * 60 * 60);
const RETRY: Duration = Duration::from_secs(5);

/// Asks until it is answered.
pub(super) async fn compare<D: Decider>(reconcile: &Reconcile<D>, now: Timestamp) -> Vec<D::Command> {
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
pub(super) async fn hourly<D: Decider>(reconcile: Reconcile<D>, compared: Sender<D::Command>) {
    let mut hours = interval(EVERY);
    loop {
        hours.tick().await;
        for command in compare::<D>(&reconcile, chrono::Utc::now()).await {
            if compared.send(command).await.is_err() {
                return;
            }
        }
    }
}
