//! The query API: reads the view and answers. It changes nothing; what an operator asks about a dead letter goes
//! to its owner as a command on a topic.

mod app;
mod paging;
mod wait;
mod given;
mod tagged;
mod bodies;
pub(crate) mod orders;
mod cancel;
pub(crate) mod stock;
pub(crate) mod sales;
pub(crate) mod consumers;
pub(crate) mod overview;
pub(crate) mod letters;
mod mended;
mod letter_groups;
pub(crate) mod bulk;
pub(crate) mod events;
pub(crate) mod send;
pub(crate) mod projections;

pub use app::App;
pub use projections::Projections;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use shared::http::{Problem, documented};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::page;

/// On every answer: how far the view is behind the topics.
pub const LAG_HEADER: &str = "fulfil-view-lag-ms";

pub fn routes(app: App) -> Router {
    let screens = page::screens(app.clone());
    let router = with_screens().layer(from_fn_with_state(screens.clone(), page::prefer)).merge(others());
    let router = router.layer(from_fn_with_state(app.clone(), say_lag)).layer(from_fn(from_here));
    documented(router.with_state(app)).merge(page::alone(screens))
}

/// The routes with what is written about them.
pub fn described() -> OpenApiRouter<App> {
    with_screens().merge(others())
}

/// Those that a browser is answered with a screen.
fn with_screens() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(orders::list))
        .routes(routes!(orders::get))
        .routes(routes!(orders::timeline))
        .routes(routes!(stock::list))
        .routes(routes!(sales::list))
        .routes(routes!(consumers::list))
        .routes(routes!(overview::show))
        .routes(routes!(letters::list))
        .routes(routes!(letters::get))
        .routes(routes!(projections::status))
        .routes(routes!(events::follow))
}

fn others() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(cancel::cancel))
        .routes(routes!(stock::get))
        .routes(routes!(letter_groups::list))
        .routes(routes!(bulk::begin, bulk::newest))
        .routes(routes!(bulk::preview))
        .routes(routes!(bulk::stop))
        .routes(routes!(send::send))
        .routes(routes!(letters::followers))
        .routes(routes!(letters::redrive))
        .routes(routes!(letters::discard))
        .routes(routes!(projections::rebuild))
        .routes(routes!(projections::verify))
        .routes(routes!(projections::switch))
        .routes(routes!(projections::rollback))
        .routes(routes!(projections::drop))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "projector",
    description = "Answers questions about orders, stock and dead letters. The view follows the topics; every answer \
                   says in Fulfil-View-Lag-Ms how far behind it is, and with the token of a command's answer a \
                   question waits until the view has it."
))]
struct Document;

async fn say_lag(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(LAG_HEADER, HeaderValue::from(app.lag_ms()));
    response
}

/// A browser says where a request comes from. What a page from elsewhere asks changes nothing here.
async fn from_here(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_ours = match site {
        Some(site) => [&b"same-origin"[..], b"none"].contains(&site),
        None => is_same_host(request.headers()),
    };
    if request.method().is_safe() || is_ours {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "cross-site", "a page from elsewhere asks for it").into_response()
}

/// To an address without TLS a browser says only which page it is on.
fn is_same_host(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    origin.split_once("://").map(|(_, host)| host) == text(header::HOST)
}
