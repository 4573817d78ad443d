//! Files that the screens need, compiled in.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

const STYLE: &str = include_str!("../../assets/style.css");
const SCRIPT: &str = include_str!("../../assets/page.js");
const LIVE: &str = include_str!("../../assets/live.js");
const ORDERS: &str = include_str!("../../assets/orders.js");
const SEND: &str = include_str!("../../assets/send.js");
const PLOTS: &str = include_str!("../../assets/plots.js");
const UPLOT: &str = include_str!("../../assets/uplot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../assets/uplot.min.css");
const HTMX: &str = include_str!("../../assets/htmx.min.js");

pub(super) fn routes() -> Router {
    Router::new()
        .route("/assets/style.css", get(async || file("text/css; charset=utf-8", STYLE)))
        .route("/assets/page.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/assets/live.js", get(async || file("text/javascript; charset=utf-8", LIVE)))
        .route("/assets/orders.js", get(async || file("text/javascript; charset=utf-8", ORDERS)))
        .route("/assets/send.js", get(async || file("text/javascript; charset=utf-8", SEND)))
        .route("/assets/htmx.min.js", get(async || file("text/javascript; charset=utf-8", HTMX)))
        .route("/assets/plots.js", get(async || file("text/javascript; charset=utf-8", PLOTS)))
        .route("/assets/uplot.iife.min.js", get(async || file("text/javascript; charset=utf-8", UPLOT)))
        .route("/assets/uplot.min.css", get(async || file("text/css; charset=utf-8", UPLOT_STYLE)))
        .route("/favicon.ico", get(async || file("image/svg+xml", ICON)))
}

const ICON: &str = include_str!("../../assets/icon.svg");

fn file(kind: &'static str, content: &'static str) -> Response {
    // Asked for again with each build: addresses do not change with the content.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=60")], content).into_response()
}
