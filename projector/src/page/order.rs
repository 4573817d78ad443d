//! One order: what became of it and why, to scale and in words.

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::Value;
use shared::{
    contract::{Timestamp, brief::brief, envelope::time_text, ids::OrderId, money::Money, order::Line},
    http::{PathParam, Problem, Query},
};

use super::{
    died::Died,
    lanes::{Lanes, Spot},
    layout::{Frame, rendered},
    orders::mark,
    past::{Stood, effects},
    text,
    way::{self, Way},
};
use crate::{
    http::{
        App,
        orders::{Known, PastQuery, known, past},
    },
    view::{
        awaiting::{Awaiting, awaiting},
        letter::LetterRow,
        order::{Order, OrderRow, Stage, reason_name},
        past::{Past, pasts},
        stock::Reservation,
        timeline::{Told, story},
        why::{Why, why},
    },
};

#[derive(Template)]
#[template(path = "order.html")]
struct Screen {
    frame: Frame,
    id: String,
    /// Null before order-service has told of it.
    head: Option<Head>,
    /// Why, in a few words; empty where all goes well, or did.
    why: String,
    died: Vec<Died>,
    awaited: Vec<Awaited>,
    lanes: Lanes,
    events: Vec<Event>,
    /// After the event that the address names.
    stood: Option<Stood>,
    way: Option<Way>,
}

pub(super) struct Head {
    pub status: &'static str,
    pub mark: &'static str,
    pub reason: String,
    user_id: String,
    amount: String,
    created_at: String,
    took: String,
    lines: Vec<(String, i64, String)>,
    pub stock: String,
    pub payment: String,
    /// Whether somebody may still cancel it.
    is_open: bool,
    is_foreign: bool,
}

struct Awaited {
    what: String,
    from: &'static str,
    until: String,
    is_overdue: bool,
    held_behind: Option<Died>,
}

struct Event {
    number: usize,
    time: String,
    since_begin: String,
    service: String,
    name: String,
    what: String,
    /// What it moved of goods and money.
    effect: String,
    is_failure: bool,
    latency: String,
    deliveries: i64,
    event_id: String,
    data: String,
}

pub(super) async fn show(
    State(app): State<App>,
    PathParam(id): PathParam<OrderId>,
    Query(asked): Query<PastQuery>,
) -> Result<Response, Problem> {
    let Known { read, entries, letters } = known(&app, id).await?;
    let now = read.as_ref().map_or_else(|| Timestamp::from(std::time::SystemTime::now()), |read| read.now);
    let row = read.as_ref().map(|read| &read.row);
    let awaited = row.map(|row| awaiting(row, &app.limits, now)).unwrap_or_default();
    let told = story(entries);
    let pasts: Vec<Past> = pasts(id, &told).collect();
    let events = events(&told, effects(&pasts), now);
    let has_ended = letters.is_empty() && row.is_none_or(OrderRow::has_ended);
    let stays = asked.event.is_some() || has_ended;
    let stood = match asked.event {
        Some(number) => Some(Stood::of(&past(id, &told, number)?, number, told.len())),
        None => None,
    };
    let spots: Vec<Spot<'_>> = told
        .iter()
        .zip(&events)
        .map(|(told, event)| Spot {
            number: event.number,
            id: told.entry.event_id,
            service: &told.entry.service,
            time: told.entry.time,
            cause: told.entry.cause,
            name: &event.name,
            is_failure: event.is_failure,
            deliveries: told.entry.deliveries,
        })
        .collect();
    let way = Way::of(&spots);
    let lanes = Lanes::of(spots, &awaited, now);
    let title = format!("Order {}", text::short(&id.uuid()));
    let command = match asked.event {
        Some(number) => format!("fulfil order get {id} --event {number}"),
        None if told.is_empty() => format!("fulfil dlq list --key {id}"),
        None => format!("fulfil order timeline {id}"),
    };
    let frame = Frame::new(&app, "orders", title, command);
    rendered(&Screen {
        frame: if stays { frame } else { frame.live(format!("/orders/{id}")) },
        id: id.to_string(),
        head: row.and_then(|row| Head::of(row, now)),
        why: row.map(|row| said(&why(row, &told))).unwrap_or_default(),
        died: letters.iter().filter_map(|row| Died::of(row, now)).collect(),
        awaited: awaited.into_iter().map(|awaited| Awaited::of(&awaited, &letters, now)).collect(),
        lanes,
        events,
        stood,
        way,
    })
}

