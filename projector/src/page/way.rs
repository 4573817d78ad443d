//! The choreography with the way of one order: every event that there is, those that happened lit, and what led to what.
//! Boxes and faint lines are what `choreography.toml` says; lit lines are the causes that events brought.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use shared::choreography::{Choreography, Event, TEXT};
use uuid::Uuid;

use super::{lanes::Spot, text};

const COLUMN: f64 = 112.0;
const ROW: f64 = 30.0;
pub(super) const BOX_WIDTH: f64 = 104.0;
/// A longer name is drawn closer, so that it stays in its box.
pub(super) const NAME_CHARS: usize = 15;
pub(super) const BOX_HEIGHT: f64 = 22.0;
/// For the name of the service over its boxes.
const HEAD: f64 = 20.0;

/// How far from the beginning an event stands; a test holds it against the choreography.
const PLACES: [(&str, usize); 23] = [
    ("OrderCreated", 0),
    ("OrderConfirmed", 4),
    ("OrderCancelled", 7),
    ("OrderCancellationRejected", 7),
    ("OrderProgressed", 10),
    ("OrderCompleted", 11),
    ("OrderSettled", 11),
    ("StockReserved", 1),
    ("StockRejected", 1),
    ("StockCommitted", 5),
    ("StockReleased", 8),
    ("StockRestocked", 8),
    ("PaymentRequested", 2),
    ("PaymentAuthorized", 3),
    ("PaymentDeclined", 3),
    ("PaymentOutcomeUnknown", 3),
    ("PaymentCaptureRequested", 5),
    ("PaymentCaptured", 6),
    ("PaymentCaptureFailed", 6),
    ("PaymentReversalRequested", 8),
    ("PaymentVoided", 9),
    ("PaymentRefunded", 9),
    ("PaymentAbandoned", 9),
];

/// What is the same for every order.
struct Map {
    width: f64,
    height: f64,
    lanes: Vec<(String, f64)>,
    stations: Vec<Station>,
    lines: Vec<String>,
}

struct Station {
    /// `order created`, without a version: all of them stand in one place.
    name: String,
    x: f64,
    y: f64,
}

pub(super) struct Way {
    pub width: f64,
    pub height: f64,
    pub lanes: &'static [(String, f64)],
    pub boxes: Vec<Lit>,
    /// What may lead to what, and what did.
    pub lines: &'static [String],
    pub lit: BTreeSet<String>,
    /// For those who do not see it.
    pub told: String,
}

pub(super) struct Lit {
    pub x: f64,
    pub y: f64,
    pub name: &'static str,
    /// The number of the first such event; `None` where it did not happen.
    pub number: Option<usize>,
    pub is_failure: bool,
}

static MAP: LazyLock<Option<Map>> = LazyLock::new(|| Choreography::parse(TEXT).ok().map(|all| Map::of(&all)));

impl Way {
    /// `None` never: the file is compiled in, and a test reads it.
    pub(super) fn of(spots: &[Spot<'_>]) -> Option<Self> {
        let map = MAP.as_ref()?;
        let lit = |station: &'static Station| {
            let mut of_it = spots.iter().filter(|spot| spot.name == station.name);
            let first = of_it.next();
            Lit {
                x: station.x,
                y: station.y,
                name: station.name.split_once(' ').map_or(&*station.name, |(_, name)| name),
                number: first.map(|spot| spot.number),
                is_failure: first.is_some_and(|spot| spot.is_failure),
            }
        };
        let of_events: HashMap<Uuid, &str> = spots.iter().map(|spot| (spot.id, spot.name)).collect();
        let led = spots.iter().filter_map(|spot| {
            let cause = of_events.get(&spot.cause?)?;
            Some(line(map.station(cause)?, map.station(spot.name)?))
        });
        let names = spots.iter().filter(|spot| map.station(spot.name).is_some()).map(|spot| spot.name);
        Some(Self {
            width: map.width,
            height: map.height,
            lanes: &map.lanes,
            boxes: map.stations.iter().map(lit).collect(),
            lines: &map.lines,
            lit: led.collect(),
            told: names.collect::<Vec<_>>().join(", then "),
        })
    }
}

