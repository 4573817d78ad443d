//! What is to be taken back, decided on what was read. Pure.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::contract::{
    envelope::{Envelope, Recorded},
    ids::StreamName,
    topics::Topic,
};

/// An event of this service as its topic has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEvent {
    pub topic: Topic,
    pub key: String,
    pub envelope: Envelope,
}

/// Why the service must not start: the topics say something that the log contradicts, or not the whole of it.
/// Waiting does not help; a person decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("position {position} is event {in_log} in the log and event {on_topic} on its topic")]
    Differs { position: i64, in_log: Uuid, on_topic: Uuid },
    #[error("position {position} is event {one} and event {other} on its topic")]
    Ambiguous { position: i64, one: Uuid, other: Uuid },
    #[error(
        "the log ends at {log_end} and the topics at {topics_end}, but position {position} is on no topic"
    )]
    Missing { position: i64, log_end: i64, topics_end: i64 },
    #[error(
        "the topics end at {topics_end}, in the middle of a decision that begins at {begins}: {has} of {of} events"
    )]
    Torn { begins: i64, topics_end: i64, has: usize, of: usize },
    #[error("position {position} is {found} of its decision, where {expected} must stand")]
    Decision { position: i64, found: String, expected: String },
    #[error("position {position} has no {what}")]
    Incomplete { position: i64, what: &'static str },
}

/// The events after the log's end that the topics have, in order, as whole decisions, at most about `max` of them.
///
/// `own` are the ids of the log at the positions that were seen up to its end. What was seen can repeat itself and
/// come in any order. Nothing missing is an empty answer, and the usual one.
pub fn plan(
    log_end: i64,
    own: &HashMap<i64, Uuid>,
    seen: impl IntoIterator<Item = SeenEvent>,
    topics_end: i64,
    max: usize,
) -> Result<Vec<Recorded>, Refusal> {
    let mut missing: BTreeMap<i64, SeenEvent> = BTreeMap::new();
    for event in seen {
        let Some(position) = event.envelope.position else { continue };
        let on_topic = event.envelope.id;
        if position <= log_end {
            match own.get(&position) {
                Some(in_log) if *in_log != on_topic => {
                    return Err(Refusal::Differs { position, in_log: *in_log, on_topic });
                }
                _ => continue,
            }
        }
        let known = missing.entry(position).or_insert(event);
        if known.envelope.id != on_topic {
            return Err(Refusal::Ambiguous { position, one: known.envelope.id, other: on_topic });
        }
    }
    let mut taken: Vec<Recorded> = Vec::new();
    // Up to here decisions are whole.
    let mut whole = 0;
    let mut next = missing.into_iter();
    for position in log_end + 1..=topics_end {
        if taken.len() == whole && taken.len() >= max {
            break;
        }
        let event = match next.next() {
            Some((found, event)) if found == position => recorded(position, event)?,
            _ => return Err(Refusal::Missing { position, log_end, topics_end }),
        };
        let begun = &taken[whole..];
        let expected = begun.len() + 1;
        let count = begun.first().map_or(event.decision.count, |first| first.decision.count);
        if usize::from(event.decision.index) != expected || event.decision.count != count {
            let (found, expected) = (event.decision.to_string(), format!("{expected}/{count}"));
            return Err(Refusal::Decision { position, found, expected });
        }
        taken.push(event);
        if expected == usize::from(count) {
            whole = taken.len();
        }
    }
    if let Some(first) = taken.get(whole) {
        let (begins, has, of) = (first.position, taken.len() - whole, usize::from(first.decision.count));
        return Err(Refusal::Torn { begins, topics_end, has, of });
    }
    Ok(taken)
}

/// The event as it stood in the log: its message says all of it.
fn recorded(position: i64, event: SeenEvent) -> Result<Recorded, Refusal> {
    let SeenEvent { topic, key, envelope } = event;
    let incomplete = |what| Refusal::Incomplete { position, what };
    let category = topic.category().ok_or(incomplete("stream"))?;
    Ok(Recorded {
        position,
        stream: StreamName::parse(&format!("{category}-{key}")).ok_or(incomplete("key of a stream"))?,
        version: envelope.sequence.ok_or(incomplete("sequence"))?,
        event_id: envelope.id,
        event_type: envelope.message_type,
        data: envelope.data,
        decision: envelope.decision.ok_or(incomplete("decision"))?,
        correlation_id: envelope.correlation_id.ok_or(incomplete("correlationid"))?,
        causation_id: envelope.causation_id.ok_or(incomplete("causationid"))?,
        traceparent: envelope.traceparent,
        recorded_at: envelope.time.ok_or(incomplete("time"))?,
    })
}

#[cfg(test)]
mod tests;
