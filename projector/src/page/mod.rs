//! The page: what people see at the same addresses at which programs ask. It is complete without script; with it, it keeps
//! itself up to date, and actions are asked of the API.

mod assets;
mod layout;
mod text;
mod spark;
pub(crate) mod overview;
mod alarms;
mod orders;
mod order;
mod lanes;
mod past;
mod died;
mod way;
mod letters;
mod mark;
mod stock;
mod sales;
mod plot;
mod consumers;
mod projections;
mod live;
mod send;

pub use overview::Overviews;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use tower::ServiceExt;

use crate::http::App;

/// Nothing comes from elsewhere, and nobody puts the page into a page of theirs.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The screens, by the addresses of the API.
pub fn screens(app: App) -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/overview", get(overview::show))
        .route("/orders", get(orders::show))
        .route("/orders/{id}", get(order::show))
        .route("/orders/{id}/timeline", get(order::show))
        .route("/dead-letters", get(letters::list))
        .route("/dead-letters/{id}", get(letters::show))
        .route("/stock", get(stock::show))
        .route("/sales", get(sales::show))
        .route("/consumers", get(consumers::show))
        .route("/projections", get(projections::show))
        .route("/events", get(live::show))
        .route("/send", get(send::show))
        .layer(from_fn(finished))
        .with_state(app)
}

/// What has no address in the API.
pub fn alone(screens: Router) -> Router {
    Router::new()
        .route("/", get(shown))
        .route("/send", get(shown))
        .with_state(screens)
        .merge(assets::routes())
}

/// Answers with a screen where a browser asks.
pub async fn prefer(State(screens): State<Router>, request: Request, next: Next) -> Response {
    let mut response = match request.method() == Method::GET && wants_page(request.headers()) {
        true => shown(State(screens), request).await,
        false => next.run(request).await,
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn shown(State(screens): State<Router>, request: Request) -> Response {
    match screens.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Whether a page comes before JSON in what is accepted. Who accepts anything is a program.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| ["text/html", "application/json"].contains(kind)) == Some("text/html")
}

/// A refusal is a page, too.
async fn finished(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<shared::http::Problem>() {
        response = layout::refusal(&problem);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_a_program_does_not() {
        let asked =
            |accept: &str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for page in [browser, "text/html", "text/html;q=0.9, application/json;q=0.8"] {
            assert!(wants_page(&asked(page)), "{page}");
        }
        for program in ["*/*", "application/json", "application/json, text/html", ""] {
            assert!(!wants_page(&asked(program)), "{program}");
        }
        assert!(!wants_page(&HeaderMap::new()));
    }
}
