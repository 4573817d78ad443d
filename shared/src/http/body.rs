//! JSON bodies: read whole under a size and a time limit, strictly, before a handler sees a field.
//!
//! What cannot be read is 400 with a pointer to the place; what can be read and is beyond a limit is the handler's
//! to refuse with 422, by the same checks that a message from a topic goes through.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time;

use super::Problem;
use crate::contract::{limits::HTTP_BODY_BYTES_MAX, message::parse, strict};

/// All of a body must have arrived by then, however it drips.
pub const BODY_SECONDS_MAX: u64 = 10;

/// A body over its limit is still read, and thrown away, up to here: closing a connection on a client that is
/// writing would take the answer from it.
const DRAINED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A body that must be there.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

/// A body that may be left out, with its content type.
#[derive(Debug, Clone)]
pub struct JsonOrNothing<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let Json(bytes) = json_bytes(request, HTTP_BODY_BYTES_MAX).await?;
        read(&bytes).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.headers().get(header::CONTENT_TYPE).is_none() && request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state).await.map(|Json(body)| Self(body))
    }
}

/// The bytes of a JSON body, not yet looked into, for a handler that reads more than one shape or has a limit of
/// its own.
pub async fn json_bytes(request: Request, bytes_max: usize) -> Result<Json<Bytes>, Problem> {
    check_content_type(request.headers())?;
    let bytes = collect(request.into_body(), bytes_max, Duration::from_secs(BODY_SECONDS_MAX)).await?;
    if bytes.is_empty() {
        return Err(Problem::unreadable("", "the request has no body"));
    }
    let strict = strict::text(&bytes).and_then(strict::check);
    strict.map_err(|malformed| Problem::unreadable(malformed.pointer, malformed.detail))?;
    Ok(Json(bytes))
}

/// Reads strict JSON as one shape.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::unreadable("", "the body is not UTF-8"))?;
    parse(text).map_err(|malformed| Problem::unreadable(malformed.pointer, malformed.detail))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported =
        |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail);
    // Asked for even where the body would read: a form of another site's page cannot send this type.
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if !is_json {
        return Err(unsupported("the body has content type application/json"));
    }
    let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if encoded { Err(unsupported("the body is not compressed")) } else { Ok(()) }
}

async fn collect(body: Body, bytes_max: usize, limit: Duration) -> Result<Bytes, Problem> {
    time::timeout(limit, collect_patiently(body, bytes_max)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", limit.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
    })
}

async fn collect_patiently(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body has at most {bytes_max} bytes");
        Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > DRAINED_BYTES_MAX {
        return too_large();
    }
    let mut bytes = BytesMut::with_capacity(announced.min(bytes_max));
    let (mut read, mut frames) = (0, body.into_data_stream());
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Problem::unreadable("", "the body broke off"))?;
        read += frame.len();
        if read > DRAINED_BYTES_MAX {
            return too_large();
        }
        if read <= bytes_max {
            bytes.extend_from_slice(&frame);
        }
    }
    if read > bytes_max { too_large() } else { Ok(bytes.freeze()) }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use serde::Deserialize;

    use super::*;

    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let drips = stream::unfold((), async |()| {
            time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
        });
        let body = Body::from_stream(drips);
        let problem = collect(body, HTTP_BODY_BYTES_MAX, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (408, "timeout"));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_cannot_be_read() {
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
        let body = Body::from_stream(broken);
        let problem = collect(body, HTTP_BODY_BYTES_MAX, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid"));
    }

    #[derive(Debug, Deserialize)]
    struct Order {
        #[expect(dead_code, reason = "only its type is of interest")]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    struct Line {
        #[expect(dead_code, reason = "only its type is of interest")]
        quantity: i64,
    }

    #[test]
    fn a_body_that_cannot_be_read_says_where() {
        for (body, pointer) in [
            (r#"{"lines":[{"quantity":1},{"quantity":"secret"}]}"#, "/lines/1/quantity"),
            (r#"{"lines":[{"quantity":1.0}]}"#, "/lines/0/quantity"),
            (r#"{"lines":[{"quantity":1e3}]}"#, "/lines/0/quantity"),
            (r#"{"lines":[{"quantity":9223372036854775808}]}"#, "/lines/0/quantity"),
            (r#"{"lines":[{}]}"#, "/lines/0/quantity"),
            (r#"{"lines":{}}"#, "/lines"),
            (r#"[]"#, ""),
            (r#"{}"#, "/lines"),
        ] {
            let problem = read::<Order>(body.as_bytes()).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid"), "{body}");
            assert_eq!(problem.errors[0].pointer, pointer, "{body}");
            assert!(!problem.errors[0].detail.contains("secret"), "{problem:?}");
        }
    }
}
