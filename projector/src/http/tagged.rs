//! Answers that are not sent again to whoever has them: entity tags (RFC 9110, section 13.1.2).

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{contract::ids::named, http::Problem};
use tracing::error;

/// 200 with the body and its tag, or 304 where the asker has just that. Two replicas give one body one tag.
pub(super) fn tagged(asked: &HeaderMap, body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_string(body).map_err(|error| {
        error!(%error, "an answer cannot be written");
        Problem::internal()
    })?;
    let tag = format!("\"{}\"", named(&["answer", &json]).simple());
    let mut response = match is_known(asked, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
    };
    let headers = response.headers_mut();
    // Whoever keeps it asks whether it is still so.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?);
    Ok(response)
}

/// Tags that a proxy made weak are as good: the same bytes or not is all that is asked.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(known: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())])
    }

    #[test]
    fn an_answer_that_the_asker_has_is_not_sent_again() {
        let first = tagged(&HeaderMap::new(), &"body").unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag, "*", &format!("\"another\", W/{tag}")] {
            let again = tagged(&asked(known), &"body").unwrap();
            assert_eq!(
                (again.status(), &again.headers()[header::ETAG]),
                (StatusCode::NOT_MODIFIED, &first.headers()[header::ETAG])
            );
        }
        for known in ["\"another\"", tag.trim_matches('"')] {
            assert_eq!(tagged(&asked(known), &"body").unwrap().status(), StatusCode::OK);
        }
        assert_eq!(tagged(&asked(tag), &"another body").unwrap().status(), StatusCode::OK);
    }
}
