//! The story of an order as a picture: one lane a service, time to scale, arrows from cause to effect.

use std::collections::HashMap;

use shared::contract::Timestamp;
use uuid::Uuid;

use super::text;
use crate::view::awaiting::Awaiting;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 34.0;
const LANE: f64 = 56.0;
/// Between two events of one lane, so that both can be seen: what is closer is moved to the right.
const APART: f64 = 15.0;
const LANES: [&str; 3] = ["order-service", "inventory-service", "payment-service"];

/// An event as the picture needs it.
pub(super) struct Spot<'a> {
    pub number: usize,
    pub id: Uuid,
    pub service: &'a str,
    pub time: Timestamp,
    pub cause: Option<Uuid>,
    pub name: &'a str,
    pub is_failure: bool,
    pub deliveries: i64,
}

pub(super) struct Lanes {
    pub width: f64,
    pub height: f64,
    pub lanes: Vec<Lane>,
    pub ticks: Vec<Tick>,
    pub arrows: Vec<String>,
    pub dots: Vec<Dot>,
    pub awaited: Vec<Dashed>,
}

pub(super) struct Lane {
    pub name: String,
    pub y: f64,
}

pub(super) struct Tick {
    pub x: f64,
    pub text: String,
}

pub(super) struct Dot {
    pub x: f64,
    pub y: f64,
    pub number: usize,
    pub title: String,
    pub is_failure: bool,
    /// Where it was more than once on its topic: a tick for each time more.
    pub again: Vec<f64>,
}

pub(super) struct Dashed {
    pub x: f64,
    pub y: f64,
    pub to: f64,
    pub text: String,
    pub is_overdue: bool,
}

impl Lanes {
    /// From the first event to the last one, or until now where something is awaited.
    pub(super) fn of(spots: Vec<Spot<'_>>, awaiting: &[Awaiting], now: Timestamp) -> Self {
        let mut names: Vec<String> = LANES.map(str::to_owned).into();
        for spot in &spots {
            if !names.iter().any(|name| name == spot.service) {
                names.push(spot.service.to_owned());
            }
        }
        let y = |service: &str| {
            let lane = names.iter().position(|name| name == service).unwrap_or_default();
            TOP + LANE * (lane as f64 + 0.5)
        };
        let begin = spots.iter().map(|spot| spot.time).min().unwrap_or(now);
        let last = spots.iter().map(|spot| spot.time).max().unwrap_or(now);
        let end = if awaiting.is_empty() { last } else { now.max(last) };
        let span_ms = (end - begin).num_milliseconds().max(1) as f64;
        // What is awaited stands beyond what has happened.
        let inner = WIDTH - LEFT - RIGHT - if awaiting.is_empty() { 0.0 } else { 120.0 };
        let x = |time: Timestamp| LEFT + (time - begin).num_milliseconds() as f64 / span_ms * inner;

        let (mut places, mut taken) = (HashMap::new(), HashMap::<&str, f64>::new());
        let mut dots = Vec::with_capacity(spots.len());
        for spot in &spots {
            let before = taken.get(spot.service).copied().unwrap_or(f64::MIN);
            let (at, y) = (x(spot.time).max(before + APART).min(WIDTH - 8.0), y(spot.service));
            taken.insert(spot.service, at);
            places.insert(spot.id, (at, y));
            let times = if spot.deliveries > 1 {
                format!(", {} times on its topic", spot.deliveries)
            } else {
                String::new()
            };
            dots.push(Dot {
                x: at,
                y,
                number: spot.number,
                title: format!(
                    "{}. {} after {}{times}",
                    spot.number,
                    spot.name,
                    text::duration((spot.time - begin).num_milliseconds())
                ),
                is_failure: spot.is_failure,
                again: (1..spot.deliveries.min(6)).map(|time| at + 4.0 * time as f64).collect(),
            });
        }
        let arrow = |spot: &Spot<'_>| {
            let (from, to) = (places.get(&spot.cause?)?, places.get(&spot.id)?);
            let middle = (from.0 + to.0) / 2.0;
            // Within a lane over it, so that it is not the lane.
            let lift = if from.1 == to.1 { -14.0 } else { 0.0 };
            Some(format!(
                "M{:.1} {:.1} C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}",
                from.0,
                from.1,
                from.1 + lift,
                to.1 + lift,
                to.0,
                to.1
            ))
        };
        let arrows = spots.iter().filter_map(arrow).collect();
        let ticks = (0..=4).map(|part| {
            let ms = span_ms * f64::from(part) / 4.0;
            Tick { x: LEFT + inner * f64::from(part) / 4.0, text: text::duration(ms as i64) }
        });
        let awaited = awaiting.iter().map(|awaiting| {
            let y = y(awaiting.from);
            let begins = taken.get(awaiting.from).copied().unwrap_or(LEFT);
            let until = awaiting.until.map(|until| {
                format!(
                    ", {} {}",
                    if awaiting.overdue { "was due" } else { "due" },
                    text::from_now(until, now)
                )
            });
            Dashed {
                x: begins + 8.0,
                y,
                to: WIDTH - 8.0,
                text: format!("{}{}", awaiting.what.replace('|', " or "), until.unwrap_or_default()),
                is_overdue: awaiting.overdue,
            }
        });
        let (awaited, ticks) = (awaited.collect(), ticks.collect());
        let height = TOP + LANE * names.len() as f64 + 8.0;
        let lanes = names.iter().map(|name| Lane { name: name.clone(), y: y(name) }).collect();
        Self { width: WIDTH, height, lanes, ticks, arrows, dots, awaited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(number: usize, service: &str, ms: i64, cause: Option<u128>) -> Spot<'_> {
        let (id, time) = (Uuid::from_u128(number as u128), Timestamp::from_timestamp_millis(ms).unwrap());
        Spot {
            number,
            id,
            service,
            time,
            cause: cause.map(Uuid::from_u128),
            name: "x",
            is_failure: false,
            deliveries: 1,
        }
    }

