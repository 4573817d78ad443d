//! Orders, newest first, filtered by what stands in the address.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use shared::{
    contract::{envelope::time_text, ids::Sku},
    http::{Problem, Query},
};
use uuid::Uuid;

use super::{
    layout::{Frame, rendered},
    text,
};
use crate::{
    http::{
        App,
        orders::{ListQuery, listed},
    },
    read_model::{
        query::{self, Read},
        reached::LOOKED_AT_MAX,
    },
    view::{
        awaiting::awaiting,
        funnel::STEPS,
        order::{OrderRow, STATUSES, Stage, reason_name},
    },
};

#[derive(Debug, Deserialize)]
pub(super) struct Find {
    find: Option<String>,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct Orders {
    frame: Frame,
    filter: Filter,
    rows: Vec<Row>,
    /// The address of the next page.
    next: Option<String>,
    looked_at_max: i64,
}

/// What the form shows.
struct Filter {
    status: String,
    open: bool,
    user_id: String,
    sku: String,
    stage: String,
    since: String,
    older_than: String,
}

pub(super) struct Row {
    pub id: String,
    pub short: String,
    pub status: &'static str,
    pub mark: &'static str,
    pub reason: String,
    pub user_id: String,
    pub lines: String,
    pub amount: String,
    pub created: String,
    pub created_at: String,
    /// From creation to its end, or until now.
    pub took: String,
    pub awaited: String,
    pub is_overdue: bool,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(Find { find }): Query<Find>,
    Query(asked): Query<ListQuery>,
) -> Result<Response, Problem> {
    if let Some(find) = find {
        return Ok(Redirect::to(&found(&app, find.trim()).await?).into_response());
    }
    let filter = Filter::of(&asked);
    let (is_first, address) = (asked.cursor.is_none(), filter.address());
    let (rows, next) = listed(&app, asked).await?;
    let frame = Frame::new(&app, "orders", "Orders", filter.command());
    rendered(&Orders {
        // A page further back stays as it is while it is read.
        frame: match (is_first, filter.stage.is_empty()) {
            (true, true) => frame.live(&address),
            (true, false) => frame.seldom(&address),
            (false, _) => frame,
        },
        rows: rows.iter().filter_map(|read| Row::of(&app, read)).collect(),
        next: next
            .map(|next| format!("{address}{}cursor={next}", if address.contains('?') { '&' } else { '?' })),
        filter,
        looked_at_max: LOOKED_AT_MAX,
    })
}

/// Where the thing that somebody typed is: an order by its id or the start of it, a sku, or else a user.
async fn found(app: &App, text: &str) -> Result<String, Problem> {
    if text.is_empty() {
        return Ok("/orders".to_owned());
    }
    if let Some((first, last)) = ids(text) {
        let ids = app
            .read(move |mut connection| async move { query::ids(&mut connection, first, last, 2).await })
            .await?;
        if let [id] = ids[..] {
            return Ok(format!("/orders/{id}"));
        }
    }
    let sku: Option<Sku> = text.parse().ok();
    if let Some(sku) = sku {
        let known = {
            let sku = sku.clone();
            app.read(move |mut connection| async move { query::stock(&mut connection, &sku).await }).await?
        };
        if known.is_some() {
            return Ok(format!("/orders?{}", pairs(&[("sku", sku.as_str())])));
        }
    }
    Ok(format!("/orders?{}", pairs(&[("user_id", text)])))
}

/// All ids that begin so: the first and the last. `None` where none can.
fn ids(start: &str) -> Option<(Uuid, Uuid)> {
    const CHARS_MIN: usize = 6;
    let digits: String = start.chars().filter(|c| *c != '-').collect();
    if digits.len() < CHARS_MIN || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: &str| Uuid::try_parse(&format!("{digits}{}", with.repeat(32 - digits.len()))).ok();
    Some((filled("0")?, filled("f")?))
}

/// As a query string.
pub(super) fn pairs(pairs: &[(&str, &str)]) -> String {
    let given: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    serde_urlencoded::to_string(given).unwrap_or_default()
}

impl Filter {
    fn of(asked: &ListQuery) -> Self {
        Self {
            status: asked.status.clone().unwrap_or_default(),
            open: asked.open == Some(true),
            user_id: asked.user_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            sku: asked.sku.as_ref().map(ToString::to_string).unwrap_or_default(),
            stage: asked.stage.clone().unwrap_or_default(),
            since: asked.since.clone().unwrap_or_default(),
            older_than: asked.older_than.clone().unwrap_or_default(),
        }
    }

