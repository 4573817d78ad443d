//! Messages that a process may die of.

use tracing::error;

use super::run::Run;
use crate::{
    contract::envelope::Raw, decider::Decider, execute::Input, failure::ATTEMPTS_MAX, log, telemetry::About,
};

impl<D: Decider> Run<D> {
    /// Says which partitions this run takes its first message of; a message of one whose last runs died is taken
    /// alone, and when it is what they died of, it becomes a dead letter.
    pub(super) async fn take_care(&mut self, inputs: &mut [Input<D>]) -> anyhow::Result<()> {
        for input in inputs {
            let Input::Message(raw) = input else { continue };
            self.lag.taken(raw);
            let place = (raw.topic, raw.partition);
            if let Some(attempt) = self.gather.careful.get(&place) {
                let before =
                    attempt.filter(|attempt| attempt.offset == raw.offset).map_or(0, |known| known.attempts);
                if before >= ATTEMPTS_MAX {
                    let about = About::of(raw);
                    error!(
                        order_id = about.order_id(),
                        event_id = about.event_id(),
                        correlation_id = about.correlation_id(),
                        topic = place.0.name(),
                        partition = place.1,
                        offset = raw.offset,
                        "a deadly message"
                    );
                    let raw: Raw = raw.clone();
                    *input = Input::Deadly(raw);
                    continue;
                }
                let (topic, partition, offset) = (raw.topic, raw.partition, raw.offset);
                let count = async |connection: &mut sqlx::PgConnection| {
                    log::count_attempt(connection, topic, partition, offset, before).await
                };
                self.store.run(count).await?;
            } else if self.gather.begun.insert(place) {
                let before = self.gather.starts.get(&place).copied().unwrap_or(0);
                let count = async |connection: &mut sqlx::PgConnection| {
                    log::count_start(connection, place.0, place.1, before).await
                };
                self.store.run(count).await?;
            }
        }
        Ok(())
    }
}
