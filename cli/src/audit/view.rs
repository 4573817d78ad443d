//! Invariant 6, the read side. The view equals a fold of the topics, up to where it says that it has read them; once
//! nothing is under way that is their end.
//!
//! Keys on which the projector buried or holds a message are left out: what is folded there depends on what an
//! operator made of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::SubsecRound;
use projector::{
    intake::{self, GROUP, Heard, READS},
    read_model::whole::{Copies, View},
    view::{
        letter::LetterRow,
        order::OrderRow,
        pace,
        rows::Rows,
        sale::{self, SaleKey, Sold},
        source::Source,
        stock::StockRow,
        timeline::{Entry, EntryId},
    },
};
use serde::Serialize;
use shared::contract::{
    Timestamp,
    dead_letter::DeadLetterCommand,
    envelope::{Mode, Raw},
    ids::{OrderId, Sku},
    topics::Topic,
};

use super::{Rules, Violation, World, violation};

/// A row as it is compared: its columns by name, as text.
type Columns = Vec<(&'static str, String)>;

/// What the topics make.
#[derive(Debug, Default)]
struct Folded {
    rows: Rows,
    left_out: HashSet<String>,
    found: Vec<Violation>,
}

pub(super) fn check(world: &World, rules: &Rules) -> Vec<Violation> {
    let Some(view) = &world.view else { return Vec::new() };
    let mut folded = fold(world, view, rules.mode);
    let mut found = std::mem::take(&mut folded.found);
    if rules.quiet {
        found.extend(behind(world, view).map(|(topic, partition, next, end)| {
            let detail = format!("{topic}[{partition}] is read up to {next} and ends at {end}");
            violation(6, "the view is behind", detail)
        }));
    }
    let out = |key: &str| folded.left_out.contains(key);
    let orders = |rows: &BTreeMap<OrderId, OrderRow>| -> BTreeMap<OrderId, OrderRow> {
        rows.iter().filter(|(id, _)| !out(&id.to_string())).map(|(id, row)| (*id, row.clone())).collect()
    };
    let (made, stored) = (orders(&folded.rows.orders), orders(&view.rows.orders));
    found.extend(compare("order_view", &made, &stored, OrderId::to_string, order_columns));
    // What is missing or too much is said once.
    let mut copies = copies(&made);
    copies.retain(|id, _| stored.contains_key(id));
    let mut stored_copies = view.copies.clone();
    stored_copies.retain(|id, _| copies.contains_key(id));
    found.extend(compare("order_view", &copies, &stored_copies, OrderId::to_string, copied));
    let wanted = view.wanted.iter().filter(|(.., id)| !out(&id.to_string())).cloned().collect();
    found.extend(differing_wishes(&wishes(&made), &wanted));
    let stocks = |rows: &BTreeMap<Sku, StockRow>| -> BTreeMap<Sku, StockRow> {
        rows.iter().filter(|(sku, _)| !out(sku.as_str())).map(|(id, row)| (id.clone(), row.clone())).collect()
    };
    let (made, stored) = (stocks(&folded.rows.stocks), stocks(&view.rows.stocks));
    found.extend(compare("stock_view", &made, &stored, Sku::to_string, stock_columns));
    let (made, stored) = (&folded.rows.letters, &view.rows.letters);
    found.extend(compare("dead_letter_view", made, stored, ToString::to_string, letter_columns));
    let timeline = |rows: &BTreeMap<EntryId, Entry>| -> BTreeMap<EntryId, Entry> {
        // What the database does not keep of a time.
        let kept = |entry: &Entry| Entry { time: entry.time.trunc_subsecs(6), ..entry.clone() };
        rows.iter().filter(|(_, entry)| !out(&entry.key)).map(|(id, entry)| (*id, kept(entry))).collect()
    };
    found.extend(differing_sums(view, &folded));
    let (made, stored) = (timeline(&folded.rows.timeline), timeline(&view.rows.timeline));
    found.extend(compare("timeline", &made, &stored, place, entry_columns));
    found
}

/// Partitions of which the view has not read all: topic, partition, the next offset and the end.
pub(super) fn behind<'w>(
    world: &'w World,
    view: &'w View,
) -> impl Iterator<Item = (Topic, i32, i64, i64)> + 'w {
    let mut ends: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
    for raw in world.messages.iter().filter(|raw| READS.contains(&raw.topic)) {
        let end = ends.entry((raw.topic, raw.partition)).or_default();
        *end = (*end).max(raw.offset + 1);
    }
    ends.into_iter().filter_map(|((topic, partition), end)| {
        let next = view.positions.get(&(topic, partition)).copied().unwrap_or(0);
        (next < end).then_some((topic, partition, next, end))
    })
}

