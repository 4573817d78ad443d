//! Load that goes on until it is told to stop.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Edge, Load};

impl Load {
    /// A wave every so often, or as soon as the one before is answered.
    pub async fn keep_saying(
        mut self,
        edge: Edge,
        orders: usize,
        every: Duration,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        while !*stopped.borrow() {
            let next = Instant::now() + every;
            let wave = self.wave(orders);
            self.say(&edge, wave).await;
            sleep(next.saturating_duration_since(Instant::now())).await;
        }
        self
    }
}
