//! A service without its servers, asked as HTTP asks it: a real decider behind a real inbox.

use std::time::Duration;

use chrono::DateTime;
use tokio::{sync::mpsc, time};

use super::memory::{Logged, Memory, told};
use crate::{
    decider::{Decider, Existing, Told, Via},
    engine::inbox::{self, Answer, Asked, Inbox, Unanswered},
};

/// Decides what is asked, one command after the other, for as long as anybody can ask.
pub fn deciding<D: Decider>(decider: D) -> Inbox<D> {
    deciding_over(Memory::new(decider), Duration::ZERO)
}

/// The same over a log that holds something, where each answer takes its time.
pub fn deciding_over<D: Decider>(memory: Memory<D>, delay: Duration) -> Inbox<D> {
    let (inbox, asked) = inbox::channel(ASKED_MAX);
    tokio::spawn(run(memory, asked, delay));
    inbox
}

const ASKED_MAX: usize = 1000;
/// 2026-11-24T10:00:00Z, for ever.
const NOW_SECONDS: i64 = 1_795_514_400;

async fn run<D: Decider>(mut memory: Memory<D>, mut asked: mpsc::Receiver<Asked<D>>, delay: Duration) {
    while let Some(Asked { id, command, traceparent, reply }) = asked.recv().await {
        time::sleep(delay).await;
        let at = DateTime::from_timestamp(NOW_SECONDS, 0).unwrap_or_default();
        let told = Told { via: Via::Http, traceparent, ..told(id, at) };
        // The asker may be gone; what was asked is decided all the same.
        let _ = reply.send(answer(&mut memory, &command, &told));
    }
}

fn answer<D: Decider>(
    memory: &mut Memory<D>,
    command: &D::Command,
    told: &Told,
) -> Result<Answer<D>, Unanswered> {
    let stream = memory.decider.streams(command).into_iter().next().ok_or(Unanswered::Failed)?;
    let identity = memory.decider.identity(command, told);
    let existing = memory.log.iter().find(|logged| Some(logged.id) == identity).map(
        |Logged { stream, version, event, .. }| Existing {
            stream: stream.clone(),
            version: *version,
            event: event.clone(),
        },
    );
    let decision = memory.handle(command, told).map_err(Unanswered::Refused)?;
    let (version, state) = (memory.version(&stream), memory.state(&stream));
    let events = decision.events.into_iter().map(|decided| decided.event).collect();
    Ok(Answer { stream, version, state, events, existing })
}
