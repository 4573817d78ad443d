//! The loop: what the consumer thread tells, in order.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use shared::{
    consumer::{Change, Consumer, Heard, Lag, Next, Operator, Place},
    contract::envelope::Raw,
    failpoint,
    failure::Brake,
    http::Readiness,
    pace::Pace,
    process::{PARTITIONS, TOPICS},
    shutdown::Shutdown,
};
use tokio::time::{interval, sleep_until};
use tracing::error;

use super::projection::{Came, Projection};

/// Messages committed together.
pub const BATCH_MAX: usize = 1_000;
/// What they may have together.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// From the beginning of one batch to that of the next, at least: a row is read by people, and the events of an order come a
/// few milliseconds apart at a low rate, each a batch of its own else.
const APART: Duration = Duration::from_millis(5);
/// How often we look how far we are behind, and whether the relay goes on, and tell the lag tools.
const WATCH: Duration = Duration::from_secs(1);
/// How long an operator waits, at most.
const LISTEN: Duration = Duration::from_millis(100);

/// Runs until shutdown is requested. `wake_relay` is called where there are letters to publish. An error ends the
/// process: the client cannot go on.
pub async fn run(
    mut projection: Projection,
    consumer: &Consumer,
    mut heard: Heard,
    mut operator: Operator,
    wake_relay: impl Fn(),
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut brake = Brake::default();
    let mut behind = Lag::default();
    let (mut watch, mut listen) = (interval(WATCH), interval(LISTEN));
    let mut offsets: HashMap<Place, i64> = HashMap::new();
    let (mut pace, mut next_batch) = (Pace::default(), Instant::now());
    loop {
        let is_early = Instant::now() < next_batch;
        let next = tokio::select! {
            // Also under load, and while the brake is on.
            biased;
            () = shutdown.requested() => {
                consumer.commit(offsets.into_iter().collect());
                return Ok(());
            }
            _ = watch.tick() => {
                projection.watch(&mut behind, &consumer.last_ends());
                if !offsets.is_empty() {
                    consumer.commit(offsets.drain().collect());
                }
                continue;
            }
            _ = listen.tick() => {
                if !operator.is_asked() {
                    continue;
                }
                let (positions, ends) = (projection.positions().collect::<Vec<_>>(), consumer.last_ends());
                while let Some(loss) = operator.listen(&mut brake, &positions, &ends) {
                    let Some(given_up) = projection.give_up(&loss).await else { return Ok(()) };
                    if operator.given_up(loss, given_up, &projection.metrics) {
                        projection.revoke();
                        consumer.reassign();
                    }
                }
                continue;
            }
            next = heard.next(!is_early && !brake.on(Instant::now())) => next,
            () = sleep_until(next_batch.into()), if is_early => continue,
        };
        let came = match next.context("the consumer thread is gone")? {
            Next::Message(raw) => {
                let began = Instant::now();
                let messages = gather(raw, &mut heard, brake.batch(BATCH_MAX));
                messages.iter().for_each(|raw| behind.taken(raw));
                let taken = messages.len();
                let came = projection.take(messages).await;
                pace.worked(taken, began);
                next_batch = pace.rested().max(began + APART);
                came
            }
            Next::Change(Change::Assigned { places, reply }) => {
                behind.clear(&projection.metrics);
                // Said again where it is still so: the positions are compared with the topics after this.
                operator.reassigned();
                readiness.found(TOPICS);
                let Some(positions) = projection.assign(&places).await else { return Ok(()) };
                failpoint::pass("rebalance", "assigned");
                // A thread that went away does not want it any more.
                let _ = reply.send(positions);
                readiness.found(PARTITIONS);
                // What waits for nothing any more goes on without a message.
                projection.take(Vec::new()).await
            }
            Next::Change(Change::Revoked { reply }) => {
                failpoint::pass("rebalance", "revoked");
                projection.revoke();
                offsets.clear();
                operator.reassigned();
                readiness.found(TOPICS);
                behind.clear(&projection.metrics);
                let _ = reply.send(());
                continue;
            }
            Next::Change(Change::DataLossSuspected(suspicion)) => {
                readiness.lacks(TOPICS, operator.suspect(suspicion));
                continue;
            }
            Next::Change(Change::Fatal(why)) => bail!("the Kafka client cannot go on: {why}"),
        };
        match came {
            Came::Committed { moved, good, poison, letters } => {
                offsets.extend(moved);
                if letters > 0 {
                    wake_relay();
                }
                if brake.count(good, poison, Instant::now()) {
                    error!("over half of the last messages were poison, so the projector pauses");
                }
            }
            Came::Fenced => {
                offsets.clear();
                consumer.reassign();
            }
            Came::Stopped => return Ok(()),
        }
    }
}

/// The message, and those that are there already.
fn gather(first: Raw, heard: &mut Heard, batch_max: usize) -> Vec<Raw> {
    let mut bytes = first.bytes();
    let mut messages = vec![first];
    while messages.len() < batch_max && bytes < BATCH_BYTES_MAX {
        let Some(raw) = heard.try_message() else { break };
        bytes += raw.bytes();
        messages.push(raw);
    }
    messages
}
