//! The view that serves and the second one beside it: how they stand, and what an operator asks of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{
    broker::BrokerSettings,
    contract::{Timestamp, envelope::time_text, ids::OrderId},
    http::{Problem, problem::ProblemBody},
};
use sqlx::PgConnection;
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{error, info};
use utoipa::ToSchema;

use super::App;
use crate::{
    ends,
    read_model::{
        compare::{self, Compared},
        drift::{self, Drifted},
        schema,
        second::{self, Projection, STARTS_MAX, Wanted},
    },
};

/// What the handlers need beside the view itself. Cheap to clone.
#[derive(Clone)]
pub struct Projections {
    database_url: String,
    broker: BrokerSettings,
    comparing: Arc<Mutex<Option<Comparing>>>,
}

/// Dropped it goes on to its end, and nobody hears of it.
struct Comparing {
    task: JoinHandle<Result<Compared, Problem>>,
    /// For the last time.
    asked_at: Instant,
}

impl Projections {
    pub fn new(database_url: &str, broker: &BrokerSettings) -> Self {
        Self { database_url: database_url.to_owned(), broker: broker.clone(), comparing: Arc::default() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectionsBody {
    pub served: ServedBody,
    pub second: Option<SecondBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServedBody {
    pub begun_at: String,
    /// Of the projector that filled it; null where it was served from its first message.
    pub build: Option<String>,
    pub lag_ms: i64,
    /// Orders of which it said something else than their topics when they were compared last; 100 at most.
    pub drift: Vec<DriftBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftBody {
    #[schema(value_type = uuid::Uuid)]
    pub order_id: OrderId,
    pub found_at: String,
    /// In words.
    pub what: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecondBody {
    pub begun_at: String,
    pub build: Option<String>,
    pub filled_at: Option<String>,
    pub state: Standing,
    /// Of the messages on the topics, so many are in it.
    pub messages: i64,
    pub messages_total: i64,
    /// Since whoever fills it began, or began again after a crash; null where nobody has.
    pub per_second: Option<f64>,
    /// Until it has all that is on the topics, at that rate.
    pub seconds_left: Option<f64>,
}

/// How a second view stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Filling,
    /// Filled, and keeping up with the topics.
    Following,
    /// About to take the place of the one that serves.
    Switching,
    /// Served before.
    Resting,
    /// It cannot go on: see the log of the projector.
    Stopped,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AskedBody {
    /// What is to become of the second view; null where it was dropped.
    wanted: Option<Wanted>,
}

/// The view that serves, and the second one where there is one
#[utoipa::path(get, path = "/projections", tag = "projections",
    responses((status = 200, body = ProjectionsBody), (status = 503, body = ProblemBody)))]
pub(super) async fn status(State(app): State<App>) -> Result<Json<ProjectionsBody>, Problem> {
    standing(&app).await.map(Json)
}

/// How both stand now.
pub(crate) async fn standing(app: &App) -> Result<ProjectionsBody, Problem> {
    let (served, drift, second) = app
        .read(|mut connection| async move {
            let (served, second) = second::both(&mut connection).await?;
            let drift = drift::found(&mut connection).await?;
            let Some(second) = second else { return Ok((served, drift, None)) };
            let positions = second::positions(&mut connection).await?;
            Ok((served, drift, Some((second, positions))))
        })
        .await?;
    let second = match second {
        None => None,
        Some((second, positions)) => {
            let spans = ends::spans(&app.projections.broker).await.map_err(|error| {
                Problem::unavailable(format!("the broker does not say how far its topics go ({error:#})"), 1)
            })?;
            let total = spans.values().map(|(low, end)| end - low).sum();
            let done = |(place, next): (_, i64)| {
                spans.get(&place).map_or(0, |(low, end)| next.clamp(*low, *end) - low)
            };
            let messages = positions.iter().map(|(place, next)| done((*place, *next))).sum();
            let taken: i64 = positions.values().sum();
            Some(SecondBody::of(
                &second,
                messages,
                total,
                taken,
                Timestamp::from(std::time::SystemTime::now()),
            ))
        }
    };
    let drift = drift.into_iter().map(|Drifted { order_id, found_at, what }| DriftBody {
        order_id,
        found_at: time_text(found_at),
        what,
    });
    let served = ServedBody {
        begun_at: time_text(served.begun_at),
        build: served.build,
        lag_ms: app.lag_ms(),
        drift: drift.collect(),
    };
    Ok(ProjectionsBody { served, second })
}

/// Begin to fill a second view from the topics' beginning. One that rests is dropped for it
#[utoipa::path(post, path = "/projections/rebuild", tag = "projections",
    responses((status = 202, body = AskedBody), (status = 409, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn rebuild(State(app): State<App>) -> Result<(StatusCode, Json<AskedBody>), Problem> {
    let url = app.projections.database_url.clone();
    ask(&app, |mut connection| async move {
        let before = second::find(&mut connection).await?;
        let is_busy = before.as_ref().is_some_and(|second| second.wanted != Wanted::Rest);
        if is_busy || !locked(&mut connection).await? {
            return Ok(Err("a second view is being filled: switch to it or drop it first"));
        }
        if second::find(&mut connection).await? != before {
            return Ok(Err(CHANGED));
        }
        second::begin(&url, &mut connection).await?;
        info!("a second view is begun");
        Ok(Ok(Some(Wanted::Follow)))
    })
    .await
}

/// Let the second view take the place of the one that serves, as soon as it has all that that one has
#[utoipa::path(post, path = "/projections/switch", tag = "projections",
    responses((status = 202, body = AskedBody), (status = 409, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn switch(State(app): State<App>) -> Result<(StatusCode, Json<AskedBody>), Problem> {
    ask(&app, |mut connection| async move {
        let Some(second) = second::find(&mut connection).await? else { return Ok(Err(NONE)) };
        Ok(match second.wanted {
            Wanted::Rest => Err("the second view is the one that served before: roll back to it"),
            _ if second.filled_at.is_none() => Err("the second view is not filled yet"),
            from => wanted(&mut connection, from).await?,
        })
    })
    .await
}

/// Let the view that served before take its place again, as soon as it has all that the other one has
#[utoipa::path(post, path = "/projections/rollback", tag = "projections",
    responses((status = 202, body = AskedBody), (status = 409, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn rollback(State(app): State<App>) -> Result<(StatusCode, Json<AskedBody>), Problem> {
    ask(&app, |mut connection| async move {
        let Some(second) = second::find(&mut connection).await? else { return Ok(Err(NONE)) };
        Ok(match second.wanted {
            Wanted::Rest => wanted(&mut connection, Wanted::Rest).await?,
            _ => Err("the second view does not rest: it did not serve before, or is about to serve"),
        })
    })
    .await
}

/// Drop the second view
#[utoipa::path(post, path = "/projections/drop", tag = "projections",
    responses((status = 202, body = AskedBody), (status = 409, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn drop(State(app): State<App>) -> Result<(StatusCode, Json<AskedBody>), Problem> {
    ask(&app, |mut connection| async move {
        let Some(second) = second::find(&mut connection).await? else { return Ok(Err(NONE)) };
        // Whoever fills it sees that it is gone.
        if !second::drop(&mut connection, second.begun_at).await? {
            return Ok(Err(CHANGED));
        }
        info!("the second view is dropped");
        Ok(Ok(None))
    })
    .await
}

/// Compare the second view with the one that serves, row by row. Asked again while it is under way, it goes on
#[utoipa::path(post, path = "/projections/verify", tag = "projections",
    responses((status = 200, body = Compared), (status = 202, description = "It goes on: ask again"),
        (status = 409, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn verify(State(app): State<App>) -> Result<Response, Problem> {
    match timeout(ANSWER_WITHIN, once_compared(&app)).await {
        Ok(compared) => Ok(Json(compared?).into_response()),
        Err(_) => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

/// One comparison at a time, which lives longer than whoever asked for it. What it came to is for who has gone on asking.
async fn once_compared(app: &App) -> Result<Compared, Problem> {
    let mut under_way = app.projections.comparing.lock().await;
    if under_way.as_ref().is_some_and(|comparing| comparing.asked_at.elapsed() > ANSWER_WITHIN * 2) {
        *under_way = None;
    }
    let comparing = under_way.get_or_insert_with(|| {
        let app = app.clone();
        let task = tokio::spawn(async move { compared(&app).await });
        Comparing { task, asked_at: Instant::now() }
    });
    comparing.asked_at = Instant::now();
    let compared = (&mut comparing.task).await;
    *under_way = None;
    compared.map_err(|error| {
        error!(%error, "comparing panicked");
        Problem::internal()
    })?
}

async fn compared(app: &App) -> Result<Compared, Problem> {
    asked(app, |mut connection| async move {
        Ok(match second::find(&mut connection).await? {
            None => Err(NONE),
            Some(second) if second.wanted == Wanted::Rest => Err("the second view rests, so it is behind"),
            Some(second) if second.filled_at.is_none() => Err("the second view is not filled yet"),
            Some(second) if !second.is_followed() => Err("the second view is stopped, so it is behind"),
            before => {
                let compared = compare::compare(&mut connection).await?;
                let after = second::find(&mut connection).await?;
                let which = |second: &Option<Projection>| second.as_ref().map(|second| second.begun_at);
                match compared {
                    _ if which(&after) != which(&before) => Err(CHANGED),
                    Some(compared) => Ok(compared),
                    None => Err("the two views did not come to the same places: one of them is not followed, or is far behind"),
                }
            }
        })
    })
    .await
}

/// Before the server answers that it takes too long.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Whoever filled one that was just dropped notices it in a moment.
async fn locked(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let until = Instant::now() + LOCK_WAIT_MAX;
    while !second::lock(connection).await? {
        if Instant::now() > until {
            return Ok(false);
        }
        sleep(POLL).await;
    }
    Ok(true)
}

const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
const CHANGED: &str = "the second view has just become another one: look again";
const NONE: &str = "there is no second view: rebuild makes one";

async fn wanted(connection: &mut PgConnection, from: Wanted) -> anyhow::Result<Answer<Option<Wanted>>> {
    Ok(match second::want(connection, from, Wanted::Switch).await? {
        true => Ok(Some(Wanted::Switch)),
        false => Err(CHANGED),
    })
}

async fn ask<F>(
    app: &App,
    what: impl FnOnce(PgConnection) -> F + Send + 'static,
) -> Result<(StatusCode, Json<AskedBody>), Problem>
where
    F: Future<Output = anyhow::Result<Answer<Option<Wanted>>>> + Send + 'static,
{
    let wanted = asked(app, what).await?;
    Ok((StatusCode::ACCEPTED, Json(AskedBody { wanted })))
}

/// An error says why it cannot be.
type Answer<T> = Result<T, &'static str>;

/// Over a connection of its own, since it may take long, and in a task of its own, since a client that goes away must not
/// leave it half done.
async fn asked<T, F>(app: &App, what: impl FnOnce(PgConnection) -> F + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<Answer<T>>> + Send + 'static,
{
    let url = app.projections.database_url.clone();
    let answer = tokio::spawn(async move {
        what(schema::connection(&url, "projector-operator", schema::SERVED).await?).await
    });
    match answer.await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(why))) => Err(Problem::new(StatusCode::CONFLICT, "projection-state", why)),
        Ok(Err(error)) => {
            error!("a projection could not be changed: {error:#}");
            Err(Problem::unavailable(format!("the view's database did not do it ({error:#})"), 1))
        }
        Err(error) => {
            error!(%error, "changing a projection panicked");
            Err(Problem::internal())
        }
    }
}

impl SecondBody {
    fn of(second: &Projection, messages: i64, messages_total: i64, taken: i64, now: Timestamp) -> Self {
        let state = match second.wanted {
            Wanted::Rest => Standing::Resting,
            _ if second.starts >= STARTS_MAX => Standing::Stopped,
            Wanted::Switch => Standing::Switching,
            _ if second.filled_at.is_none() => Standing::Filling,
            _ => Standing::Following,
        };
        let since_ms = second.run_at.map(|at| (now - at).num_milliseconds());
        let per_second = since_ms.zip(second.run_from).filter(|(ms, _)| *ms > 0);
        let per_second = per_second.map(|(ms, from)| (taken - from) as f64 * 1_000.0 / ms as f64);
        let left = (messages_total - messages) as f64;
        Self {
            begun_at: time_text(second.begun_at),
            build: second.build.clone(),
            filled_at: second.filled_at.map(time_text),
            state,
            messages,
            messages_total,
            per_second,
            seconds_left: per_second.filter(|rate| *rate > 0.0).map(|rate| left / rate),
        }
    }
}
