//! The admin port: whether the process lives, whether it is ready and what it lacks, its metrics and its build, and
//! what an operator says to its consumer; what waits behind its dead letters ([`super::followers`]).

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use super::{JsonOrNothing, Problem, followers, problem::FieldError};
use crate::{
    consumer::{
        Console,
        operator::{Named, Refused, Resumed, Standing},
    },
    telemetry::{Metrics, metrics::Exposition},
};

/// What a process needs before it can serve, and which of it is missing. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    missing: Arc<watch::Sender<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Nothing of it is there yet.
    pub fn new(needs: &[&'static str]) -> Self {
        let missing = needs.iter().map(|need| (*need, "not yet".to_owned())).collect();
        Self { missing: Arc::new(watch::Sender::new(missing)) }
    }

    pub fn found(&self, need: &'static str) {
        self.missing.send_if_modified(|missing| missing.remove(need).is_some());
    }

    /// `why` is one sentence for an operator.
    pub fn lacks(&self, need: &'static str, why: impl Into<String>) {
        let why = why.into();
        self.missing.send_if_modified(|missing| missing.insert(need, why.clone()).as_ref() != Some(&why));
    }

    pub fn is_ready(&self) -> bool {
        self.missing.borrow().is_empty()
    }

    /// Need and reason, in the order of the alphabet.
    pub fn missing(&self) -> BTreeMap<&'static str, String> {
        self.missing.borrow().clone()
    }
}

/// The routes of the admin port, for [`super::serve`].
pub fn routes(
    service: &'static str,
    build: &'static str,
    readiness: Readiness,
    metrics: Metrics,
    console: Console,
    database_url: &str,
) -> Router {
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics_text).with_state(metrics))
        .route("/consumer", get(standing).with_state(console.clone()))
        .route("/consumer/resume", post(resume).with_state(console))
        .route("/version", get(async move || Json(json!({"service": service, "version": build}))))
        .merge(followers::routes(database_url));
    #[cfg(feature = "failpoints")]
    let routes = routes.merge(crate::failpoint::armed::routes());
    routes
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let missing = readiness.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing})))
}

async fn metrics_text(State(metrics): State<Metrics>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let exposition = if accepted.contains("application/openmetrics-text") {
        Exposition::OpenMetrics
    } else {
        Exposition::Prometheus
    };
    ([(header::CONTENT_TYPE, exposition.content_type())], metrics.text(exposition))
}

async fn standing(State(console): State<Console>) -> Result<Json<Standing>, Problem> {
    let asked = timeout(LOOP_ANSWERS_MAX, console.stand()).await;
    asked.ok().flatten().map(Json).ok_or_else(busy)
}

/// What an operator says besides "go on".
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Resume {
    /// Partitions whose lost messages are given up: `["orders.events:3"]`.
    accept_data_loss: Vec<String>,
}

async fn resume(
    State(console): State<Console>,
    JsonOrNothing(body): JsonOrNothing<Resume>,
) -> Result<Json<Resumed>, Problem> {
    let mut accept = Vec::with_capacity(body.accept_data_loss.len());
    for (index, text) in body.accept_data_loss.iter().enumerate() {
        let Named(place) = text.parse().map_err(|detail: String| {
            let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail.clone());
            problem.errors = vec![FieldError { pointer: format!("/accept_data_loss/{index}"), detail }];
            problem
        })?;
        accept.push(place);
    }
    let asked = timeout(LOOP_ANSWERS_MAX, console.resume(accept)).await;
    let resumed = asked.ok().flatten().ok_or_else(busy)?;
    resumed.map(Json).map_err(|refused| {
        let code = match refused {
            Refused::NotSuspected(_) => "not-suspected",
            Refused::Moved => "moved",
            Refused::ComesAgain(_) => "comes-again",
        };
        Problem::new(StatusCode::CONFLICT, code, refused.to_string())
    })
}

fn busy() -> Problem {
    let detail =
        "the loop of this process does not answer, and does nothing of it: what it lacks is at /readyz";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

/// Between two batches, where the database is there.
const LOOP_ANSWERS_MAX: Duration = Duration::from_secs(10);

/// Asks the admin port of a running process whether it is ready. Blocking: it is all that its process does.
///
/// # Errors
/// Where it does not answer, or lacks something; the error says what.
pub fn healthcheck(admin_addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&reachable(admin_addr), HEALTHCHECK_MAX)?;
    stream.set_read_timeout(Some(HEALTHCHECK_MAX))?;
    stream.set_write_timeout(Some(HEALTHCHECK_MAX))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(HEALTHCHECK_BYTES_MAX).read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Err(io::Error::other(body.to_owned()))
}

const HEALTHCHECK_MAX: Duration = Duration::from_secs(2);
const HEALTHCHECK_BYTES_MAX: u64 = 64 * 1024;

/// An address that is listened on everywhere is asked on this machine.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}
