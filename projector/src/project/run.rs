//! The loop: what the consumer thread tells, in order.

use std::time::{Duration, Instant};

use anyhow::bail;
use shared::{
    consumer::{Consumer, Heard, Lag},
    contract::envelope::Raw,
    failure::Brake,
    http::Readiness,
    process::{PARTITIONS, TOPICS},
    shutdown::Shutdown,
};
use tokio::{
    sync::mpsc::{Receiver, error::TryRecvError},
    time::interval,
};
use tracing::error;

use super::projection::{Came, Projection};

/// Messages committed together.
pub const BATCH_MAX: usize = 1_000;
/// How often we look how far we are behind, and whether the relay goes on.
const WATCH: Duration = Duration::from_secs(1);

/// Runs until shutdown is requested. `wake_relay` is called where there are letters to publish. An error ends the
/// process: the client cannot go on.
pub async fn run(
    mut projection: Projection,
    consumer: &Consumer,
    mut heard: Receiver<Heard>,
    wake_relay: impl Fn(),
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut brake = Brake::default();
    let mut behind = Lag::default();
    let mut watch = interval(WATCH);
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => tokio::select! {
                // Also under load, and while the brake is on.
                biased;
                () = shutdown.requested() => return Ok(()),
                _ = watch.tick() => {
                    projection.watch(&mut behind, &consumer.last_ends());
                    continue;
                }
                // Nothing is taken while it brakes; a rebalance goes on without our answer and fences us.
                first = heard.recv(), if !brake.on(Instant::now()) => match first {
                    Some(first) => first,
                    None => bail!("the consumer thread is gone"),
                },
            },
        };
        match first {
            Heard::Message(raw) => {
                let messages = gather(raw, &mut heard, &mut next, brake.batch(BATCH_MAX));
                messages.iter().for_each(|raw| behind.taken(raw));
                match projection.take(messages).await {
                    Came::Committed { moved, good, poison, letters } => {
                        consumer.commit(moved);
                        if letters > 0 {
                            wake_relay();
                        }
                        if brake.count(good, poison, Instant::now()) {
                            error!("over half of the last messages were poison, so the projector pauses");
                        }
                    }
                    Came::Fenced => consumer.reassign(),
                    Came::Stopped => return Ok(()),
                }
            }
            Heard::Assigned { places, reply } => {
                let Some(positions) = projection.assign(&places).await else { return Ok(()) };
                // A thread that went away does not want it any more.
                let _ = reply.send(positions);
                readiness.found(PARTITIONS);
                // What waits for nothing any more goes on without a message.
                if projection.take(Vec::new()).await == Came::Fenced {
                    consumer.reassign();
                }
            }
            Heard::Revoked { reply } => {
                projection.revoke();
                behind.clear();
                let _ = reply.send(());
            }
            Heard::DataLossSuspected(why) => readiness.lacks(TOPICS, why),
            Heard::Fatal(why) => bail!("the Kafka client cannot go on: {why}"),
        }
    }
}

/// The message, and those that are there already. What is not a message waits for the next turn.
fn gather(first: Raw, heard: &mut Receiver<Heard>, next: &mut Option<Heard>, batch_max: usize) -> Vec<Raw> {
    let mut messages = vec![first];
    while messages.len() < batch_max {
        match heard.try_recv() {
            Ok(Heard::Message(raw)) => messages.push(raw),
            Ok(other) => {
                *next = Some(other);
                break;
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    messages
}
