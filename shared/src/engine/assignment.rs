//! What the loop does when partitions come and go.

use anyhow::bail;
use tracing::{info, warn};

use super::run::Run;
use crate::{
    consumer::{Change, Place, Position},
    contract::ids,
    decider::{Decider, Due},
    failpoint,
    failure::STARTS_MAX,
    log::{self, StoreError},
    process::{PARTITIONS, TOPICS},
    task,
};

impl<D: Decider> Run<D> {
    pub(super) async fn change(&mut self, change: Change) -> anyhow::Result<()> {
        match change {
            Change::Assigned { places, reply } => {
                let (stored, held) =
                    self.store.run(async |connection| assigned(connection, &places).await).await?;
                let positions: Vec<Position> = stored
                    .iter()
                    .map(|stored| Position { place: (stored.topic, stored.partition), next: stored.next })
                    .collect();
                self.gather.revoke();
                self.lag.clear(&self.metrics);
                self.gather.deaf = false;
                // Said again where it is still so: the positions are compared with the topics after this.
                self.readiness.found(TOPICS);
                for stored in stored.iter().filter(|stored| stored.starts >= STARTS_MAX) {
                    warn!(
                        topic = stored.topic.name(),
                        partition = stored.partition,
                        starts = stored.starts,
                        "the last runs died with a message of this partition: taking its messages one by one"
                    );
                    self.gather.careful.insert((stored.topic, stored.partition), stored.attempt);
                }
                let starts = stored.iter().map(|stored| ((stored.topic, stored.partition), stored.starts));
                self.gather.starts.extend(starts);
                self.execute.assign(&positions, &held);
                // What an older build could not read may be readable now; what waits for nothing goes on.
                let waiting = |key: &&log::KeyHeld| key.letter.is_none() && key.newer + key.behind > 0;
                for key in held.iter().filter(waiting) {
                    let Some(stream) = task::hold_stream(&key.key) else { continue };
                    let cause = ids::named(&["hold", D::NAME, &key.key]);
                    let now = self.clock.now();
                    let release = task::task(stream, task::RELEASE, Due::Now, 1, cause, now);
                    self.gather.timers.take(release);
                }
                failpoint::pass("rebalance", "assigned");
                info!(partitions = positions.len(), held_keys = held.len(), "assigned");
                let _ = reply.send(positions);
                self.readiness.found(PARTITIONS);
            }
            Change::Revoked { reply } => {
                failpoint::pass("rebalance", "revoked");
                self.execute.revoke();
                self.gather.revoke();
                self.lag.clear(&self.metrics);
                let _ = reply.send(());
            }
            Change::DataLossSuspected(why) => self.readiness.lacks(TOPICS, why),
            Change::Fatal(reason) => bail!("the Kafka client cannot go on: {reason}"),
        }
        Ok(())
    }
}

/// Positions before holds: whoever still moves a position meanwhile fences us.
async fn assigned(
    connection: &mut sqlx::PgConnection,
    places: &[Place],
) -> Result<(Vec<log::StoredPosition>, Vec<log::KeyHeld>), StoreError> {
    let positions = log::positions(connection, places).await?;
    let mut partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let held = log::held_keys(connection, &partitions).await?;
    Ok((positions, held))
}
