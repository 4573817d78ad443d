//! The OpenAPI document of a service: made from its handlers, served beside them.

use axum::{Router, routing::get};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// The routes, and `/openapi.json` that describes them.
pub fn documented(router: OpenApiRouter) -> Router {
    let (router, document) = router.split_for_parts();
    let text = text(&document);
    router.route(
        "/openapi.json",
        get(async move || ([(axum::http::header::CONTENT_TYPE, "application/json")], text)),
    )
}

/// The document as it is served and committed.
pub fn text(document: &OpenApi) -> String {
    // A document of the library's own types; there is no map key that could fail.
    document.to_pretty_json().unwrap_or_default() + "\n"
}
