//! What surrounds every handler: the trace, the metrics, the time limit, and the last net under a panic.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tokio::time;
use tracing::{debug, error};

use super::{Problem, Trace};
use crate::telemetry::{Metrics, metrics::HttpLabel, spans};

/// The head of the answer must be there by then. A command may still be decided after it.
pub const ANSWER_SECONDS_MAX: u64 = 30;

/// Completes the router of a service: no request is answered other than by its routes or by a problem.
pub fn finish(router: Router, metrics: &Metrics) -> Router {
    router
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            let detail = "the address is right and the method is not";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        })
        .layer(middleware::from_fn_with_state(metrics.clone(), observe))
}

async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let trace = Trace::of(request.headers());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    request.extensions_mut().insert(trace.clone());

    let mut response = answer(request, next, &trace).await;

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let bare = problem.render(Some(trace.trace_id()));
        // The headers that a handler or axum added (Allow) stay.
        let (parts, body) = bare.into_parts();
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }
    let (status, took) = (response.status().as_u16(), started.elapsed());
    let seconds = took.as_secs_f64();
    let label = HttpLabel {
        http_request_method: method,
        http_route: route.to_owned().into(),
        http_response_status_code: status,
    };
    metrics.http_seconds.get_or_create(&label).observe(seconds);
    spans::served(&trace, method, route, status, took);
    debug!(method, route, status, seconds, trace_id = trace.trace_id(), "answered");
    response
}

async fn answer(request: Request, next: Next, trace: &Trace) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    match time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            error!(trace_id = trace.trace_id(), "a handler panicked");
            Problem::internal().into_response()
        }
        Err(_) => {
            let detail = "there is no answer yet; what was asked may still be done, and asking again with the same \
                          Idempotency-Key or reference is safe";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "no-answer-yet", detail).into_response()
        }
    }
}

/// A client can invent methods; a label cannot have them all.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
