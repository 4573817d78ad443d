//! Traffic in the background of a test that breaks something meanwhile.

use std::time::{Duration, Instant};

use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{Edge, Load};

/// Waves until it is stopped.
pub struct Loading {
    stop: watch::Sender<bool>,
    task: JoinHandle<Load>,
}

impl Loading {
    /// A wave every so often, or as soon as the one before is answered.
    pub fn start(mut load: Load, edge: Edge, orders_a_wave: usize, every: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                let next = Instant::now() + every;
                let wave = load.wave(orders_a_wave);
                load.say(&edge, wave).await;
                sleep(next.saturating_duration_since(Instant::now())).await;
            }
            load
        });
        Self { stop, task }
    }

    /// Once the wave that is under way is answered.
    pub async fn stop(self) -> Load {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_else(|panic| panic!("{panic}"))
    }
}
