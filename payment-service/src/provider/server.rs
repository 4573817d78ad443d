//! The simulated provider as a process of its own (`fulfil dev provider`): the same books, over HTTP and on disk.
//!
//! `POST /payments/{id}/authorize|capture|void|refund` with `Idempotency-Key`, an authorization with a body
//! `{"amount":{"minor","currency"}}`; `GET /payments/{id}`; `GET /records?since=&after=&limit=`.
//! A yes is 200 `{"outcome":"yes"}`, a no 402 `{"outcome":"no","code"}`; whatever has no `outcome` is no answer.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{Timestamp, ids::OrderId, money::Money, payment::Operation},
    shutdown::Shutdown,
};
use tokio::net::TcpListener;
use tracing::error;
use uuid::Uuid;

use super::{
    Request,
    behaviour::Behaviour,
    books::{Mistake, Page, Reply},
    ledger::Ledger,
    simulated::now,
};
use crate::domain::record::Said;

pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub const UNKNOWN_PAYMENT: &str = "unknown-payment";

/// Serves until told to stop. Calls that wait for an answer are cut off then: their callers ask again.
///
/// # Errors
/// Where the books in `folder` cannot be read or belong to another process.
pub async fn serve(
    listener: TcpListener,
    folder: &Path,
    behaviour: Behaviour,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let provider = Arc::new(Provider { behaviour, ledger: Mutex::new(Ledger::open(folder)?) });
    let router = Router::new()
        .route("/payments/{id}/{operation}", post(ask))
        .route("/payments/{id}", get(record))
        .route("/records", get(records))
        .with_state(provider);
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        () = shutdown.requested() => {}
    }
    Ok(())
}

struct Provider {
    behaviour: Behaviour,
    /// A line is written while it is held: entries are in the file in the order in which they were judged.
    ledger: Mutex<Ledger>,
}

impl Provider {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // An entry is applied whole or not at all, so the books are right also after a panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    amount: Option<Money>,
}

/// Not an answer to the call: the call itself is wrong, or we are.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl ToString) -> Self {
        Self { status, code, detail: detail.to_string() }
    }

    fn invalid(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<Mistake> for Problem {
    fn from(mistake: Mistake) -> Self {
        let code = match mistake {
            Mistake::KeyReused => "idempotency-key-reused",
            Mistake::NoAmount | Mistake::Amount => "invalid",
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, mistake)
    }
}

async fn ask(
    State(provider): State<Arc<Provider>>,
    UrlPath((payment_id, operation)): UrlPath<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Problem> {
    let request = read(&payment_id, &operation, &headers, &body)?;
    // A short write to a file that is not flushed does not block for long enough to need a thread of its own.
    let written = provider.ledger().ask(&request, now(), &provider.behaviour);
    let reply = written.map_err(|error| {
        error!(%payment_id, error = format!("{error:#}"), "a call was not taken");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the books could not be written")
    })??;
    if let Some(delay) = provider.behaviour.delay() {
        tokio::time::sleep(delay).await;
    }
    match reply {
        Reply::Said(said) => Ok(answer(said)),
        Reply::Late(said) => {
            tokio::time::sleep(provider.behaviour.late()).await;
            Ok(answer(said))
        }
        Reply::Contradicted => Ok(answer(Reply::contradiction())),
        // Until the caller gives up.
        Reply::Never => std::future::pending().await,
        Reply::Unavailable => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not now, by setting"))
        }
    }
}

fn read(payment_id: &str, operation: &str, headers: &HeaderMap, body: &str) -> Result<Request, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
    let body = if body.is_empty() { Ok(Body::default()) } else { serde_json::from_str(body) };
    Ok(Request {
        payment_id: payment_id.parse().map_err(|_| Problem::invalid("a payment is named by a UUID"))?,
        operation: Operation::ALL
            .into_iter()
            .find(|known| known.as_str() == operation)
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not-found", "no such operation"))?,
        amount: body
            .map_err(|_| Problem::invalid("the body is JSON, with an amount where one is due"))?
            .amount,
        idempotency_key: key
            .and_then(|key| Uuid::try_parse(key).ok())
            .ok_or_else(|| Problem::invalid("Idempotency-Key is a UUID"))?,
    })
}

fn answer(said: Said) -> Response {
    let status = match said {
        Said::Yes => StatusCode::OK,
        Said::No { .. } => StatusCode::PAYMENT_REQUIRED,
    };
    (status, Json(said)).into_response()
}

async fn record(
    State(provider): State<Arc<Provider>>,
    UrlPath(payment_id): UrlPath<String>,
) -> Result<Json<Page>, Problem> {
    let page = payment_id.parse().ok().and_then(|id: OrderId| provider.ledger().books.page(id));
    page.map(Json).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, UNKNOWN_PAYMENT, "no call was ever about this payment")
    })
}

#[derive(Debug, Deserialize)]
struct Wanted {
    since: Option<Timestamp>,
    #[serde(default)]
    after: u64,
    /// Without it: all.
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Pages {
    records: Vec<Page>,
    /// What to send as `after` for the rest; null at the end.
    next: Option<u64>,
}

async fn records(State(provider): State<Arc<Provider>>, Query(wanted): Query<Wanted>) -> Json<Pages> {
    let ledger = provider.ledger();
    let mut pages = ledger.books.pages(wanted.since, wanted.after);
    let (mut records, mut last) = (Vec::new(), None);
    for (number, page) in pages.by_ref().take(wanted.limit.unwrap_or(usize::MAX)) {
        records.push(page);
        last = Some(number);
    }
    let next = last.filter(|_| pages.next().is_some());
    Json(Pages { records, next })
}