/// Rows that are compared.
pub(super) fn rows(view: &View) -> usize {
    let rows = &view.rows;
    rows.orders.len() + rows.stocks.len() + rows.letters.len() + rows.timeline.len() + view.wanted.len()
}

fn fold(world: &World, view: &View, mode: Mode) -> Folded {
    let mut folded = Folded { left_out: left_out(world, mode), ..Folded::default() };
    for raw in &world.messages {
        let next = view.positions.get(&(raw.topic, raw.partition)).copied().unwrap_or(0);
        if !READS.contains(&raw.topic) || raw.offset >= next {
            continue;
        }
        match intake::read(raw, mode) {
            Ok(Heard::Event(fact)) => {
                if fact.message.key().is_some_and(|key| folded.left_out.contains(&key)) {
                    continue;
                }
                if let Err(failed) = folded.rows.fold(&fact) {
                    let place = format!("{}[{}]@{}", raw.topic, raw.partition, raw.offset);
                    let detail = format!("cannot be folded and is no dead letter: {failed}");
                    folded.found.push(violation(6, place, detail));
                }
            }
            Ok(Heard::Letter(id, record)) => folded.rows.fold_letter(id, &record),
            Ok(Heard::Command(..) | Heard::NotOurs) | Err(_) => {}
        }
    }
    // Begun for an event that then could not be folded.
    folded.rows.stocks.retain(|_, row| row.levels.version > 0);
    folded.rows.orders.retain(|_, row| {
        row.foreign || row.order.version > 0 || row.reservation.version > 0 || row.payment.version > 0
    });
    folded
}

fn left_out(world: &World, mode: Mode) -> HashSet<String> {
    let mut keys = HashSet::new();
    let Some(log) = world.services.iter().find(|log| log.service == GROUP) else { return keys };
    keys.extend(log.held.iter().map(|row| row.held.key.clone()));
    keys.extend(log.letters.iter().filter_map(|letter| Some(letter.letter.holds.as_ref()?.0.clone())));
    // One that was mended is folded as what it was mended to.
    let letters: HashMap<_, _> =
        log.letters.iter().map(|stored| (stored.letter_id, &stored.letter.raw)).collect();
    for raw in world.on(Topic::DeadLettersCommands) {
        let Ok(Heard::Command(_, DeadLetterCommand::Redrive(redrive))) = intake::read(raw, mode) else {
            continue;
        };
        let original = letters.get(&redrive.dead_letter_id).copied();
        let (Some(original), Ok(Some(value))) = (original, redrive.value()) else { continue };
        let mended = Raw { value: Some(value.into()), ..original.clone() };
        if let Ok(Heard::Event(fact)) = intake::read(&mended, mode) {
            keys.extend(fact.message.key());
        }
    }
    keys
}

/// Row by row, and of a row that differs column by column.
fn compare<K: Ord, R: PartialEq>(
    table: &str,
    made: &BTreeMap<K, R>,
    stored: &BTreeMap<K, R>,
    name: impl Fn(&K) -> String,
    columns: impl Fn(&R) -> Columns,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (id, row) in made {
        match stored.get(id) {
            None => found.push(violation(6, name(id), format!("{table} has no row of it, the topics have"))),
            Some(stored) if stored == row => {}
            Some(stored) => {
                let pairs = columns(row).into_iter().zip(columns(stored));
                let differing = pairs.filter(|((_, made), (_, stored))| made != stored);
                found.extend(differing.map(|((column, made), (_, stored))| {
                    let detail = format!("{table}.{column} is {stored}, and the topics make {made}");
                    violation(6, name(id), detail)
                }));
            }
        }
    }
    let unknown = stored.keys().filter(|id| !made.contains_key(*id));
    found.extend(unknown.map(|id| violation(6, name(id), format!("{table} has it, and the topics do not"))));
    found
}

fn copies(orders: &BTreeMap<OrderId, OrderRow>) -> BTreeMap<OrderId, Copies> {
    let copies = orders.iter().map(|(id, row)| {
        let state = row.order.state.as_ref();
        let copies = Copies {
            status: state.map(|order| order.stage.status().to_owned()),
            user_id: state.map(|order| order.user_id.to_string()),
            created_at: state.map(|order| order.created_at),
        };
        (*id, copies)
    });
    copies.collect()
}

