//! What orders completed with, by hour or by sku.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::{extract::State, response::Response};
use shared::{
    contract::{Timestamp, ids::Sku, money::Currency},
    http::{Problem, Query},
};

use super::{
    layout::{Frame, rendered},
    orders::pairs,
    plot::{self, Line, Plot},
    text,
};
use crate::{
    http::{
        App,
        sales::{By, SalesQuery, listed},
    },
    read_model::sales::SaleRow,
};

/// Hours without a sale between two with one are drawn as nothing, where they are no more.
const HOURS_DRAWN_MAX: usize = 31 * 24;
/// The colours of a plot (style.css).
const LINES_MAX: usize = 4;
const HOUR_SECONDS: i64 = 3_600;

#[derive(Template)]
#[template(path = "sales.html")]
struct Sales {
    frame: Frame,
    by_sku: bool,
    sku: String,
    since: String,
    drawn: Vec<Plot>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    name: String,
    address: String,
    orders: String,
    quantity: String,
    amount: String,
    /// Of the largest amount of this currency on the page.
    percent: i128,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<SalesQuery>,
) -> Result<Response, Problem> {
    let by_sku = asked.by == By::Sku;
    let sku = asked.sku.as_ref().map(Sku::to_string).unwrap_or_default();
    let since = asked.since.clone().unwrap_or_default();
    let is_first = asked.cursor.is_none();
    let filter = [("by", if by_sku { "sku" } else { "hour" }), ("sku", &sku), ("since", &since)];
    let address = |cursor: &str| format!("/sales?{}", pairs(&[&filter[..], &[("cursor", cursor)]].concat()));
    let (rows, next) = listed(&app, asked).await?;
    let given = filter.iter().filter(|(_, value)| !value.is_empty());
    let flags: String = given.map(|(name, value)| format!(" --{name} {}", text::shell(value))).collect();
    let frame = Frame::new(&app, "sales", "Sales", format!("fulfil sales{flags}"));
    let mut drawn = if by_sku { Vec::new() } else { drawn(&rows) };
    // Of one hour there is no line.
    drawn.retain(|plot| plot.times.len() > 1);
    rendered(&Sales {
        frame: if is_first { frame.seldom(address("")) } else { frame },
        by_sku,
        drawn,
        rows: shown(&rows),
        next: next.map(|next| address(&next)),
        sku,
        since,
    })
}

fn shown(rows: &[SaleRow]) -> Vec<Row> {
    let mut most: BTreeMap<Currency, i128> = BTreeMap::new();
    for row in rows {
        let most = most.entry(row.key.currency).or_insert(1);
        *most = (*most).max(row.sold.amount_minor);
    }
    let row = |SaleRow { key, sold }: &SaleRow| {
        let sku = key.sku.as_ref().map(Sku::to_string).unwrap_or_default();
        Row {
            address: format!("/sales?{}", pairs(&[("by", "hour"), ("sku", &sku)])),
            name: key.hour.map_or(sku, |hour| hour.format("%Y-%m-%d %H:%M").to_string()),
            orders: text::count(sold.orders),
            quantity: text::count(sold.quantity),
            amount: amount(sold.amount_minor, key.currency),
            percent: sold.amount_minor * 100 / most.get(&key.currency).copied().unwrap_or(1),
        }
    };
    rows.iter().map(row).collect()
}

/// As an order's amount is written.
fn amount(minor: i128, currency: Currency) -> String {
    let whole = i64::try_from(minor / 100).map_or_else(|_| (minor / 100).to_string(), text::count);
    format!("{whole}.{:02} {currency}", (minor % 100).abs())
}

/// Orders of all currencies, and the amount of each.
fn drawn(rows: &[SaleRow]) -> Vec<Plot> {
    let times = times(rows.iter().filter_map(|row| row.key.hour));
    let line = |name: String, of: &dyn Fn(&SaleRow) -> f64| {
        let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
        for row in rows {
            let at = row.key.hour.map_or(0, |hour| hour.timestamp());
            *sums.entry(at).or_default() += of(row);
        }
        Line { name, values: times.iter().map(|at| Some(sums.get(at).copied().unwrap_or(0.0))).collect() }
    };
    let orders = line("orders".into(), &|row| row.sold.orders as f64);
    let currencies: BTreeSet<Currency> = rows.iter().map(|row| row.key.currency).collect();
    let amounts = currencies.into_iter().take(LINES_MAX).map(|currency| {
        let of = |row: &SaleRow| match row.key.currency == currency {
            true => row.sold.amount_minor as f64 / 100.0,
            false => 0.0,
        };
        line(currency.to_string(), &of)
    });
    let amounts = amounts.collect();
    vec![
        Plot {
            title: "Orders completed an hour".into(),
            unit: "",
            times: times.clone(),
            lines: vec![orders],
        },
        Plot { title: "Sold an hour".into(), unit: "", times, lines: amounts },
    ]
}

/// All hours from the first to the last, or only those that are there.
fn times(hours: impl Iterator<Item = Timestamp>) -> Vec<i64> {
    let sold: BTreeSet<i64> = hours.map(|hour| hour.timestamp()).collect();
    let (Some(first), Some(last)) = (sold.first(), sold.last()) else { return Vec::new() };
    let all = (*first..=*last).step_by(HOUR_SECONDS as usize);
    if all.size_hint().0 <= HOURS_DRAWN_MAX { all.collect() } else { sold.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sale::{SaleKey, Sold};

    #[test]
    fn an_hour_in_which_nothing_was_sold_is_drawn_as_nothing() {
        let row = |hour: i64, currency: &str, orders| SaleRow {
            key: SaleKey {
                sku: None,
                hour: Timestamp::from_timestamp(hour * HOUR_SECONDS, 0),
                currency: currency.parse().unwrap(),
            },
            sold: Sold { orders, quantity: 1, amount_minor: i128::from(orders) * 250 },
        };
        let plots = drawn(&[row(3, "EUR", 2), row(1, "USD", 1), row(1, "EUR", 4)]);
        assert_eq!(plots[0].times, [3_600, 7_200, 10_800]);
        assert_eq!(plots[0].lines[0].values, [Some(5.0), Some(0.0), Some(2.0)]);
        let amounts: Vec<_> = plots[1].lines.iter().map(|line| (&*line.name, line.values[0])).collect();
        assert_eq!(amounts, [("EUR", Some(10.0)), ("USD", Some(2.5))]);
        assert_eq!(
            times([0, 1_000_000].map(|hour| Timestamp::from_timestamp(hour * 3_600, 0).unwrap()).into_iter())
                .len(),
            2
        );
        assert!(drawn(&[])[0].times.is_empty());
    }

    #[test]
    fn amounts_are_whole_units_and_two_decimals() {
        assert_eq!(amount(1_234_567, Currency::EUR), "12\u{202f}345.67 EUR");
        assert_eq!(amount(i128::MAX, Currency::EUR), "1701411834604692317316873037158841057.27 EUR");
    }
}
