//! What surrounds every screen.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use shared::http::{Problem, problem::FieldError};
use tracing::error;

use super::text;
use crate::http::App;

/// What the frame of a screen says.
pub(super) struct Frame {
    /// Which entry of the navigation is lit.
    pub section: &'static str,
    pub title: String,
    /// The same question in the shell.
    pub command: String,
    /// How far the view is behind the topics; `None` where it was not asked.
    pub behind: Option<String>,
    pub is_behind: bool,
    /// Where the screen asks for itself again, to stay up to date.
    pub again: Option<String>,
    /// After so many seconds.
    pub every: u32,
}

/// From then on the view is said to be behind.
const BEHIND_MS: i64 = 2_000;

impl Frame {
    pub(super) fn new(
        app: &App,
        section: &'static str,
        title: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        let lag_ms = app.lag_ms();
        Self {
            section,
            title: title.into(),
            command: command.into(),
            behind: Some(text::duration(lag_ms)),
            is_behind: lag_ms > BEHIND_MS,
            again: None,
            every: 2,
        }
    }

    pub(super) fn is(&self, section: &str) -> bool {
        self.section == section
    }

    /// It changes while it is looked at, and costs more than a page of rows.
    pub(super) fn seldom(self, address: impl Into<String>) -> Self {
        Self { every: 10, ..self.live(address) }
    }

    /// It changes while it is looked at.
    pub(super) fn live(self, address: impl Into<String>) -> Self {
        Self { again: Some(address.into()), ..self }
    }
}

pub(super) fn rendered(screen: &impl Template) -> Result<Response, Problem> {
    match screen.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => {
            error!(%error, "a screen cannot be written");
            Err(Problem::internal())
        }
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct Refusal<'a> {
    frame: Frame,
    status: StatusCode,
    detail: &'a str,
    errors: &'a [FieldError],
}

pub(super) fn refusal(problem: &Problem) -> Response {
    let frame = Frame {
        section: "",
        title: problem.status.canonical_reason().unwrap_or("Refused").to_owned(),
        command: String::new(),
        behind: None,
        is_behind: false,
        again: None,
        every: 0,
    };
    let Problem { status, detail, errors, .. } = problem;
    let screen = Refusal { frame, status: *status, detail, errors };
    match screen.render() {
        Ok(html) => (*status, Html(html)).into_response(),
        // The API's own form is better than nothing.
        Err(_) => problem.clone().into_response(),
    }
}
