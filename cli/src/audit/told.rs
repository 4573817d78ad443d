//! Invariant 8. What a client was told exists; what it was refused does not; what it does not know exists at most
//! once. Only as far as somebody kept a journal of the answers.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        envelope::Recorded,
        ids::{OrderId, Sku, StreamName},
        message::Message,
        order::OrderEvent,
        stock::StockEvent,
    },
    http::Token,
};

use super::{Violation, World, violation};

/// What a client asked, and how that ended for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub asked: Asked,
    pub answer: Answer,
    /// What an accepted command was answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
}

/// Something that a client can repeat, and that must then happen once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Asked {
    /// An order under an id that the client chose.
    Order { order_id: OrderId },
    /// A receipt or an adjustment under a reference.
    Stock { sku: Sku, reference: String },
    /// That an order be cancelled, however often: done, refused by an event, or had been cancelled already.
    Cancel { order_id: OrderId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 2xx.
    Ok,
    /// 4xx.
    Refused,
    /// A time-out, a cut connection, 5xx.
    Unknown,
}

pub(super) fn check(world: &World) -> Vec<Violation> {
    if world.told.is_empty() {
        return Vec::new();
    }
    let happened = happened(world);
    let mut found = Vec::new();
    // Of one that was asked again all answers count: refused the second time says nothing about the first.
    let mut answers: BTreeMap<&Asked, Vec<Answer>> = BTreeMap::new();
    for told in &world.told {
        answers.entry(&told.asked).or_default().push(told.answer);
    }
    for (asked, answers) in answers {
        let times = happened.get(asked).copied().unwrap_or(0);
        let detail = if let Asked::Cancel { .. } = asked {
            let is_lost = answers.contains(&Answer::Ok) && times == 0;
            is_lost.then(|| "was accepted and nothing became of it".to_owned())
        } else if answers.contains(&Answer::Ok) {
            (times != 1).then(|| format!("was accepted and is in the log {times} times"))
        } else if answers.contains(&Answer::Unknown) {
            (times > 1).then(|| format!("was not answered and is in the log {times} times"))
        } else {
            (times > 0).then(|| format!("was refused and is in the log {times} times"))
        };
        found.extend(detail.map(|detail| violation(8, name(asked), detail)));
    }
    let versions: HashSet<(&StreamName, i64)> =
        events(world).map(|event| (&event.stream, event.version)).collect();
    let tokens = world.told.iter().filter_map(|told| Some((&told.asked, told.token.as_ref()?)));
    let lost = tokens.filter(|(_, token)| !versions.contains(&(&token.stream, token.version)));
    found.extend(lost.map(|(asked, token)| {
        violation(8, name(asked), format!("was answered with {token}, which is in no log"))
    }));
    found
}

fn happened(world: &World) -> HashMap<Asked, usize> {
    let mut happened: HashMap<Asked, usize> = HashMap::new();
    for (_, message) in world.events() {
        let asked = match message {
            Message::Order(OrderEvent::Created(created)) => Asked::Order { order_id: created.order_id },
            Message::Order(OrderEvent::Cancelled(cancelled)) => {
                Asked::Cancel { order_id: cancelled.order_id }
            }
            Message::Order(OrderEvent::CancellationRejected(rejected)) => {
                Asked::Cancel { order_id: rejected.order_id }
            }
            Message::Stock(StockEvent::Received(received)) => match received.reference {
                Some(reference) => Asked::Stock { sku: received.sku, reference },
                None => continue,
            },
            Message::Stock(StockEvent::Adjusted(adjusted)) => {
                Asked::Stock { sku: adjusted.sku, reference: adjusted.reference }
            }
            _ => continue,
        };
        *happened.entry(asked).or_default() += 1;
    }
    happened
}

fn events(world: &World) -> impl Iterator<Item = &Recorded> {
    world.services.iter().flat_map(|log| &log.events)
}

fn name(asked: &Asked) -> String {
    match asked {
        Asked::Order { order_id } => order_id.to_string(),
        Asked::Cancel { order_id } => format!("cancel of {order_id}"),
        Asked::Stock { sku, reference } => format!("{sku} {reference}"),
    }
}