    #[test]
    fn time_is_to_scale_and_causes_are_arrows() {
        let spots = vec![
            spot(1, "order-service", 0, None),
            spot(2, "inventory-service", 50, Some(1)),
            spot(3, "order-service", 100, Some(9)),
        ];
        let lanes = Lanes::of(spots, &[], Timestamp::from_timestamp_millis(500).unwrap());
        let at: Vec<f64> = lanes.dots.iter().map(|dot| dot.x).collect();
        assert_eq!(at, [LEFT, (LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT]);
        assert_eq!(lanes.arrows.len(), 1, "the cause of the third is not in the story");
        assert_eq!(lanes.ticks.last().map(|tick| &*tick.text), Some("100 ms"));
    }

    #[test]
    fn events_of_one_moment_are_beside_each_other_and_another_service_has_a_lane() {
        let spots = vec![spot(1, "shipping-service", 5, None), spot(2, "shipping-service", 5, Some(1))];
        let lanes = Lanes::of(spots, &[], Timestamp::from_timestamp_millis(5).unwrap());
        assert!(lanes.dots[1].x - lanes.dots[0].x >= APART);
        assert_eq!(lanes.lanes.len(), 4);
    }

    #[test]
    fn what_is_awaited_reaches_from_now_to_the_edge() {
        let now = Timestamp::from_timestamp_millis(1_000).unwrap();
        let awaiting = Awaiting { what: "A|B", from: "payment-service", until: Some(now), overdue: true };
        let lanes = Lanes::of(vec![spot(1, "order-service", 0, None)], &[awaiting], now);
        assert_eq!((lanes.awaited[0].to, lanes.awaited[0].is_overdue), (WIDTH - 8.0, true));
        assert!(lanes.awaited[0].text.starts_with("A or B, was due"));
    }
}