impl Head {
    pub(super) fn of(row: &OrderRow, now: Timestamp) -> Option<Self> {
        let order: &Order = row.order.state.as_ref()?;
        let ended_at = if row.has_ended() { row.order.at } else { None };
        let line = |line: &Line| {
            let price = Money::new(line.unit_price_minor, order.amount.currency);
            (line.sku.to_string(), line.quantity, price.to_string())
        };
        let payment = row.payment.state.as_ref().map(|payment| {
            let status = name_of(&payment.status);
            let code = payment.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            let amount = payment.amount.map(|amount| format!(", {amount}")).unwrap_or_default();
            format!("{status}{code}{amount}")
        });
        Some(Self {
            status: order.stage.status(),
            mark: mark(&order.stage),
            reason: order.stage.reason().map(|reason| text::words(reason_name(reason))).unwrap_or_default(),
            user_id: order.user_id.to_string(),
            amount: order.amount.to_string(),
            created_at: time_text(order.created_at),
            took: text::duration((ended_at.unwrap_or(now) - order.created_at).num_milliseconds().max(0)),
            lines: order.lines.iter().map(line).collect(),
            stock: row.reservation.state.as_ref().map(stock).unwrap_or_else(|| "nothing yet".into()),
            payment: payment.unwrap_or_else(|| "nothing yet".into()),
            is_open: matches!(order.stage, Stage::Created | Stage::Confirmed { .. }),
            is_foreign: row.foreign,
        })
    }
}

/// What inventory-service holds or did, in words.
fn stock(reservation: &Reservation) -> String {
    let (name, lines) = match reservation {
        Reservation::Reserved { lines } => ("reserved", lines),
        Reservation::Committed { lines } => ("shipped", lines),
        Reservation::Released { lines } => ("released", lines),
        Reservation::Restocked { lines } => ("restocked", lines),
        Reservation::Rejected { shortages } => {
            let short: Vec<String> = shortages
                .iter()
                .map(|short| format!("{} of {} {}", short.available, short.requested, short.sku))
                .collect();
            return format!("rejected: there were {}", short.join(", "));
        }
    };
    let lines: Vec<String> = lines.iter().map(|line| format!("{} × {}", line.quantity, line.sku)).collect();
    if lines.is_empty() {
        format!("{name}: nothing was held")
    } else {
        format!("{name} {}", lines.join(", "))
    }
}

/// As it is on the wire, in words.
fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(text::words)).unwrap_or_default()
}

/// As sentences.
fn said(why: &Why<'_>) -> String {
    let cancelled = why.cancellation.map(|cancellation| {
        let (by, reason) = (name_of(&cancellation.by), text::words(reason_name(cancellation.reason)));
        // Who cancels is the reason of most who do.
        let reason = if reason == by { String::new() } else { format!(": {reason}") };
        let note = cancellation.note.as_ref().map(|note| format!(" (“{note}”)")).unwrap_or_default();
        format!("cancelled by the {by}{reason}{note}")
    });
    let told = why.cause.map(|Told { entry, .. }| {
        let data: Value = serde_json::from_str(&entry.data).unwrap_or_default();
        let what = Some(brief(&entry.event_type, &data)).filter(|what| !what.is_empty());
        let what = what.map(|what| format!(": {what}")).unwrap_or_default();
        format!("{} told: {}{what}", entry.service, text::event(&entry.event_type))
    });
    cancelled.into_iter().chain(told).collect::<Vec<_>>().join(". ")
}

impl Awaited {
    fn of(awaiting: &Awaiting, letters: &[LetterRow], now: Timestamp) -> Self {
        Self {
            what: awaiting.what.replace('|', " or "),
            from: awaiting.from,
            until: awaiting.until.map(|until| text::from_now(until, now)).unwrap_or_default(),
            is_overdue: awaiting.overdue,
            held_behind: awaiting.held_behind(letters).and_then(|row| Died::of(row, now)),
        }
    }
}

/// Kinds of events that tell of something that did not go as the customer wished.
const FAILURES: [&str; 6] = [
    "order cancelled",
    "order cancellation rejected",
    "stock rejected",
    "payment declined",
    "payment capture failed",
    "payment outcome unknown",
];

fn events(told: &[Told], effects: Vec<String>, now: Timestamp) -> Vec<Event> {
    let begin = told.iter().map(|told| told.entry.time).min().unwrap_or(now);
    let event = |(index, (Told { entry, latency_ms }, effect)): (usize, (&Told, String))| {
        let name = text::event(&entry.event_type);
        let data: Value = serde_json::from_str(&entry.data).unwrap_or_default();
        Event {
            number: index + 1,
            time: text::clock(entry.time, now),
            since_begin: text::duration((entry.time - begin).num_milliseconds()),
            service: entry.service.clone(),
            what: brief(&entry.event_type, &data),
            effect,
            is_failure: FAILURES.contains(&&*name),
            name,
            latency: latency_ms.map(text::duration).unwrap_or_default(),
            deliveries: entry.deliveries,
            event_id: entry.event_id.to_string(),
            data: serde_json::to_string_pretty(&data).unwrap_or_default(),
        }
    };
    told.iter().zip(effects).enumerate().map(event).collect()
}
