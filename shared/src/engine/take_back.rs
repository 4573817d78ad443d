//! Taking back what a lost or restored database had published: appended verbatim from the service's own topics,
//! before anything is consumed. Tasks are made again by the fold, in the same append.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, bail};
use sqlx::PgConnection;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    contract::{Timestamp, envelope::Recorded, ids::StreamName, message::Event},
    decider::{Decider, Due, Folded, FoldedStreams, Told, Via},
    log::{self, Append, Appended, Begun, DoneTask, Load, connect},
    relay::{
        RelaySettings,
        heal::{HealError, missing_events},
    },
    task,
};

/// Events of one append, about: whole decisions.
const EVENTS_MAX: usize = 1_000;
const RETRY: Duration = Duration::from_secs(1);

/// Returns how many events were taken back. Waits for servers that are away; refuses where log and topics do not
/// agree.
pub(super) async fn take_back<D: Decider>(
    decider: &D,
    relay: &RelaySettings,
    partitions: i32,
) -> anyhow::Result<usize> {
    let mut taken = 0;
    loop {
        match once(decider, relay, partitions).await {
            Ok(Once { events, again }) => {
                taken += events;
                if !again {
                    break;
                }
            }
            Err(error) if is_away(&error) => {
                warn!("waiting to compare the log with its topics: {error:#}");
                sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
    if taken > 0 {
        warn!(events = taken, "the topics were ahead of the log: their events were taken back");
    }
    Ok(taken)
}

fn is_away(error: &anyhow::Error) -> bool {
    let store = |error: &log::StoreError| error.is_infrastructure();
    match error.downcast_ref::<HealError>() {
        Some(HealError::Broker(_)) => true,
        Some(HealError::Store(error)) => store(error),
        Some(HealError::Refused(_)) => false,
        None => match error.downcast_ref::<connect::Unfit>() {
            Some(connect::Unfit::Store(error)) => store(error),
            // It was the primary when this process started.
            Some(connect::Unfit::Standby) => true,
            _ => error.downcast_ref::<log::StoreError>().is_some_and(store),
        },
    }
}

struct Once {
    events: usize,
    /// There may be more.
    again: bool,
}

async fn once<D: Decider>(decider: &D, relay: &RelaySettings, partitions: i32) -> anyhow::Result<Once> {
    let mut connection = log::answered(connect::connect(&relay.database_url, D::NAME)).await?;
    let missing = missing_events(relay, &mut connection).await?;
    let now: Timestamp = log::answered(async {
        let now = sqlx::query_scalar("select date_trunc('milliseconds', clock_timestamp())");
        now.fetch_one(&mut connection).await.map_err(log::StoreError::from)
    })
    .await?;
    let mut taken = 0;
    let again = !missing.is_empty();
    for events in decisions(missing) {
        let first = events.first().map_or(0, |event| event.position);
        let last = events.last().map_or(0, |event| event.position);
        let count = events.len();
        let append = with_tasks(decider, &mut connection, events, partitions, now).await?;
        match log::answered(log::append(&mut connection, &append)).await? {
            Appended::Done { .. } | Appended::DoneBefore { .. } => {
                taken += count;
                info!(first, last, "events taken back");
            }
            // Another replica takes them back as well, so what is left is to be found out anew.
            Appended::LogMoved { .. } => break,
            Appended::Fenced => bail!("events {first} to {last} move no position, and were fenced"),
        }
    }
    Ok(Once { events: taken, again })
}

/// Cut between decisions, so that a crash leaves no half of one.
fn decisions(events: Vec<Recorded>) -> Vec<Vec<Recorded>> {
    let mut batches = vec![Vec::new()];
    for event in events {
        let begins = event.decision.index == 1;
        if begins && batches.last().is_some_and(|batch: &Vec<Recorded>| batch.len() >= EVENTS_MAX) {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(event);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// The append of these events with the tasks that their streams owe after them.
async fn with_tasks<D: Decider>(
    decider: &D,
    connection: &mut PgConnection,
    events: Vec<Recorded>,
    partitions: i32,
    now: Timestamp,
) -> anyhow::Result<Append> {
    let mut names: Vec<StreamName> = events.iter().map(|event| event.stream.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let load = Load { streams: names, fingerprint: D::FINGERPRINT.to_owned(), ..Load::default() };
    let loaded = log::answered(log::load(connection, &load)).await?;
    let mut streams: FoldedStreams<D::State> = FoldedStreams::default();
    for (stream, snapshot, known) in loaded.streams {
        let mut folded = match &snapshot {
            Some(snapshot) => {
                Folded { version: snapshot.version, state: serde_json::from_str(&snapshot.state)? }
            }
            None => Folded::default(),
        };
        for event in &known {
            fold(decider, &mut folded, event)?;
        }
        streams.insert(stream, folded);
    }
    append(decider, streams, events, partitions, now)
}

/// `streams`: as they stand before the events.
fn append<D: Decider>(
    decider: &D,
    mut streams: FoldedStreams<D::State>,
    events: Vec<Recorded>,
    partitions: i32,
    now: Timestamp,
) -> anyhow::Result<Append> {
    let before: BTreeMap<StreamName, Vec<&'static str>> =
        streams.iter().map(|(stream, folded)| (stream.clone(), kinds(decider, stream, folded))).collect();
    // By stream and kind: what made it owed last; of what was owed before, the first that left it so.
    let mut told: HashMap<(StreamName, &'static str), Told> = HashMap::new();
    let mut append =
        Append { seen: events.first().map_or(0, |event| event.position) - 1, ..Append::default() };
    for event in &events {
        let folded = streams.entry(event.stream.clone()).or_default();
        let known = kinds(decider, &event.stream, folded);
        fold(decider, folded, event)?;
        // As it was told when the event was new. What its tasks make has ids of its own by the version (execute/decide.rs).
        let by = Told {
            id: event.causation_id,
            at: now,
            via: Via::Topic,
            correlation_id: Some(event.correlation_id),
            traceparent: event.traceparent.clone(),
        };
        if let Some(hold) = task::hold_stream(event.stream.key()).filter(|_| event.version == 1) {
            let release = task::task(hold, task::RELEASE, Due::Now, 1, &by);
            let release = task::owned(release, partitions);
            append.begun.push(Begun { key: event.stream.key().to_owned(), release });
        }
        for kind in kinds(decider, &event.stream, folded) {
            let owed = (event.stream.clone(), kind);
            if !known.contains(&kind) || !told.contains_key(&owed) {
                told.insert(owed, by.clone());
            }
        }
    }
    for (stream, kinds_before) in before {
        let Some(folded) = streams.get(&stream) else { continue };
        let owed = decider.owes(&stream, &folded.state);
        for kind in kinds_before.into_iter().filter(|kind| owed.iter().all(|owed| owed.kind != *kind)) {
            append.tasks_done.push(DoneTask { id: task::task_id(&stream, kind), run: None });
        }
        for owed in owed {
            let Some(by) = told.get(&(stream.clone(), owed.kind)) else { continue };
            let task = task::task(stream.clone(), owed.kind, owed.due, 1, by);
            append.tasks.push(task::owned(task, partitions));
        }
    }
    append.events = events;
    Ok(append)
}

fn kinds<D: Decider>(decider: &D, stream: &StreamName, folded: &Folded<D::State>) -> Vec<&'static str> {
    decider.owes(stream, &folded.state).into_iter().map(|owed| owed.kind).collect()
}

fn fold<D: Decider>(decider: &D, folded: &mut Folded<D::State>, recorded: &Recorded) -> anyhow::Result<()> {
    let event = D::Event::decode(&recorded.event_type, &recorded.data)
        .with_context(|| format!("position {} has a type that this build does not know", recorded.position))?
        .with_context(|| format!("position {} cannot be read", recorded.position))?;
    folded.state = decider.evolve(std::mem::take(&mut folded.state), &event);
    folded.version = recorded.version;
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        contract::{
            envelope::Part,
            ids::OrderId,
            order::{OrderCreated, OrderEvent},
        },
        execute::tests::sample::Sample,
    };

    fn event(position: i64, index: u16, count: u16) -> Recorded {
        Recorded {
            position,
            stream: StreamName::parse("order-1").unwrap(),
            version: position,
            event_id: Uuid::from_u128(position as u128),
            event_type: String::new(),
            data: String::new(),
            decision: Part { index, count },
            correlation_id: Uuid::nil(),
            causation_id: Uuid::nil(),
            traceparent: None,
            recorded_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_append_ends_with_a_whole_decision() {
        let events = (0..1_500).map(|n| event(n + 1, (n % 3) as u16 + 1, 3)).collect();
        let batches = decisions(events);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 1_500);
        for batch in &batches {
            assert_eq!(batch.first().unwrap().decision.index, 1);
            assert_eq!(batch.last().unwrap().decision.index, 3);
        }
        assert!(batches.len() > 1);
    }

    #[test]
    fn a_task_that_is_owed_again_is_caused_by_what_caused_its_event() {
        let order_id = OrderId::new(Uuid::from_u128(1)).unwrap();
        let stream = StreamName::order(order_id);
        let line = serde_json::json!([{"sku": "SKU-1", "quantity": 1, "unit_price_minor": 5}]);
        let said = OrderEvent::from(OrderCreated {
            order_id,
            user_id: "u1".parse().unwrap(),
            lines: serde_json::from_value(line).unwrap(),
            amount: "0.05EUR".parse().unwrap(),
            deadline_at: None,
            deadline_given: false,
        });
        let created = Recorded {
            stream: stream.clone(),
            event_type: said.event_type().to_owned(),
            data: said.data(),
            causation_id: Uuid::from_u128(7),
            traceparent: Some("00-1-2-01".to_owned()),
            ..event(1, 1, 1)
        };
        let streams = FoldedStreams::from_iter([(stream, Folded::default())]);
        let append = append(&Sample, streams, vec![created], 4, Timestamp::UNIX_EPOCH).unwrap();
        let [owed] = &append.tasks[..] else { panic!("one task: {:?}", append.tasks) };
        assert_eq!(owed.task.cause, Uuid::from_u128(7));
        assert_eq!(owed.task.traceparent.as_deref(), Some("00-1-2-01"));
    }
}
