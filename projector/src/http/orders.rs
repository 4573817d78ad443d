//! Orders: one, many, and the story of one.

use std::time::SystemTime;

use axum::{extract::State, http::HeaderMap, response::Response};
use chrono::DateTime;
use serde::Deserialize;
use shared::{
    config::duration,
    contract::{
        Timestamp,
        ids::{OrderId, Sku, StreamName, UserId},
    },
    http::{PathParam, Problem, Query, Token, problem::ProblemBody},
};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    App,
    bodies::{OrderBody, OrdersBody, TimelineBody},
    given::given,
    paging,
    tagged::tagged,
    wait,
};
use crate::{
    read_model::{
        order_letters::order_letters,
        query::{self, After, OrderFilter, Read},
        reached::reached,
    },
    view::{
        awaiting::awaiting,
        funnel::{STEPS, Step},
        letter::{Letter, LetterRow},
        order::{OrderRow, STATUSES},
        past::{Past, pasts},
        timeline::{Entry, Told, story},
    },
};

/// Of dead letters in a refusal.
const SAID_MAX: usize = 3;

/// In its cursors.
const LIST: &str = "orders";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AfterQuery {
    /// The token of a command's answer: wait until the view has it.
    #[param(value_type = Option<String>)]
    after: Option<Token>,
    /// How many seconds to wait at most.
    #[param(minimum = 0, maximum = 25)]
    wait: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PastQuery {
    /// As it stood after the event of that number in its timeline, counted from one.
    #[param(minimum = 1)]
    pub event: Option<usize>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// created, confirmed, completed, cancelled or settled
    #[serde(default, deserialize_with = "given")]
    pub status: Option<String>,
    /// Only those that have not ended.
    pub open: Option<bool>,
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    pub user_id: Option<UserId>,
    /// Orders with a line of it.
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    pub sku: Option<Sku>,
    /// Created then or later, RFC 3339.
    #[serde(default, deserialize_with = "given")]
    pub since: Option<String>,
    /// Only those that came so far and no further: created, reserved, authorized, confirmed or completed. Of a page, so many
    /// are looked at; it can have fewer rows than `limit`, or none, and a `next`.
    #[serde(default, deserialize_with = "given")]
    pub stage: Option<String>,
    /// Created longer ago than that: 30s, 5m, 2h.
    #[serde(default, deserialize_with = "given")]
    pub older_than: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// An order
#[utoipa::path(get, path = "/orders/{id}", tag = "orders",
    params(("id" = uuid::Uuid, Path), AfterQuery, PastQuery),
    responses(
        (status = 200, body = OrderBody),
        (status = 202, description = "The view does not have what the token names yet", body = wait::Behind),
        (status = 304, description = "It is what If-None-Match names"),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn get(
    State(app): State<App>,
    PathParam(id): PathParam<OrderId>,
    Query(AfterQuery { after, wait }): Query<AfterQuery>,
    Query(PastQuery { event }): Query<PastQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(event) = event {
        let Known { entries, .. } = told(&app, id).await?;
        let past = past(id, &story(entries), event)?;
        let body = OrderBody::of(&past.row, &app.limits, past.at);
        let nothing =
            || Problem::not_found(format!("after event {event} order-service had not told of order {id}"));
        return tagged(&headers, &body.ok_or_else(nothing)?);
    }
    let Some(token) = after else {
        let read = order(&app, id).await?;
        let body = read.and_then(|read| OrderBody::of(&read.row, &app.limits, read.now));
        return tagged(&headers, &body.ok_or_else(|| Problem::not_found(format!("there is no order {id}")))?);
    };
    let patience = wait::patience(wait)?;
    let [order_stream, reservation, payment] =
        [StreamName::order(id), StreamName::reservation(id), StreamName::payment(id)];
    wait::check(&token, &[order_stream.clone(), reservation.clone(), payment])?;
    let version_of = |row: &OrderRow| match &token.stream {
        stream if *stream == order_stream => row.order.version,
        stream if *stream == reservation => row.reservation.version,
        _ => row.payment.version,
    };
    let found = wait::until(&app, &token, patience, async || {
        let read = order(&app, id).await?;
        let version = read.as_ref().map_or(0, |read| version_of(&read.row));
        Ok((read.and_then(|read| OrderBody::of(&read.row, &app.limits, read.now)), version))
    });
    match found.await? {
        Ok(body) => tagged(&headers, &body),
        Err(behind) => Ok(behind),
    }
}

/// Orders, newest first
#[utoipa::path(get, path = "/orders", tag = "orders", params(ListQuery),
    responses((status = 200, body = OrdersBody), (status = 304, description = "It is what If-None-Match names"), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (rows, next) = listed(&app, asked).await?;
    let bodies = rows.iter().filter_map(|read| OrderBody::of(&read.row, &app.limits, read.now));
    tagged(&headers, &OrdersBody { orders: bodies.collect(), next })
}

/// The rows of a page, and the cursor of the next.
pub(crate) async fn listed(
    app: &App,
    asked: ListQuery,
) -> Result<(Vec<Read<OrderRow>>, Option<String>), Problem> {
    let limit = paging::limit(asked.limit)?;
    let older = asked.older_than.as_deref().map(older_than).transpose()?;
    let places = [paging::read(LIST, asked.cursor.as_deref())?, older];
    let after = places.into_iter().flatten().min_by_key(|after| (after.time, after.id));
    if asked.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Problem::unreadable("/status", format!("is none of {}", STATUSES.join(", "))));
    }
    let filter = OrderFilter {
        status: asked.status,
        is_open: asked.open == Some(true),
        user_id: asked.user_id.map(|user_id| user_id.to_string()),
        sku: asked.sku.map(|sku| sku.to_string()),
        since: asked.since.as_deref().map(since).transpose()?,
        step: asked.stage.as_deref().map(step).transpose()?,
    };
    let limit = usize::try_from(limit).unwrap_or_default();
    let found =
        app.read(move |mut connection| async move { reached(&mut connection, &filter, after, limit).await });
    let (rows, next) = found.await?;
    Ok((rows, next.map(|next| paging::write(LIST, next))))
}

fn step(text: &str) -> Result<Step, Problem> {
    let found = STEPS.into_iter().find(|step| step.name() == text);
    let names = || STEPS.map(Step::name).join(", ");
    found.ok_or_else(|| Problem::unreadable("/stage", format!("is none of {}", names())))
}

/// The place behind all that are younger.
fn older_than(text: &str) -> Result<After, Problem> {
    let age = duration::parse(text).map_err(|wrong| Problem::unreadable("/older_than", wrong))?;
    Ok(After { time: Timestamp::from(SystemTime::now() - age), id: Uuid::max() })
}

/// Every event of an order over all topics
#[utoipa::path(get, path = "/orders/{id}/timeline", tag = "orders",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = TimelineBody), (status = 304, description = "It is what If-None-Match names"), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn timeline(
    State(app): State<App>,
    PathParam(id): PathParam<OrderId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Known { read, entries, letters } = told(&app, id).await?;
    let awaited = read.as_ref().map(|read| awaiting(&read.row, &app.limits, read.now)).unwrap_or_default();
    let row = read.as_ref().map(|read| &read.row);
    tagged(&headers, &TimelineBody::of(id, row, awaited, story(entries), &letters))
}

