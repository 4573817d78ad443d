//! The loop: what the consumer thread tells, in order.

use std::{
    collections::HashMap,
    future::ready,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use shared::{
    consumer::{Change, Consumer, Heard, Lag, Next, Operator, Place},
    failpoint,
    failure::Brake,
    http::Readiness,
    pace::Pace,
    process::{PARTITIONS, TOPICS},
    shutdown::Shutdown,
};
use tokio::time::{interval, sleep_until};
use tracing::error;

use super::{
    gathered::{BATCH_MAX, Gathered},
    projection::{Came, Projection},
};

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
    let (mut pace, mut gathered) = (Pace::default(), Gathered::default());
    loop {
        let batch_max = brake.batch(BATCH_MAX);
        let has_room = !gathered.is_full(batch_max) && !brake.on(Instant::now());
        let due = gathered.due(batch_max, pace.rested());
        // A timer would round it up to its next millisecond.
        let is_due = due.is_some_and(|due| due <= Instant::now());
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
            next = heard.next(has_room) => Some(next.context("the consumer thread is gone")?),
            // Only where there is no other message, or no room for it.
            () = ready(()), if is_due => None,
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() && !is_due => None,
        };
        let came = match next {
            Some(Next::Message(raw)) => {
                let now = Instant::now();
                gathered.push(raw, now, &projection.waiters);
                while !gathered.is_full(batch_max)
                    && let Some(raw) = heard.try_message()
                {
                    gathered.push(raw, now, &projection.waiters);
                }
                continue;
            }
            None => {
                let began = Instant::now();
                let messages = gathered.take();
                messages.iter().for_each(|raw| behind.taken(raw));
                let taken = messages.len();
                let came = projection.take(messages).await;
                pace.worked(taken, began);
                came
            }
            // What was gathered before comes again where it is still ours.
            Some(Next::Change(Change::Assigned { places, reply })) => {
                gathered.take();
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
            Some(Next::Change(Change::Revoked { reply })) => {
                gathered.take();
                failpoint::pass("rebalance", "revoked");
                projection.revoke();
                offsets.clear();
                operator.reassigned();
                readiness.found(TOPICS);
                behind.clear(&projection.metrics);
                let _ = reply.send(());
                continue;
            }
            Some(Next::Change(Change::DataLossSuspected(suspicion))) => {
                readiness.lacks(TOPICS, operator.suspect(suspicion));
                continue;
            }
            Some(Next::Change(Change::Fatal(why))) => bail!("the Kafka client cannot go on: {why}"),
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
