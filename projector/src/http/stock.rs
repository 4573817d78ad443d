//! Stock levels.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::{
    contract::ids::{Sku, StreamName},
    http::{PathParam, Problem, Query, Token, problem::ProblemBody},
};
use utoipa::IntoParams;

use super::{
    App,
    bodies::{LevelsBody, StocksBody},
    paging, wait,
};
use crate::{read_model::query, view::stock::StockRow};

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
pub(crate) struct ListQuery {
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<Sku>,
}

/// The levels of a sku
#[utoipa::path(get, path = "/stock/{sku}", tag = "stock",
    params(("sku" = String, Path), AfterQuery),
    responses(
        (status = 200, body = LevelsBody),
        (status = 202, description = "The view does not have what the token names yet", body = wait::Behind),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn get(
    State(app): State<App>,
    PathParam(sku): PathParam<Sku>,
    Query(AfterQuery { after, wait }): Query<AfterQuery>,
) -> Result<Response, Problem> {
    let look = async || {
        let sku = sku.clone();
        app.read(move |mut connection| async move { query::stock(&mut connection, &sku).await }).await
    };
    let Some(token) = after else {
        let row = look().await?;
        return row
            .map(|row| Json(LevelsBody::of(&row)).into_response())
            .ok_or_else(|| Problem::not_found(format!("nothing is known of sku {sku}")));
    };
    let patience = wait::patience(wait)?;
    wait::check(&token, &[StreamName::stock(&sku)])?;
    let found = wait::until(&app, &token, patience, async || {
        let row = look().await?;
        let version = row.as_ref().map_or(0, |row| row.levels.version);
        Ok((row, version))
    });
    Ok(match found.await? {
        Ok(row) => Json(LevelsBody::of(&row)).into_response(),
        Err(behind) => behind,
    })
}

/// The levels of all skus, by sku
#[utoipa::path(get, path = "/stock", tag = "stock", params(ListQuery),
    responses((status = 200, body = StocksBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
) -> Result<Json<StocksBody>, Problem> {
    let (rows, next) = listed(&app, asked).await?;
    Ok(Json(StocksBody { stock: rows.iter().map(LevelsBody::of).collect(), next }))
}

/// The rows of a page, and the cursor of the next.
pub(crate) async fn listed(
    app: &App,
    ListQuery { limit, cursor }: ListQuery,
) -> Result<(Vec<StockRow>, Option<String>), Problem> {
    let limit = paging::limit(limit)?;
    let rows = app
        .read(move |mut connection| async move {
            query::stocks(&mut connection, cursor.as_ref(), limit + 1).await
        })
        .await?;
    Ok(paging::cut(rows, limit, |row: &StockRow| Some(row.sku.to_string())))
}
