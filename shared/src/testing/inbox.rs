//! A service without its servers: a real decider behind a real inbox, its log a map in memory.

use std::{collections::HashMap, time::Duration};

use chrono::DateTime;
use tokio::sync::mpsc;

use crate::{
    contract::ids::StreamName,
    decider::{Decider, Existing, Folded, Streams, Told, Via},
    engine::inbox::{self, Answer, Asked, Inbox, Unanswered},
};

/// Decides what is asked, one command after the other, for as long as anybody can ask. Tasks and calls are dropped.
pub fn deciding<D: Decider>(decider: D) -> Inbox<D> {
    deciding_after(decider, Duration::ZERO)
}

/// The same, where each answer takes its time.
pub fn deciding_after<D: Decider>(decider: D, delay: Duration) -> Inbox<D> {
    let (inbox, asked) = inbox::channel(ASKED_MAX);
    tokio::spawn(run(decider, asked, delay));
    inbox
}

const ASKED_MAX: usize = 1000;
/// 2026-11-24T10:00:00Z, for ever.
const NOW_SECONDS: i64 = 1_795_514_400;

async fn run<D: Decider>(decider: D, mut asked: mpsc::Receiver<Asked<D>>, delay: Duration) {
    let mut log = Log { streams: HashMap::new(), events: HashMap::new() };
    while let Some(Asked { id, command, traceparent, reply }) = asked.recv().await {
        tokio::time::sleep(delay).await;
        let at = DateTime::from_timestamp(NOW_SECONDS, 0).unwrap_or_default();
        let told = Told { id, at, via: Via::Http, correlation_id: None, traceparent };
        // The asker may be gone; what was asked is decided all the same.
        let _ = reply.send(log.decide(&decider, &command, &told));
    }
}

struct Log<D: Decider> {
    streams: HashMap<StreamName, Folded<D::State>>,
    /// By the identity under which they were appended.
    events: HashMap<uuid::Uuid, Existing<D::Event>>,
}

impl<D: Decider> Log<D> {
    fn decide(&mut self, decider: &D, command: &D::Command, told: &Told) -> Result<Answer<D>, Unanswered> {
        let own = decider.streams(command).into_iter().next().ok_or(Unanswered::Failed)?;
        let existing = decider.identity(command, told).and_then(|id| self.events.get(&id)).cloned();
        let streams = Streams::new(&self.streams, existing.as_ref());
        let decision = decider.decide(&streams, command, told).map_err(Unanswered::Refused)?;
        for decided in &decision.events {
            let folded = self.streams.entry(decided.stream.clone()).or_default();
            folded.version += 1;
            folded.state = decider.evolve(std::mem::take(&mut folded.state), &decided.event);
            if let Some(id) = decided.id {
                let (stream, version) = (decided.stream.clone(), folded.version);
                self.events.insert(id, Existing { stream, version, event: decided.event.clone() });
            }
        }
        let Folded { version, state } = self.streams.get(&own).cloned().unwrap_or_default();
        let events = decision.events.into_iter().map(|decided| decided.event).collect();
        Ok(Answer { stream: own, version, state, events, existing })
    }
}
