//! How many orders began in each minute, how they ended and how long they took: counters that change as those of sales do,
//! by the difference of two states of an order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DurationRound, TimeDelta};
use shared::contract::Timestamp;

use super::order::{Order, Stage};

/// The minute in which orders were created, and what of them is counted.
pub type PaceKey = (Timestamp, Counted);

/// By key, so that two writers lock them in one order.
pub type Pace = BTreeMap<PaceKey, i64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    Created,
    Completed,
    Cancelled,
    /// From creation to the end it took no longer than [`bound_ms`] of this, and longer than of the one before.
    Took(u8),
}

/// Of the last: 24 days, and all that is longer.
const BOUND_MAX: u8 = 62;

/// Two of them double: a time is known to a fifth.
pub fn bound_ms(index: u8) -> f64 {
    2_f64.powf(f64::from(index) / 2.0)
}

impl Counted {
    fn took(ms: i64) -> Self {
        Self::Took((0..BOUND_MAX).find(|index| ms as f64 <= bound_ms(*index)).unwrap_or(BOUND_MAX))
    }

    /// As the database has it.
    pub fn number(self) -> i16 {
        match self {
            Self::Created => 0,
            Self::Completed => 1,
            Self::Cancelled => 2,
            Self::Took(index) => 100 + i16::from(index),
        }
    }

    pub fn of_number(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Created),
            1 => Some(Self::Completed),
            2 => Some(Self::Cancelled),
            number => u8::try_from(number - 100).ok().filter(|index| *index <= BOUND_MAX).map(Self::Took),
        }
    }
}

/// Adds what the step of an order from a stage to where it is now changes; `None`: it begins.
pub fn step(pace: &mut Pace, before: Option<&Stage>, order: &Order) {
    // A time so far from ours that it has no minute is its own.
    let minute = order.created_at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(order.created_at);
    let (was, is) =
        (before.map_or_else(BTreeSet::new, |stage| counted(order, stage)), counted(order, &order.stage));
    for gone in was.difference(&is) {
        *pace.entry((minute, *gone)).or_default() -= 1;
    }
    for new in is.difference(&was) {
        *pace.entry((minute, *new)).or_default() += 1;
    }
}

/// What these orders make.
pub fn sums<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Pace {
    let mut pace = Pace::new();
    for order in orders {
        step(&mut pace, None, order);
    }
    pace
}

fn counted(order: &Order, stage: &Stage) -> BTreeSet<Counted> {
    let took = |at: &Timestamp| Counted::took((*at - order.created_at).num_milliseconds());
    match stage {
        Stage::Created | Stage::Confirmed { .. } => BTreeSet::from([Counted::Created]),
        Stage::Completed { at } => BTreeSet::from([Counted::Created, Counted::Completed, took(at)]),
        Stage::Cancelled { .. } => BTreeSet::from([Counted::Created, Counted::Cancelled]),
        Stage::Settled { at, .. } => BTreeSet::from([Counted::Created, Counted::Cancelled, took(at)]),
    }
}

/// The time that this share of them took no longer than, where anything ended; between two bounds as if they were spread evenly.
pub fn percentile_ms(took: &BTreeMap<u8, i64>, share: f64) -> Option<f64> {
    let all: i64 = took.values().sum();
    let mut left = share * all as f64;
    for (index, orders) in took.iter().filter(|(_, orders)| **orders > 0) {
        let low = if *index == 0 { 0.0 } else { bound_ms(index - 1) };
        if left <= *orders as f64 {
            return Some(low + (bound_ms(*index) - low) * (left / *orders as f64));
        }
        left -= *orders as f64;
    }
    None
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        money::{Currency, Money},
        order::{CancelReason, CancelStage, CancelledBy},
    };

    use super::*;
    use crate::view::order::Cancellation;

    fn order(stage: Stage) -> Order {
        Order {
            user_id: "user".parse().unwrap(),
            lines: Vec::new(),
            amount: Money::new(0, Currency::EUR),
            created_at: Timestamp::UNIX_EPOCH + TimeDelta::seconds(61),
            deadline_at: None,
            stage,
        }
    }

    fn after(ms: i64) -> Timestamp {
        order(Stage::Created).created_at + TimeDelta::milliseconds(ms)
    }

    #[test]
    fn an_order_is_counted_when_it_begins_when_it_is_decided_and_when_it_ends() {
        let cancellation = Cancellation {
            reason: CancelReason::Customer,
            by: CancelledBy::Customer,
            note: None,
            from: CancelStage::Created,
        };
        let stages = [
            Stage::Created,
            Stage::Cancelled { at: after(5), cancellation: cancellation.clone(), steps: Vec::new() },
            Stage::Settled { at: after(16), cancellation },
        ];
        let (mut pace, mut before) = (Pace::new(), None);
        for stage in &stages {
            step(&mut pace, before, &order(stage.clone()));
            // Again changes nothing.
            step(&mut pace, Some(stage), &order(stage.clone()));
            before = Some(stage);
        }
        let minute = Timestamp::UNIX_EPOCH + TimeDelta::minutes(1);
        let expected = [Counted::Created, Counted::Cancelled, Counted::Took(8)];
        assert_eq!(pace, expected.map(|counted| ((minute, counted), 1)).into());
        assert_eq!(pace, sums([&order(stages[2].clone())]));
    }

    #[test]
    fn times_are_known_by_their_bounds() {
        assert_eq!([0, 1, 2, 3, 1_000].map(|ms| Counted::took(ms).number()), [100, 100, 102, 104, 120]);
        assert_eq!(Counted::took(i64::MAX), Counted::Took(BOUND_MAX));
        assert_eq!(Counted::took(-5), Counted::Took(0));
        let all = [Counted::Created, Counted::Completed, Counted::Cancelled, Counted::Took(62)];
        assert!(all.iter().all(|counted| Counted::of_number(counted.number()) == Some(*counted)));
        assert_eq!([-1, 3, 99, 163, i16::MAX].map(Counted::of_number), [None; 5]);
    }

    #[test]
    fn a_percentile_lies_between_the_bounds_that_it_is_known_by() {
        let took = BTreeMap::from([(0, 0), (8, 50), (10, 49), (20, 1)]);
        assert_eq!(percentile_ms(&took, 0.5), Some(16.0));
        assert_eq!(percentile_ms(&took, 0.99), Some(32.0));
        assert!(percentile_ms(&took, 0.995).is_some_and(|ms| ms > bound_ms(19) && ms < bound_ms(20)));
        assert_eq!(percentile_ms(&took, 1.0), Some(bound_ms(20)));
        assert_eq!(percentile_ms(&BTreeMap::new(), 0.5), None);
    }
}
