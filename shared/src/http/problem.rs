//! What is answered instead of what was asked for: RFC 9457, one form for every refusal of every service.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    contract::Malformed,
    decider::{Class, Refusal},
    engine::inbox::Unanswered,
};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// Becomes a response by itself; the trace id is added by [`super::observe`], which knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Hyphenated and stable: the last part of `type`.
    pub code: &'static str,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after_seconds: Option<u32>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or `/name` of a parameter or header. Empty: all of it.
    pub pointer: String,
    pub detail: String,
}

/// The body of a problem.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `/problems/` and the code.
    #[schema(example = "/problems/invalid")]
    pub r#type: String,
    #[schema(example = "Invalid")]
    pub title: String,
    #[schema(example = 422)]
    pub status: u16,
    pub detail: &'a str,
    #[schema(example = "invalid")]
    pub code: &'a str,
    /// Of this request, as it stands in the logs and in the events that it caused.
    pub trace_id: Option<&'a str>,
    pub errors: &'a [FieldError],
}

/// What any command can be answered with, for the OpenAPI documents.
#[derive(Debug, utoipa::IntoResponses)]
pub enum OfAnyCommand<'a> {
    /// Cannot be read
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(ProblemBody<'a>),
    /// Over 64 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody<'a>),
    /// Not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemBody<'a>),
    /// `invalid`, or `idempotency-key-reused`: something else was said under this key or reference
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody<'a>),
    /// Too much to do; see Retry-After
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody<'a>),
    /// No answer yet; what was asked may still be done
    #[response(status = 504, content_type = "application/problem+json")]
    NoAnswerYet(ProblemBody<'a>),
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after_seconds: None }
    }

    /// The request cannot be read: 400.
    pub fn unreadable(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "the request cannot be read").at(pointer, detail)
    }

    /// The request can be read and says what may not be: 422.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the request is outside its limits")
            .at(pointer, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub fn unavailable(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let retry_after_seconds = Some(retry_after_seconds);
        Self { retry_after_seconds, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// A mistake of ours. It says nothing of what it was: that is in the log, under the trace id.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service made a mistake; it is logged")
    }

    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    pub(super) fn render(&self, trace_id: Option<&str>) -> Response {
        let body = ProblemBody {
            r#type: format!("/problems/{}", self.code),
            title: title(self.code),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            trace_id,
            errors: &self.errors,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// `order-state` reads as `Order state`.
fn title(code: &str) -> String {
    let mut title = code.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// A command that was built from a readable body and is beyond a limit.
impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::invalid(malformed.pointer, malformed.detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal.class {
            Class::TooEarly => Self::not_found(refusal.detail),
            Class::Refused => Self::new(StatusCode::CONFLICT, refusal.code, refusal.detail),
            Class::Malformed => Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code, refusal.detail),
            // Counted and logged by the engine.
            Class::Impossible => Self::internal(),
        }
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(refusal) => refusal.into(),
            Unanswered::Unavailable { detail, retry_after_seconds } => {
                Self::unavailable(detail, retry_after_seconds)
            }
            Unanswered::Failed => Self::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_refusal_has_its_status() {
        let refusal = |class| {
            Problem::from(Unanswered::Refused(Refusal {
                class,
                code: "order-state",
                detail: "is completed".into(),
            }))
        };
        assert_eq!(
            (refusal(Class::TooEarly).status.as_u16(), refusal(Class::TooEarly).code),
            (404, "not-found")
        );
        assert_eq!(
            (refusal(Class::Refused).status.as_u16(), refusal(Class::Refused).code),
            (409, "order-state")
        );
        assert_eq!(refusal(Class::Malformed).status.as_u16(), 422);
        assert_eq!(refusal(Class::Impossible), Problem::internal());
        assert_eq!(Problem::from(Unanswered::Failed).status.as_u16(), 500);
        let full = Unanswered::Unavailable { detail: "the inbox is full".into(), retry_after_seconds: 2 };
        let response = Problem::from(full).into_response();
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
    }

    #[test]
    fn a_title_is_the_code_as_a_person_reads_it() {
        assert_eq!(title("idempotency-key-reused"), "Idempotency key reused");
    }
}