/// What is known of an order: an event or a letter at least.
pub(crate) struct Known {
    pub read: Option<Read<OrderRow>>,
    pub entries: Vec<Entry>,
    pub letters: Vec<LetterRow>,
}

pub(crate) async fn known(app: &App, id: OrderId) -> Result<Known, Problem> {
    let known = app
        .read(move |mut connection| async move {
            Ok(Known {
                read: query::order(&mut connection, id).await?,
                entries: query::timeline(&mut connection, id).await?,
                letters: order_letters(&mut connection, id).await?,
            })
        })
        .await?;
    if known.entries.is_empty() && known.letters.is_empty() {
        return Err(Problem::not_found(format!("there is no event of order {id}")));
    }
    Ok(known)
}

/// The same with an event at least. Where all that came of an order died, that is said.
async fn told(app: &App, id: OrderId) -> Result<Known, Problem> {
    let known = known(app, id).await?;
    if known.entries.is_empty() {
        let said = |row: &LetterRow| {
            let Letter { group, code, .. } = row.letter.as_ref()?;
            Some(format!("{} of {group}: {code}", row.id))
        };
        let letters: Vec<String> = known.letters.iter().filter_map(said).take(SAID_MAX).collect();
        let letters = letters.join("; ");
        let detail =
            format!("there is no event of order {id}, but what died has its key: dead letter {letters}");
        return Err(Problem::not_found(detail));
    }
    Ok(known)
}

/// After the event of that number.
pub(crate) fn past(id: OrderId, story: &[Told], event: usize) -> Result<Past, Problem> {
    let none = || Problem::unreadable("/event", format!("is none of 1 to {}", story.len()));
    let index = event.checked_sub(1).ok_or_else(none)?;
    pasts(id, story).nth(index).ok_or_else(none)
}

pub(super) async fn order(app: &App, id: OrderId) -> Result<Option<Read<OrderRow>>, Problem> {
    app.read(move |mut connection| async move { query::order(&mut connection, id).await }).await
}

pub(super) fn since(text: &str) -> Result<Timestamp, Problem> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| Problem::unreadable("/since", "is not an RFC 3339 time such as 2026-11-24T10:02:11Z"))
}