fn wishes(orders: &BTreeMap<OrderId, OrderRow>) -> BTreeSet<(Sku, Timestamp, OrderId)> {
    let created = orders.values().filter_map(|row| Some((row.order_id, row.order.state.as_ref()?)));
    created
        .flat_map(|(id, order)| order.lines.iter().map(move |line| (line.sku.clone(), order.created_at, id)))
        .collect()
}

fn differing_wishes(
    made: &BTreeSet<(Sku, Timestamp, OrderId)>,
    stored: &BTreeSet<(Sku, Timestamp, OrderId)>,
) -> Vec<Violation> {
    let say = |(sku, at, id): &(Sku, Timestamp, OrderId), what: &str| {
        violation(6, id, format!("order_sku {what} {sku} at {at}"))
    };
    let missing = made.difference(stored).map(|wish| say(wish, "has no row of"));
    let unknown = stored.difference(made).map(|wish| say(wish, "has, and the topics do not,"));
    missing.chain(unknown).collect()
}

/// Counters; where orders are left out, against those that stand beside them.
fn differing_sums(view: &View, folded: &Folded) -> Vec<Violation> {
    let rows = if folded.left_out.is_empty() { &folded.rows } else { &view.rows };
    let told = || rows.orders.values().filter_map(|row| row.order.state.as_ref());
    let (mut sold, mut counted) = (view.rows.sales.clone(), view.rows.pace.clone());
    // What came to nothing stays.
    sold.retain(|_, sold| *sold != Sold::default());
    counted.retain(|_, orders| *orders != 0);
    let sale = |SaleKey { sku, hour, currency }: &SaleKey| {
        let sku = sku.as_ref().map_or("all skus", Sku::as_str);
        format!("{sku} {} {currency}", hour.map_or("ever".to_owned(), |hour| hour.to_string()))
    };
    let columns = |sold: &Sold| {
        let Sold { orders, quantity, amount_minor } = sold;
        vec![
            ("orders", orders.to_string()),
            ("quantity", quantity.to_string()),
            ("amount_minor", amount_minor.to_string()),
        ]
    };
    let mut found = compare("sale", &sale::sums(told()), &sold, sale, columns);
    let minute = |(minute, counted): &pace::PaceKey| format!("{minute} {counted:?}");
    let orders = |orders: &i64| vec![("orders", orders.to_string())];
    found.extend(compare("pace", &pace::sums(told()), &counted, minute, orders));
    found
}

fn order_columns(row: &OrderRow) -> Columns {
    let mut columns = source(["order_version", "order_at", "order_state"], &row.order);
    let names = ["reservation_version", "reservation_at", "reservation_state"];
    columns.extend(source(names, &row.reservation));
    columns.extend(source(["payment_version", "payment_at", "payment_state"], &row.payment));
    columns.push(("foreign", row.foreign.to_string()));
    columns
}

fn copied(copies: &Copies) -> Columns {
    vec![
        ("status", json(&copies.status)),
        ("user_id", json(&copies.user_id)),
        ("created_at", json(&copies.created_at)),
    ]
}

fn stock_columns(row: &StockRow) -> Columns {
    vec![
        ("version", row.levels.version.to_string()),
        ("at", json(&row.levels.at)),
        ("on_hand", json(&row.levels.state.map(|levels| levels.on_hand))),
        ("reserved", json(&row.levels.state.map(|levels| levels.reserved))),
    ]
}

fn letter_columns(row: &LetterRow) -> Columns {
    vec![
        ("letter", format!("{:?}", row.letter)),
        ("change", format!("{:?}", row.change)),
        ("redrives", row.redrives.to_string()),
    ]
}

fn entry_columns(entry: &Entry) -> Columns {
    vec![
        ("key", entry.key.clone()),
        ("type", entry.event_type.clone()),
        ("service", entry.service.clone()),
        ("time", json(&entry.time)),
        ("position", json(&entry.position)),
        ("cause", json(&entry.cause)),
        ("data", entry.data.clone()),
        ("deliveries", entry.deliveries.to_string()),
    ]
}

fn place((order_id, topic, sequence, event_id): &EntryId) -> String {
    format!("{order_id} {topic} {sequence} {event_id}")
}

fn source<S: Serialize>([version, at, state]: [&'static str; 3], source: &Source<S>) -> Columns {
    vec![(version, source.version.to_string()), (at, json(&source.at)), (state, json(&source.state))]
}

/// Values of a row are structs of numbers, text and ids: there is no map key that could fail.
fn json<V: Serialize>(value: &V) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
