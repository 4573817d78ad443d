use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;
use crate::contract::{
    Timestamp,
    envelope::{Headers, Mode, Part, Raw, decode},
};

const MAX: usize = 1_000;

fn event(position: i64, index: u16, count: u16) -> Recorded {
    let order = Uuid::from_u128(position as u128 % 3 + 1);
    Recorded {
        position,
        stream: StreamName::parse(&format!("order-{order}")).unwrap(),
        version: position,
        event_id: Uuid::from_u128(1_000 + position as u128),
        event_type: "fulfil.order.confirmed.v1".into(),
        data: format!(r#"{{"order_id": "{order}",  "note":"\u00e4 {position}"}}"#),
        decision: Part { index, count },
        correlation_id: Uuid::from_u128(7),
        causation_id: Uuid::from_u128(8),
        traceparent: (position % 2 == 0)
            .then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        recorded_at: Timestamp::from_timestamp_millis(1_790_000_000_000 + position).unwrap(),
    }
}

/// Decisions of these sizes, from position 1.
fn log(sizes: &[u16]) -> Vec<Recorded> {
    let parts = sizes.iter().flat_map(|count| (1..=*count).map(move |index| (index, *count)));
    parts.zip(1..).map(|((index, count), position)| event(position, index, count)).collect()
}

/// As the relay published it and a reader finds it.
fn seen(event: &Recorded) -> SeenEvent {
    let outgoing = event.encode("order-service").unwrap();
    let headers = outgoing.headers;
    let raw = Raw {
        topic: outgoing.topic,
        partition: 0,
        offset: 0,
        key: Some(outgoing.key.clone()),
        value: outgoing.value,
        headers: Headers::Readable(headers),
        timestamp_ms: 0,
    };
    let envelope = decode(&raw, Mode::Production).unwrap();
    SeenEvent { topic: raw.topic, key: String::from_utf8(outgoing.key.to_vec()).unwrap(), envelope }
}

/// The log has lost what is after `log_end`; the topics have what is `on_topics`.
fn missing(all: &[Recorded], log_end: i64, on_topics: &[Recorded]) -> Result<Vec<Recorded>, Refusal> {
    let own = all.iter().filter(|event| event.position <= log_end);
    let own = own.map(|event| (event.position, event.event_id)).collect();
    let end = on_topics.iter().map(|event| event.position).max().unwrap_or(0);
    plan(log_end, &own, on_topics.iter().map(seen), end, MAX)
}

#[test]
fn what_the_log_lost_is_taken_back_as_it_was() {
    let all = log(&[1, 2, 3, 1]);
    assert_eq!(missing(&all, 3, &all).unwrap(), all[3..]);
    assert_eq!(missing(&all, 0, &all).unwrap(), all);
}

#[test]
fn nothing_is_missing_where_the_log_is_ahead() {
    let all = log(&[1, 2]);
    assert_eq!(missing(&all, 3, &all), Ok(vec![]));
    assert_eq!(missing(&all, 3, &all[..1]), Ok(vec![]));
    assert_eq!(missing(&all, 3, &[]), Ok(vec![]));
}

#[test]
fn repeats_in_any_order_change_nothing() {
    let all = log(&[2, 1, 4, 1, 1]);
    let mut on_topics = [all.clone(), all[2..].to_vec()].concat();
    for seed in 0..50 {
        on_topics.shuffle(&mut StdRng::seed_from_u64(seed));
        assert_eq!(missing(&all, 3, &on_topics).unwrap(), all[3..]);
    }
}

#[test]
fn another_event_at_a_position_of_the_log_is_refused() {
    let all = log(&[1, 1, 1]);
    let mut on_topics = all.clone();
    on_topics[1].event_id = Uuid::from_u128(1);
    let refusal = missing(&all, 2, &on_topics).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Differs { position: 2, in_log: all[1].event_id, on_topic: Uuid::from_u128(1) }
    );
    assert!(refusal.to_string().contains("position 2"));
}

#[test]
fn two_events_at_a_position_are_refused() {
    let all = log(&[1, 1]);
    let other = Recorded { event_id: Uuid::from_u128(1), ..all[1].clone() };
    let refusal = missing(&all, 1, &[all[1].clone(), other]);
    assert!(matches!(refusal, Err(Refusal::Ambiguous { position: 2, .. })), "{refusal:?}");
}

#[test]
fn a_position_that_is_on_no_topic_is_refused() {
    let all = log(&[1, 1, 1, 1]);
    let refusal = missing(&all, 1, &[all[0].clone(), all[1].clone(), all[3].clone()]);
    assert_eq!(refusal, Err(Refusal::Missing { position: 3, log_end: 1, topics_end: 4 }));
}

#[test]
fn a_torn_last_decision_is_refused() {
    let all = log(&[1, 3]);
    let refusal = missing(&all, 1, &all[..3]);
    assert_eq!(refusal, Err(Refusal::Torn { begins: 2, topics_end: 3, has: 2, of: 3 }));
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_decision_is_refused() {
    let all = log(&[1, 3]);
    let refusal = missing(&all, 2, &all);
    assert!(matches!(refusal, Err(Refusal::Decision { position: 3, .. })), "{refusal:?}");
}

#[test]
fn an_event_that_does_not_say_all_of_itself_is_refused() {
    let all = log(&[1, 1]);
    let mut event = seen(&all[1]);
    event.envelope.causation_id = None;
    let refusal = plan(1, &HashMap::new(), [event], 2, MAX);
    assert_eq!(refusal, Err(Refusal::Incomplete { position: 2, what: "causationid" }));
}

#[test]
fn much_is_taken_back_in_rounds_of_whole_decisions() {
    let all = log(&[3; 10]);
    let (mut taken, mut rounds) = (Vec::new(), 0);
    loop {
        let round = plan(taken.len() as i64, &HashMap::new(), all.iter().map(seen), 30, 4).unwrap();
        if round.is_empty() {
            break;
        }
        taken.extend(round);
        rounds += 1;
    }
    assert_eq!((taken, rounds), (all, 5));
}
