//! What needs attention: each with its reason in a sentence, and where more is to be seen.

use super::{consumers::LAG_SECONDS_MAX, orders::pairs, text};
use crate::{
    consumers::{Process, Standing},
    http::{App, overview::AlarmBody},
    read_model::{drift::Drifted, letter_groups::LetterGroup, query::Read},
    view::{
        awaiting::awaiting,
        letter,
        order::{OrderRow, Stage},
    },
};

/// From then on the consumer is said to be behind.
const LAG_MAX_MS: i64 = (LAG_SECONDS_MAX * 1_000.0) as i64;
/// Of the parts of a trend, those that are compared with the ones before.
const RISING_PARTS: usize = 3;
/// Fewer are no trend.
const RISING_LETTERS_MIN: i64 = 3;

impl AlarmBody {
    pub(super) fn died(group: &LetterGroup) -> Self {
        let query = pairs(&[("status", letter::OPEN), ("fingerprint", &group.fingerprint)]);
        let messages = if group.letters == 1 { "message" } else { "messages" };
        Self {
            kind: if is_rising(&group.trend) { "rising dead letters" } else { "dead letters" },
            what: format!("{} {messages} in {}", text::count(group.letters), group.group),
            why: format!("{}, {}", text::words(&group.code), group.message),
            address: format!("/dead-letters?{query}"),
        }
    }

    /// `None` where the order is within its limits.
    pub(super) fn late(app: &App, read: &Read<OrderRow>) -> Option<Self> {
        let awaited =
            awaiting(&read.row, &app.limits, read.now).into_iter().find(|awaited| awaited.overdue)?;
        let order = read.row.order.state.as_ref()?;
        let kind = match order.stage {
            Stage::Cancelled { .. } => "compensation overdue",
            _ => "overdue",
        };
        let until = awaited.until.map(|until| format!(", due {}", text::from_now(until, read.now)));
        let (what, until) = (awaited.what.replace('|', " or "), until.unwrap_or_default());
        Some(Self {
            kind,
            what: format!("order {} is {}", text::short(&read.row.order_id.uuid()), order.stage.status()),
            why: format!("waits for {what} from {}{until}", awaited.from),
            address: format!("/orders/{}", read.row.order_id),
        })
    }

    pub(super) fn behind(lag_ms: i64) -> Option<Self> {
        (lag_ms > LAG_MAX_MS).then(|| Self {
            kind: "lag",
            what: format!("the view is {} behind", text::duration(lag_ms)),
            why: "the projector does not keep up".into(),
            address: "/projections".into(),
        })
    }

    pub(super) fn drifted(Drifted { order_id, what, .. }: &Drifted) -> Self {
        Self {
            kind: "drift",
            what: format!("the view of order {} is not what its topics say", text::short(&order_id.uuid())),
            why: what.clone(),
            address: "/projections".into(),
        }
    }

    pub(super) fn held(keys: i64) -> Option<Self> {
        (keys > 0).then(|| Self {
            kind: "held",
            what: format!("{} keys are held", text::count(keys)),
            why: "messages wait behind a dead letter of the same order or sku".into(),
            address: "/dead-letters?status=open&group=projector".into(),
        })
    }

