//! Orders: one, many, and the story of one.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use serde::Deserialize;
use shared::{
    contract::{
        Timestamp,
        ids::{OrderId, Sku, StreamName, UserId},
    },
    http::{PathParam, Problem, Query, Token, problem::ProblemBody},
};
use utoipa::IntoParams;

use super::{
    App,
    bodies::{OrderBody, OrdersBody, TimelineBody},
    page, wait,
};
use crate::{
    read_model::query::{self, After, OrderFilter, Read},
    view::{
        awaiting::awaiting,
        order::{OrderRow, STATUSES},
        timeline::story,
    },
};

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
pub(super) struct ListQuery {
    /// created, confirmed, completed, cancelled or settled
    status: Option<String>,
    #[param(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Orders with a line of it.
    #[param(value_type = Option<String>)]
    sku: Option<Sku>,
    /// Created then or later, RFC 3339.
    since: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// An order
#[utoipa::path(get, path = "/orders/{id}", tag = "orders",
    params(("id" = uuid::Uuid, Path), AfterQuery),
    responses(
        (status = 200, body = OrderBody),
        (status = 202, description = "The view does not have what the token names yet", body = wait::Behind),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn get(
    State(app): State<App>,
    PathParam(id): PathParam<OrderId>,
    Query(AfterQuery { after, wait }): Query<AfterQuery>,
) -> Result<Response, Problem> {
    let Some(token) = after else {
        let read = order(&app, id).await?;
        let body = read.and_then(|read| OrderBody::of(&read.row, &app.limits, read.now));
        return body
            .map(|body| Json(body).into_response())
            .ok_or_else(|| Problem::not_found(format!("there is no order {id}")));
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
    Ok(match found.await? {
        Ok(body) => Json(body).into_response(),
        Err(behind) => behind,
    })
}

/// Orders, newest first
#[utoipa::path(get, path = "/orders", tag = "orders", params(ListQuery),
    responses((status = 200, body = OrdersBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
) -> Result<Json<OrdersBody>, Problem> {
    let limit = page::limit(asked.limit)?;
    let after = page::read(asked.cursor.as_deref())?;
    if asked.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Problem::unreadable("/status", format!("is none of {}", STATUSES.join(", "))));
    }
    let filter = OrderFilter {
        status: asked.status,
        user_id: asked.user_id.map(|user_id| user_id.to_string()),
        sku: asked.sku.map(|sku| sku.to_string()),
        since: asked.since.as_deref().map(since).transpose()?,
    };
    let rows =
        app.read(move |mut connection| async move {
            query::orders(&mut connection, &filter, after, limit + 1).await
        })
        .await?;
    let (rows, next) = page::cut(rows, limit, |read: &Read<OrderRow>| {
        let time = read.row.order.state.as_ref()?.created_at;
        Some(After { time, id: read.row.order_id.uuid() })
    });
    let bodies = rows.iter().filter_map(|read| OrderBody::of(&read.row, &app.limits, read.now));
    Ok(Json(OrdersBody { orders: bodies.collect(), next }))
}

/// Every event of an order over all topics
#[utoipa::path(get, path = "/orders/{id}/timeline", tag = "orders",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = TimelineBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn timeline(
    State(app): State<App>,
    PathParam(id): PathParam<OrderId>,
) -> Result<Json<TimelineBody>, Problem> {
    let (read, entries) = app
        .read(move |mut connection| async move {
            let read = query::order(&mut connection, id).await?;
            Ok((read, query::timeline(&mut connection, id).await?))
        })
        .await?;
    if entries.is_empty() {
        return Err(Problem::not_found(format!("there is no event of order {id}")));
    }
    let awaited = read.as_ref().map(|read| awaiting(&read.row, &app.limits, read.now)).unwrap_or_default();
    let row = read.as_ref().map(|read| &read.row);
    Ok(Json(TimelineBody::of(id, row, awaited, story(entries))))
}

async fn order(app: &App, id: OrderId) -> Result<Option<Read<OrderRow>>, Problem> {
    app.read(move |mut connection| async move { query::order(&mut connection, id).await }).await
}

fn since(text: &str) -> Result<Timestamp, Problem> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| Problem::unreadable("/since", "is not an RFC 3339 time such as 2026-11-24T10:02:11Z"))
}
