//! Parameters of paths, queries and headers, refused in the same form as bodies.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Problem;

/// The one parameter of a path, parsed.
#[derive(Debug, Clone)]
pub struct PathParam<T>(pub T);

/// The query, as a struct whose fields are its parameters.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

/// The id of a dead letter in a path.
#[derive(Debug, Clone, Copy)]
pub struct LetterId(pub Uuid);

/// The header by which a client makes a repeat harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

impl<S, T> FromRequestParts<S> for PathParam<T>
where
    S: Send + Sync,
    T: FromStr<Err = String>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::unreadable("", "the path is not UTF-8"))?;
        // A route without a parameter is our mistake, not the client's.
        let (name, text) = params.iter().next().ok_or_else(Problem::internal)?;
        text.parse().map(Self).map_err(|wrong| Problem::unreadable(format!("/{name}"), wrong))
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Uuid::try_parse(text).map(Self).map_err(|_| "is not a UUID".to_owned())
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |error| {
                let text = error.body_text();
                let wrong = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                match wrong.split_once(": ") {
                    Some((name, wrong)) if !name.contains(' ') => {
                        Problem::unreadable(format!("/{name}"), wrong)
                    }
                    _ => Problem::unreadable("", wrong),
                }
            },
        )
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wrong = |detail: String| Err(Problem::unreadable("/Idempotency-Key", detail));
        let mut values = parts.headers.get_all("idempotency-key").iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(Self(None)),
            (Some(_), Some(_)) => wrong("the header stands twice".to_owned()),
            (Some(value), None) => match value.to_str().map(str::trim) {
                Ok(key) if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) => {
                    Ok(Self(Some(key.to_owned())))
                }
                _ => wrong(format!("is not 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters")),
            },
        }
    }
}
