//! How an order stood after one of its events, and what each of them moved.

use std::collections::BTreeSet;

use shared::contract::money::Money;

use super::{order::Head, text};
use crate::view::past::{Holdings, Past, Pieces};

/// After one event.
pub(super) struct Stood {
    pub number: usize,
    /// Null before order-service has told of the order.
    pub head: Option<Head>,
    /// What it had for the time being; empty where that was nothing.
    pub has: Vec<String>,
    /// The events beside it.
    pub before: Option<usize>,
    pub after: Option<usize>,
}

impl Stood {
    pub(super) fn of(past: &Past, number: usize, events: usize) -> Self {
        Self {
            number,
            head: Head::of(&past.row, past.at),
            has: moved(&Holdings::default(), &past.holdings).into_iter().map(|(_, said)| said).collect(),
            before: number.checked_sub(1).filter(|before| *before > 0),
            after: Some(number + 1).filter(|after| *after <= events),
        }
    }
}

/// What each event of the story moved: `+2 reserved SKU-1`, `−39.98 EUR authorized`; empty where that is nothing.
pub(super) fn effects(pasts: &[Past]) -> Vec<String> {
    let nothing = Holdings::default();
    let befores = std::iter::once(&nothing).chain(pasts.iter().map(|past| &past.holdings));
    let effect = |(before, past): (&Holdings, &Past)| {
        let moved = moved(before, &past.holdings).into_iter();
        moved.map(|(sign, said)| format!("{sign}{said}")).collect::<Vec<_>>().join(", ")
    };
    befores.zip(pasts).map(effect).collect()
}

/// Each with its sign.
fn moved(before: &Holdings, after: &Holdings) -> Vec<(char, String)> {
    let sign = |number: i64| if number < 0 { '\u{2212}' } else { '+' };
    let mut all = Vec::new();
    for sku in before.stock.keys().chain(after.stock.keys()).collect::<BTreeSet<_>>() {
        let of = |holdings: &Holdings| holdings.stock.get(sku).copied().unwrap_or_default();
        let (Pieces { reserved, shipped }, now) = (of(before), of(after));
        for (what, moved) in [("reserved", now.reserved - reserved), ("shipped", now.shipped - shipped)] {
            if moved != 0 {
                all.push((sign(moved), format!("{} {what} {sku}", text::count(moved.abs()))));
            }
        }
    }
    let money =
        [("authorized", before.authorized, after.authorized), ("captured", before.captured, after.captured)];
    for (what, before, after) in money {
        let minor = |money: Option<Money>| money.map_or(0, |money| money.minor);
        let moved = minor(after) - minor(before);
        if let (false, Some(Money { currency, .. })) = (moved == 0, after.or(before)) {
            all.push((sign(moved), format!("{} {what}", Money::new(moved.abs(), currency))));
        }
    }
    all
}
