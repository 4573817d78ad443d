//! What must hold when all is over: of each log and its topic, of each service against the others, of what the edge was
//! told.

use std::collections::HashSet;

use order_service::domain::Order;
use shared::{
    contract::{
        envelope::{Headers, Raw, Recorded},
        topics::Topic,
    },
    log::{LetterChange, LetterStatus},
    relay::record,
};

use super::{
    broker::PARTITIONS,
    process::Service,
    site::Site,
    world::{World, is_touched},
};
use crate::saga_model::{audit as saga, traffic};

/// Codes of letters that the traffic plants, and that an order that was not touched may have.
const REFUSED: [&str; 3] = ["idempotency-key-reused", "insufficient-stock", "order-state"];

pub(super) fn ended(world: &mut World) -> Result<(), String> {
    of_site(world, &world.orders)?;
    of_site(world, &world.inventory)?;
    of_site(world, &world.payments)?;
    let (mut completed, mut settled) = (0, 0);
    let orders = world.orders.database.store.remembered(world.orders.decider.clone())?;
    let inventory = world.inventory.database.store.remembered(world.inventory.decider.clone())?;
    let payments = world.payments.database.store.remembered(world.payments.decider.clone())?;
    for number in 0..world.order_count {
        let id = traffic::order_id(number);
        if world.edge.touched.contains(&id.uuid().as_u128()) {
            continue;
        }
        let ended = saga::ended(id, &orders, &inventory, &payments, &world.provider.books);
        if world.edge.to_cancel.contains(&id.uuid().as_u128()) {
            saga::cancel_was_answered(id, &orders).map_err(|what| format!("order {number}: {what}"))?;
        }
        match ended.map_err(|what| format!("order {number}: {what}"))? {
            true => completed += 1,
            false => settled += 1,
        }
    }
    let events: Vec<_> = inventory.log.iter().map(|logged| logged.event.clone()).collect();
    let mut stock = saga::Audit::default();
    stock.of_inventory(&inventory, &events)?;
    stock.every_stock(&inventory)?;
    for (stream, version) in world.edge.told.values() {
        if orders.version(stream) < *version || matches!(orders.state(stream), Order::None) {
            return Err(format!("somebody was told of {stream} version {version}, and it does not exist"));
        }
    }
    world.completed = completed;
    world.settled = settled;
    Ok(())
}

fn of_site<D: Service>(world: &World, site: &Site<D>) -> Result<(), String> {
    let store = &site.database.store;
    published(world, site)?;
    let touched =
        |key: &str| key.parse::<uuid::Uuid>().is_ok_and(|id| world.edge.touched.contains(&id.as_u128()));
    let mut malformed = 0;
    for record in &store.letters {
        let LetterChange::Dead(letter) = &record.what else { continue };
        let key = String::from_utf8_lossy(letter.raw.key.as_deref().unwrap_or_default());
        malformed += usize::from(letter.code == "invalid-json");
        if !touched(&key) && letter.code != "invalid-json" && !REFUSED.contains(&letter.code.as_str()) {
            return Err(format!("a good message is a dead letter of {}: {letter:?}", D::NAME));
        }
        if letter.raw
            != world.env.broker.partition((letter.raw.topic, letter.raw.partition))
                [letter.raw.offset as usize]
                .raw
        {
            return Err(format!("the bytes of a letter differ from its message: {letter:?}"));
        }
        if !store.letter(record.letter_id).and_then(|stored| stored.status).is_some_and(LetterStatus::is_end)
        {
            return Err(format!("a letter of {} was looked after and is not done with", D::NAME));
        }
    }
    if D::READS.contains(&Topic::OrdersCommands) && malformed != world.edge.malformed {
        return Err(format!("{} malformed messages, {malformed} letters of them", world.edge.malformed));
    }
    if let Some(row) = store.held.iter().find(|row| !touched(&row.held.key)) {
        return Err(format!(
            "{} messages are held for ever at {}, the first: {row:?}",
            store.held.len(),
            D::NAME
        ));
    }
    if let Some(owned) = store.tasks.values().find(|owned| !is_touched(&world.edge.touched, owned)) {
        return Err(format!("{} owes {:?} for ever", D::NAME, owned.task));
    }
    Ok(())
}

