//! The query API: reads the view and answers. It changes nothing; what an operator asks about a dead letter goes
//! to its owner as a command on a topic.

mod app;
mod page;
mod wait;
mod bodies;
mod orders;
mod stock;
mod letters;

pub use app::App;

use axum::{
    Router,
    extract::State,
    http::HeaderValue,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use shared::http::documented;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// On every answer: how far the view is behind the topics.
pub const LAG_HEADER: &str = "fulfil-view-lag-ms";

pub fn routes(app: App) -> Router {
    let router = described().layer(from_fn_with_state(app.clone(), say_lag));
    documented(router.with_state(app))
}

/// The routes with what is written about them.
pub fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(orders::list))
        .routes(routes!(orders::get))
        .routes(routes!(orders::timeline))
        .routes(routes!(stock::list))
        .routes(routes!(stock::get))
        .routes(routes!(letters::list))
        .routes(routes!(letters::get))
        .routes(routes!(letters::redrive))
        .routes(routes!(letters::discard))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "projector",
    description = "Answers questions about orders, stock and dead letters. The view follows the topics; every answer \
                   says in Fulfil-View-Lag-Ms how far behind it is, and with the token of a command's answer a \
                   question waits until the view has it."
))]
struct Document;

async fn say_lag(State(app): State<App>, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(LAG_HEADER, HeaderValue::from(app.lag_ms()));
    response
}