impl Map {
    fn of(choreography: &Choreography) -> Self {
        let (mut lanes, mut stations, mut top) = (Vec::<(String, f64)>::new(), Vec::new(), 0.0);
        let mut taken = HashMap::new();
        let mut bottom = 0.0_f64;
        let placed = choreography.events.iter().filter_map(|event| {
            let (_, column) = PLACES.iter().find(|(name, _)| *name == event.name)?;
            Some((event, *column))
        });
        for (event, column) in placed {
            if lanes.last().is_none_or(|(service, _)| *service != event.by) {
                top = bottom;
                lanes.push((event.by.clone(), top + 13.0));
                taken.clear();
            }
            let row = taken.entry(column).or_insert(0.0);
            let y = top + HEAD + *row * ROW;
            *row += 1.0;
            bottom = bottom.max(y + ROW);
            stations.push(Station {
                name: text::event(&event.message_type),
                x: column as f64 * COLUMN + 2.0,
                y,
            });
        }
        let columns = PLACES.iter().map(|(_, column)| column + 1).max().unwrap_or_default();
        let mut map =
            Self { width: columns as f64 * COLUMN, height: bottom, lanes, stations, lines: Vec::new() };
        let of_names: HashMap<&str, String> = choreography
            .events
            .iter()
            .map(|event| (event.name.as_str(), text::event(&event.message_type)))
            .collect();
        let station = |name: &str| map.station(of_names.get(name)?);
        let pairs = choreography.events.iter().flat_map(|event| {
            let follows = follows(choreography, event).into_iter();
            follows.filter_map(|after| Some(line(station(&event.name)?, station(after)?)))
        });
        map.lines = pairs.collect::<BTreeSet<_>>().into_iter().collect();
        map
    }

    fn station(&self, name: &str) -> Option<&Station> {
        self.stations.iter().find(|station| station.name == name)
    }
}

/// All that services may publish about an event, and about the answers that are asked for after it.
fn follows<'a>(choreography: &'a Choreography, event: &'a Event) -> Vec<&'a str> {
    let answers = choreography.answers.iter().filter(|answer| event.asks.contains(&answer.to));
    let reactions = event.reactions.iter().map(|reaction| &reaction.publishes);
    reactions.chain(answers.map(|answer| &answer.publishes)).flatten().map(String::as_str).collect()
}

/// From the right side of a box to the left one of another, or over its top where that is not to the right of it.
fn line(from: &Station, to: &Station) -> String {
    let (right, left) = (from.x + BOX_WIDTH, to.x);
    let (begin, end) = (from.y + BOX_HEIGHT / 2.0, to.y + BOX_HEIGHT / 2.0);
    if left >= right {
        let middle = (right + left) / 2.0;
        return format!("M{right} {begin}C{middle} {begin} {middle} {end} {left} {end}");
    }
    let bulge = right.max(to.x + BOX_WIDTH) + 14.0;
    format!("M{right} {begin}C{bulge} {begin} {bulge} {end} {} {end}", to.x + BOX_WIDTH)
}

#[cfg(test)]
mod tests {
    use shared::contract::{Timestamp, topics::Topic};

    use super::*;

    #[test]
    fn every_event_of_an_order_has_its_place() {
        let choreography = Choreography::parse(TEXT).unwrap();
        for event in &choreography.events {
            let is_of_a_sku = event.topic == Topic::InventoryStock.name();
            let is_placed = PLACES.iter().any(|(name, _)| *name == event.name);
            assert_ne!(is_of_a_sku, is_placed, "{}", event.name);
        }
        for (name, _) in PLACES {
            assert!(choreography.events.iter().any(|event| event.name == name), "there is no {name}");
        }
    }

    #[test]
    fn what_happened_is_lit_and_so_is_what_led_to_it() {
        let spot = |number, name, cause: Option<u128>| Spot {
            number,
            id: Uuid::from_u128(number as u128),
            service: "",
            time: Timestamp::UNIX_EPOCH,
            cause: cause.map(Uuid::from_u128),
            name,
            is_failure: name == "stock rejected",
            deliveries: 1,
        };
        let spots =
            [spot(1, "order created", Some(99)), spot(2, "stock rejected", Some(1)), spot(3, "vip", Some(2))];
        let way = Way::of(&spots).unwrap();
        let lit: Vec<_> =
            way.boxes.iter().filter_map(|lit| Some((lit.number?, lit.name, lit.is_failure))).collect();
        assert_eq!(lit, [(1, "created", false), (2, "rejected", true)]);
        assert_eq!(way.lit.len(), 1);
        assert!(way.lit.iter().all(|line| way.lines.contains(line)), "the choreography says so");
        assert_eq!(way.told, "order created, then stock rejected");
    }
}