/// Every event and every record of a letter is on its topic, the same bytes, in the order of its key.
fn published<D: Service>(world: &World, site: &Site<D>) -> Result<(), String> {
    let store = &site.database.store;
    let events = store.log.iter().map(|event| record::of_event(D::NAME, event));
    let mut last = std::collections::HashMap::new();
    for entry in events {
        let entry = entry?;
        let place = (entry.record.topic, entry.record.partition(PARTITIONS));
        let found = world
            .env
            .broker
            .partition(place)
            .iter()
            .position(|message| message.raw.value == entry.record.value);
        let Some(offset) = found else {
            return Err(format!("event {} of {} is not on {}", entry.position, D::NAME, place.0));
        };
        let before = last.insert((place, entry.record.key.clone()), offset);
        if before.is_some_and(|before| before > offset) {
            return Err(format!("event {} of {} comes before the one before it", entry.position, D::NAME));
        }
    }
    for (place, messages) in world.env.broker.places().filter(|(place, _)| D::WRITES.contains(&place.0)) {
        for message in messages {
            is_of_the_log::<D>(&store.log, &message.raw).map_err(|what| {
                format!("{} {} has what {} never committed: {what}", place.0, place.1, D::NAME)
            })?;
        }
    }
    let ids: HashSet<_> = store.log.iter().map(|event| event.event_id).collect();
    if ids.len() != store.log.len() {
        return Err(format!("two events of {} have one id", D::NAME));
    }
    for row in store.letters_after(0, usize::MAX) {
        let entry = record::of_letter(&row);
        let place = (Topic::DeadLetters, entry.record.partition(PARTITIONS));
        let is_it = |message: &super::broker::Message| {
            message.raw.value == entry.record.value
                && message.raw.headers == Headers::Readable(entry.record.headers.clone())
        };
        if !world.env.broker.partition(place).iter().any(is_it) {
            return Err(format!("letter record {} of {} is not on dead-letters", row.number, D::NAME));
        }
    }
    Ok(())
}

/// What says that it is of a log is, with every byte and header.
fn is_of_the_log<D: Service>(log: &[Recorded], raw: &Raw) -> Result<(), String> {
    let Some(position) = raw.headers.text("ce_position") else { return Ok(()) };
    let index = position.parse::<usize>().map_err(|error| format!("position {position}: {error}"))?;
    let event = log.get(index.wrapping_sub(1)).ok_or_else(|| format!("position {position}"))?;
    let record = record::of_event(D::NAME, event)?.record;
    let same = raw.value == record.value
        && raw.key == record.key
        && raw.headers == Headers::Readable(record.headers);
    if same { Ok(()) } else { Err(format!("position {position} with other bytes")) }
}

/// Why it does not come to rest, for whoever looks for the reason.
pub(super) fn unrest(world: &World) -> String {
    fn of<D: Service>(world: &World, site: &Site<D>) -> String {
        let store = &site.database.store;
        let stuck: Vec<String> = Topic::ALL
            .into_iter()
            .flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)))
            .filter(|(topic, _)| super::consumer::Consumer::topics::<D>().contains(topic))
            .filter_map(|place| {
                let (next, end) =
                    (store.positions.get(&place).copied().unwrap_or(0), world.env.broker.end(place));
                (next != end).then(|| format!("{} {} at {next} of {end}", place.0, place.1))
            })
            .collect();
        let replicas: Vec<String> = site
            .replicas
            .iter()
            .map(|(run, process)| match process {
                None => format!("run {run} is dead"),
                Some(process) => format!(
                    "run {run} idle {} owns {:?} relay {}",
                    process.is_idle(),
                    process.owned(),
                    process.relay.is_done(&site.database)
                ),
            })
            .collect();
        format!(
            "{}: log {}, read {stuck:?}, replicas {replicas:?}, held {}, letters {}, tasks {:?}\n",
            D::NAME,
            store.end(),
            store.held.len(),
            store.letters.len(),
            store.tasks.values().map(|owned| &owned.task).collect::<Vec<_>>(),
        )
    }
    format!(
        "edge done {}\n{}{}{}",
        world.edge.is_done(),
        of(world, &world.orders),
        of(world, &world.inventory),
        of(world, &world.payments)
    )
}
