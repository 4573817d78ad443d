//! How the whole does, as the first screen shows it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use shared::http::{Problem, Query, problem::ProblemBody};
use utoipa::{IntoParams, ToSchema};

use super::App;
use crate::{
    page::overview,
    view::funnel::{Funnel, Lost},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    #[default]
    Hour,
    Day,
}

#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverviewQuery {
    /// hour, in parts of five minutes; or day, in parts of fifteen
    #[param(inline)]
    #[serde(default)]
    pub over: Over,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewBody {
    /// Orders that have not ended.
    pub open: i64,
    /// Those of them that are past their limit, among the 500 oldest of each status.
    pub overdue: usize,
    /// Dead letters that wait for somebody.
    pub dead_letters: i64,
    /// What somebody should look at, the worst of each kind.
    pub attention: Vec<AlarmBody>,
    /// Of the newest 500 orders.
    pub funnel: Funnel,
    /// What the newest 500 of those that were cancelled were lost to.
    pub lost: Vec<Lost>,
    pub over: Over,
    /// Of the time that was asked for, oldest first; the last one has not ended.
    pub parts: Vec<PartBody>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AlarmBody {
    #[schema(example = "compensation overdue")]
    pub kind: &'static str,
    pub what: String,
    pub why: String,
    /// Where the reason is.
    #[schema(example = "/dead-letters?status=open")]
    pub address: String,
}

/// Of the orders that were created in some minutes; times are from creation to the end, known to a fifth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartBody {
    #[schema(example = "2026-11-24T10:05:00.000Z")]
    pub begins_at: String,
    pub minutes: i64,
    pub created: i64,
    pub completed: i64,
    pub cancelled: i64,
    /// Of those that are decided; null where none is.
    pub cancelled_percent: Option<f64>,
    /// The most that had not ended whenever it was looked at in these minutes; null where nobody looked, or into another view.
    pub open: Option<i64>,
    /// The same of those past their limit, among the 1,000 oldest of each status.
    pub overdue: Option<i64>,
    /// That died in these minutes, whatever became of them.
    pub dead_letters: i64,
    /// Null where none has ended.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// How the whole does
#[utoipa::path(get, path = "/overview", tag = "overview", params(OverviewQuery),
    responses((status = 200, body = OverviewBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn show(
    State(app): State<App>,
    Query(OverviewQuery { over }): Query<OverviewQuery>,
) -> Result<Json<OverviewBody>, Problem> {
    overview::body(&app, over).await.map(Json)
}
