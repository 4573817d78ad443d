//! Stock levels, by sku.

use askama::Template;
use axum::{extract::State, response::Response};
use shared::{
    contract::Timestamp,
    http::{Problem, Query},
};

use super::{
    layout::{Frame, rendered},
    orders::pairs,
    text,
};
use crate::{
    http::{
        App,
        stock::{ListQuery, listed},
    },
    view::stock::{Levels, StockRow},
};

#[derive(Template)]
#[template(path = "stock.html")]
struct Stock {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    sku: String,
    on_hand: i64,
    reserved: i64,
    available: i64,
    changed: String,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
) -> Result<Response, Problem> {
    let is_first = asked.cursor.is_none();
    let (rows, next) = listed(&app, asked).await?;
    let frame = Frame::new(&app, "stock", "Stock", "fulfil stock list");
    let now = Timestamp::from(std::time::SystemTime::now());
    rendered(&Stock {
        frame: if is_first { frame.live("/stock") } else { frame },
        rows: rows.iter().map(|row| Row::of(row, now)).collect(),
        next: next.map(|sku| format!("/stock?{}", pairs(&[("cursor", &sku)]))),
    })
}

impl Row {
    fn of(row: &StockRow, now: Timestamp) -> Self {
        let Levels { on_hand, reserved } = row.levels();
        Self {
            sku: row.sku.to_string(),
            on_hand,
            reserved,
            available: on_hand - reserved,
            changed: row.levels.at.map(|at| text::from_now(at, now)).unwrap_or_default(),
        }
    }
}
