//! What the loop does when partitions come and go.

use anyhow::bail;
use tracing::{info, warn};

use super::{gather::Gather, run::Run};
use crate::{
    consumer::{Change, Place, Position},
    contract::Timestamp,
    decider::{Decider, Due},
    execute::Execute,
    failpoint,
    failure::STARTS_MAX,
    log::{self, KeyHeld, StoreError, StoredPosition},
    process::{PARTITIONS, TOPICS},
    task,
};

impl<D: Decider> Run<D> {
    pub(super) async fn change(&mut self, change: Change) -> anyhow::Result<()> {
        match change {
            Change::Assigned { places, reply } => {
                let (stored, held) =
                    self.store.run(async |connection| assigned(connection, &places).await).await?;
                self.lag.clear(&self.metrics);
                // Said again where it is still so: the positions are compared with the topics after this.
                self.operator.reassigned();
                self.readiness.found(TOPICS);
                let now = self.clock.now();
                let positions = take_over(&mut self.execute, &mut self.gather, &stored, &held, now);
                failpoint::pass("rebalance", "assigned");
                info!(partitions = positions.len(), held_keys = held.len(), "assigned");
                let _ = reply.send(positions);
                self.readiness.found(PARTITIONS);
                self.relay
                    .set_alone((0..self.partitions).all(|partition| self.execute.owns_partition(partition)));
            }
            Change::Revoked { reply } => {
                failpoint::pass("rebalance", "revoked");
                give_up(&mut self.execute, &mut self.gather);
                self.relay.set_alone(false);
                self.operator.reassigned();
                self.readiness.found(TOPICS);
                self.lag.clear(&self.metrics);
                let _ = reply.send(());
            }
            Change::DataLossSuspected(suspicion) => {
                self.readiness.lacks(TOPICS, self.operator.suspect(suspicion));
            }
            Change::Fatal(reason) => bail!("the Kafka client cannot go on: {reason}"),
        }
        Ok(())
    }
}

/// These partitions, and no others, are ours. `held`: the keys of them that wait, read after the positions. Returns
/// where the consumer goes on.
pub fn take_over<D: Decider>(
    execute: &mut Execute<D>,
    gather: &mut Gather<D>,
    stored: &[StoredPosition],
    held: &[KeyHeld],
    now: Timestamp,
) -> Vec<Position> {
    gather.revoke();
    gather.deaf = false;
    for stored in stored.iter().filter(|stored| stored.starts >= STARTS_MAX) {
        warn!(
            topic = stored.topic.name(),
            partition = stored.partition,
            starts = stored.starts,
            "the last runs died with a message of this partition: taking its messages one by one"
        );
        gather.careful.insert((stored.topic, stored.partition), stored.attempt);
    }
    gather.starts.extend(stored.iter().map(|stored| ((stored.topic, stored.partition), stored.starts)));
    let position =
        |stored: &StoredPosition| Position { place: (stored.topic, stored.partition), next: stored.next };
    let positions: Vec<Position> = stored.iter().map(position).collect();
    execute.assign(&positions, held);
    // What an older build could not read may be readable now; what waits for nothing goes on.
    let waiting = |key: &&KeyHeld| key.letter.is_none() && key.newer + key.behind > 0;
    for key in held.iter().filter(waiting) {
        let Some(stream) = task::hold_stream(&key.key) else { continue };
        let told = task::told_by_hold(D::NAME, &key.key, now);
        gather.timers.take(task::task(stream, task::RELEASE, Due::Now, 1, &told));
    }
    positions
}

/// No partition is ours.
pub fn give_up<D: Decider>(execute: &mut Execute<D>, gather: &mut Gather<D>) {
    execute.revoke();
    gather.revoke();
}

/// Positions before holds: whoever still moves a position meanwhile fences us.
async fn assigned(
    connection: &mut sqlx::PgConnection,
    places: &[Place],
) -> Result<(Vec<StoredPosition>, Vec<KeyHeld>), StoreError> {
    let positions = log::positions(connection, places).await?;
    let mut partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let held = log::held_keys(connection, &partitions).await?;
    Ok((positions, held))
}