    fn is(&self, status: &str) -> bool {
        self.status == status
    }

    fn pairs(&self) -> [(&str, &str); 7] {
        let open = if self.open { "true" } else { "" };
        let Self { status, user_id, sku, stage, since, older_than, .. } = self;
        [
            ("status", status),
            ("stage", stage),
            ("open", open),
            ("user_id", user_id),
            ("sku", sku),
            ("since", since),
            ("older_than", older_than),
        ]
    }

    fn address(&self) -> String {
        match pairs(&self.pairs()) {
            query if query.is_empty() => "/orders".to_owned(),
            query => format!("/orders?{query}"),
        }
    }

    fn command(&self) -> String {
        let flag = |(name, value): &(&str, &str)| match *name {
            "user_id" => format!(" --user {}", text::shell(value)),
            "open" => " --open".to_owned(),
            "older_than" => format!(" --older-than {}", text::shell(value)),
            name => format!(" --{name} {}", text::shell(value)),
        };
        let flags: String = self.pairs().iter().filter(|(_, value)| !value.is_empty()).map(flag).collect();
        format!("fulfil order list{flags}")
    }
}

impl Row {
    fn of(app: &App, read: &Read<OrderRow>) -> Option<Self> {
        let Read { row, now } = read;
        let order = row.order.state.as_ref()?;
        let awaited = awaiting(row, &app.limits, *now);
        let ended_at = if row.has_ended() { row.order.at } else { None };
        let lines: Vec<String> =
            order.lines.iter().take(3).map(|line| format!("{} × {}", line.quantity, line.sku)).collect();
        let more = order.lines.len().saturating_sub(3);
        Some(Self {
            id: row.order_id.to_string(),
            short: text::short(&row.order_id.uuid()),
            status: order.stage.status(),
            mark: mark(&order.stage),
            reason: order.stage.reason().map(|reason| text::words(reason_name(reason))).unwrap_or_default(),
            user_id: order.user_id.to_string(),
            lines: if more > 0 { format!("{} and {more} more", lines.join(", ")) } else { lines.join(", ") },
            amount: order.amount.to_string(),
            created: text::from_now(order.created_at, *now),
            created_at: time_text(order.created_at),
            took: text::duration((ended_at.unwrap_or(*now) - order.created_at).num_milliseconds().max(0)),
            awaited: awaited
                .first()
                .map(|awaited| format!("{} from {}", awaited.what.replace('|', " or "), awaited.from))
                .unwrap_or_default(),
            is_overdue: awaited.iter().any(|awaited| awaited.overdue),
        })
    }
}

/// Colour is never the only sign.
pub(super) fn mark(stage: &Stage) -> &'static str {
    match stage {
        Stage::Created => "○",
        Stage::Confirmed { .. } => "◐",
        Stage::Completed { .. } => "●",
        Stage::Cancelled { .. } => "✕",
        Stage::Settled { .. } => "⊗",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_an_id_is_all_ids_that_begin_so() {
        let (first, last) = ids("0198F3C2-0000").unwrap();
        assert_eq!(first.to_string(), "0198f3c2-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0198f3c2-0000-ffff-ffff-ffffffffffff");
        for none in ["SKU-1", "0198f", "user", ""] {
            assert_eq!(ids(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_asked_for_is_in_the_address_and_in_the_command() {
        let filter = Filter {
            status: "created".into(),
            open: true,
            user_id: "a&b".into(),
            sku: String::new(),
            stage: "reserved".into(),
            since: String::new(),
            older_than: "5m".into(),
        };
        let address = "/orders?status=created&stage=reserved&open=true&user_id=a%26b&older_than=5m";
        assert_eq!(filter.address(), address);
        let command =
            "fulfil order list --status created --stage reserved --open --user 'a&b' --older-than 5m";
        assert_eq!(filter.command(), command);
    }
}