    /// Of the groups and processes that are known of: what the view cannot tell by itself.
    pub(super) fn of_consumers(standing: Option<&Standing>) -> Vec<Self> {
        let alarm = |kind, what: String, why: String| Self { kind, what, why, address: "/consumers".into() };
        let Some(standing) = standing else {
            let (what, why) = ("how the consumers stand is not known", "nobody has answered yet");
            return vec![alarm("no answer", what.into(), why.into())];
        };
        let mut alarms = Vec::new();
        if let Some(why) = &standing.broker {
            let what = "Kafka does not say how the consumers stand".to_owned();
            alarms.push(alarm("no answer", what, why.clone()));
        }
        for Process { admin, said } in &standing.processes {
            if let Err(why) = said {
                let what = format!("the process at {admin} does not say how it stands");
                alarms.push(alarm("no answer", what, why.clone()));
            }
        }
        let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
        for group in &standing.groups {
            let behind =
                || group.partitions.iter().flatten().filter(|of| of.messages().is_some_and(|some| some > 0));
            let oldest_ms = behind().filter_map(|of| of.since_ms).map(|since_ms| now_ms - since_ms).max();
            if let Some(ms) = oldest_ms.filter(|ms| *ms > LAG_MAX_MS) {
                let messages = text::count(behind().filter_map(|of| of.messages()).sum());
                let why = format!("{messages} messages wait, the oldest for {}", text::duration(ms));
                alarms.push(alarm("lag", format!("{} is behind", group.name), why));
            }
        }
        let told = standing.processes.iter().filter_map(|process| process.said.as_ref().ok());
        for said in told {
            let service = &said.service;
            if said.held_keys > 0 && service != crate::intake::GROUP {
                let why =
                    "messages wait behind a dead letter of the same order or sku, or for their cause".into();
                let keys = if said.held_keys == 1 { "key" } else { "keys" };
                let query = pairs(&[("status", letter::OPEN), ("group", service)]);
                alarms.push(Self {
                    address: format!("/dead-letters?{query}"),
                    ..alarm("held", format!("{} {keys} in {service}", text::count(said.held_keys)), why)
                });
            }
            if said.paused_ms > 0 {
                let why =
                    "over half of its last messages were poison: fulfil consumer resume lifts it".into();
                alarms.push(alarm("paused", format!("{service} reads nothing"), why));
            }
            for (invariant, times) in &said.violations {
                let why = format!("an event contradicts it: {invariant}; the log of {service} says which");
                let what = format!("{} times in {service}", text::count(*times));
                alarms.push(alarm("invariant violated", what, why));
            }
            let missing = said.suspected.iter();
            alarms.extend(missing.map(|why| alarm("messages missing", service.clone(), why.clone())));
        }
        alarms
    }
}

/// More than twice as many as in a like time before.
fn is_rising(trend: &[i64]) -> bool {
    let (before, now) = trend.split_at(trend.len().saturating_sub(RISING_PARTS));
    let (before_parts, before): (usize, i64) = (before.len(), before.iter().sum());
    let now: i64 = now.iter().sum();
    now >= RISING_LETTERS_MIN && now * before_parts as i64 > 2 * before * RISING_PARTS as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumers::{Group, Partition, Said};

    #[test]
    fn letters_rise_where_there_are_twice_as_many_as_before() {
        assert!(is_rising(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]));
        assert!(is_rising(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 1]));
        assert!(!is_rising(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]));
        assert!(!is_rising(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]));
        assert!(!is_rising(&[]));
    }

    #[test]
    fn what_only_the_consumers_tell_is_an_alarm_each_and_what_is_well_is_none() {
        let partition = |committed, since_ms| Partition {
            topic: shared::contract::topics::Topic::OrdersEvents,
            partition: 0,
            committed: Some(committed),
            end: Some(10),
            since_ms,
            member: None,
        };
        let group = |name, partition| Group { name, partitions: Some(vec![partition]), ..Group::default() };
        let said =
            |service: &str, held_keys, paused_ms, violations: &[(&str, i64)], suspected: &[&str]| Process {
                admin: "http://a:1".into(),
                said: Ok(Said {
                    service: service.into(),
                    paused_ms,
                    suspected: suspected.iter().map(|why| (*why).to_owned()).collect(),
                    held_keys,
                    violations: violations.iter().map(|(name, times)| ((*name).to_owned(), *times)).collect(),
                }),
            };
        let groups = vec![
            group("order-service", partition(3, Some(0))),
            group("payment-service", partition(3, Some(i64::MAX))),
            group("projector", partition(10, Some(0))),
        ];
        let processes = vec![
            said("order-service", 0, 0, &[], &[]),
            said("payment-service", 2, 5, &[("no such stock", 1)], &["lost"]),
            // Its own are told by the view.
            said("projector", 2, 0, &[], &[]),
            Process { admin: "http://b:1".into(), said: Err("away".into()) },
        ];
        let alarms = AlarmBody::of_consumers(Some(&Standing { broker: None, groups, processes }));
        let kinds: Vec<&str> = alarms.iter().map(|alarm| alarm.kind).collect();
        assert_eq!(kinds, ["no answer", "lag", "held", "paused", "invariant violated", "messages missing"]);
        assert!(alarms[1].why.starts_with("7 messages wait"), "{alarms:?}");
        assert!(alarms[4].why.contains("no such stock"), "{alarms:?}");
        let silent = vec![Group { name: "projector", ..Group::default() }];
        let away = Standing { broker: Some("away".into()), groups: silent, processes: Vec::new() };
        for (standing, why) in [(Some(&away), "away"), (None, "nobody has answered yet")] {
            let alarms = AlarmBody::of_consumers(standing);
            assert_eq!((alarms.len(), alarms[0].kind, &*alarms[0].why), (1, "no answer", why));
        }
    }
}
