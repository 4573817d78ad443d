//! Stopping: a token that is passed as an argument to all that runs. Nobody looks it up.

use std::{io, process, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time,
};
use tracing::{error, info};

/// Tells whether the process should stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// The other end. Dropping it stops too, so that a forgotten one cannot keep a process alive.
#[derive(Debug)]
pub struct Trigger {
    request: watch::Sender<bool>,
}

/// A token that the caller triggers: tests, and processes that stop for a reason of their own.
pub fn manual() -> (Trigger, Shutdown) {
    let (request, requested) = watch::channel(false);
    (Trigger { request }, Shutdown { requested })
}

/// A token that SIGTERM and SIGINT trigger. A second signal ends the process at once, and so does the end of
/// `timeout` after the first: what is stuck then is safe to kill, as every crash is.
///
/// # Errors
/// Where the process may not handle signals.
pub fn on_signal(timeout: Duration) -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (trigger, shutdown) = manual();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
        trigger.stop();
        let why = tokio::select! {
            _ = terminate.recv() => "a second signal came",
            _ = interrupt.recv() => "a second signal came",
            () = time::sleep(timeout) => "SHUTDOWN_TIMEOUT is over",
        };
        error!("stopped before everything was finished: {why}");
        process::exit(EXIT_UNFINISHED);
    });
    Ok(shutdown)
}

const EXIT_UNFINISHED: i32 = 1;

impl Trigger {
    pub fn stop(&self) {
        self.request.send_replace(true);
    }
}

impl Shutdown {
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow() || self.requested.has_changed().is_err()
    }

    /// Returns when the process should stop, at once where it should already.
    pub async fn requested(&self) {
        // An error says that the trigger is gone, which is a request as well.
        let _ = self.requested.clone().wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_holds_the_token_is_told() {
        let (trigger, shutdown) = manual();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        let waiting = tokio::spawn(async move { other.requested().await });
        trigger.stop();
        waiting.await.unwrap();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_lost_trigger_stops() {
        let (trigger, shutdown) = manual();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
