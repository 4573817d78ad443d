//! Reading your own writes: a question with the token of a command's answer waits until the view has it.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{
    contract::ids::StreamName,
    http::{Problem, Token},
};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::App;

pub(super) const WAIT_SECONDS_DEFAULT: u64 = 5;
/// Below what the server gives an answer in all.
pub(super) const WAIT_SECONDS_MAX: u64 = 25;
/// How often a waiter looks by itself: what another replica commits is not told here.
const LOOK: Duration = Duration::from_millis(250);

/// The view does not have it yet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Behind {
    lag: LagBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct LagBody {
    /// What was waited for.
    #[schema(example = "order-0198f3c2-0000-7000-8000-000000000001:3")]
    wanted: String,
    /// How far the view is in that stream.
    version: i64,
    /// How far the view is behind the topics.
    view_lag_ms: i64,
}

/// How long a question may wait.
pub(super) fn patience(seconds: Option<u64>) -> Result<Duration, Problem> {
    match seconds.unwrap_or(WAIT_SECONDS_DEFAULT) {
        seconds if seconds <= WAIT_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(Problem::unreadable("/wait", format!("is not 0 to {WAIT_SECONDS_MAX} seconds"))),
    }
}

/// Refuses the token of something else than what is asked for.
pub(super) fn check(token: &Token, streams: &[StreamName]) -> Result<(), Problem> {
    if streams.contains(&token.stream) {
        return Ok(());
    }
    Err(Problem::unreadable("/after", "is the token of another stream"))
}

/// Asks `look` for the row and its version of the token's stream until that is reached. `Err` is the 202.
pub(super) async fn until<R, F>(
    app: &App,
    token: &Token,
    patience: Duration,
    look: impl Fn() -> F,
) -> Result<Result<R, Response>, Problem>
where
    F: Future<Output = Result<(Option<R>, i64), Problem>>,
{
    let until = Instant::now() + patience;
    // Before the first look, so that nothing is committed in between unheard.
    let mut told = app.waiters.listen(&token.stream);
    loop {
        let version = match look().await? {
            (Some(row), version) if version >= token.version => return Ok(Ok(row)),
            (_, version) => version,
        };
        if Instant::now() >= until {
            let lag = LagBody { wanted: token.to_string(), version, view_lag_ms: app.lag_ms() };
            return Ok(Err((StatusCode::ACCEPTED, Json(Behind { lag })).into_response()));
        }
        // What is told is looked up all the same; a timeout is a reason to look, too.
        let _ = timeout_at(until.min(Instant::now() + LOOK), told.changed()).await;
    }
}
