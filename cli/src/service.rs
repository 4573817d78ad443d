//! Asking the services over HTTP, and what their refusals mean for an exit code.

use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    exit::{Exit, ended},
    output::duration_ms,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than a service waits for the view.
const TIMEOUT: Duration = Duration::from_secs(35);
/// As many as the projector gives at once.
const PAGE_ROWS_MAX: usize = 500;

/// A refusal in the form of RFC 9457.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

/// The answer to a question that named a token, where the view did not get there in time.
#[derive(Debug, Deserialize)]
struct Behind {
    lag: Lag,
}

#[derive(Debug, Deserialize)]
struct Lag {
    wanted: String,
    version: i64,
    view_lag_ms: i64,
}

#[derive(Debug, Deserialize)]
struct FieldError {
    pointer: String,
    detail: String,
}

pub fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).build()?)
}

/// # Errors
/// 404 is "not found", other 4xx are "refused", 503 and nobody listening are "unreachable", and 202 "waited long
/// enough".
pub async fn get<T: DeserializeOwned>(url: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
    let query: Vec<_> = query.iter().filter(|(_, value)| !value.is_empty()).collect();
    let (status, bytes) = answered(client()?.get(url).query(&query), url).await?;
    if status == StatusCode::ACCEPTED {
        let Behind { lag: Lag { wanted, version, view_lag_ms } } = parsed(&bytes, url)?;
        let lag = duration_ms(view_lag_ms);
        let text = format!(
            "the view does not have {wanted} yet: it is at version {version} there, and {lag} behind the topics"
        );
        return Err(ended(Exit::Waited, text));
    }
    parsed(&bytes, url)
}

/// The same with a client that many questions share.
pub async fn get_with<T: DeserializeOwned>(client: &Client, url: &str) -> anyhow::Result<T> {
    let (_, bytes) = answered(client.get(url), url).await?;
    parsed(&bytes, url)
}

/// The rows of a list under their name, over as many pages as there are, and not more than `rows_max`.
pub async fn list(
    url: &str,
    name: &str,
    query: &[(&str, String)],
    rows_max: usize,
) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    each(url, name, query, rows_max, |row| rows.push(row)).await?;
    Ok(rows)
}

/// The same row by row: of a long list a page is in memory, and what `take` keeps.
pub async fn each<T: DeserializeOwned>(
    url: &str,
    name: &str,
    query: &[(&str, String)],
    rows_max: usize,
    mut take: impl FnMut(T),
) -> anyhow::Result<()> {
    let (mut taken, mut cursor) = (0, String::new());
    while taken < rows_max {
        let limit = (rows_max - taken).min(PAGE_ROWS_MAX).to_string();
        let query = [query, &[("limit", limit), ("cursor", cursor)]].concat();
        let mut page: Value = get(url, &query).await?;
        let Value::Array(found) = page[name].take() else {
            bail!("{} answered something else than expected: no {name}", place(url));
        };
        taken += found.len();
        for row in found {
            take(serde_json::from_value(row).map_err(|error| unexpected(url, &error))?);
        }
        match page["next"].take() {
            Value::String(next) => cursor = next,
            _ => break,
        }
    }
    Ok(())
}

pub async fn post<T: DeserializeOwned>(
    url: &str,
    body: &impl Serialize,
    headers: &[(&str, &str)],
) -> anyhow::Result<T> {
    let mut request = client()?.post(url).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (_, bytes) = answered(request, url).await?;
    parsed(&bytes, url)
}

/// The same with a client that many requests share.
pub async fn post_with<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    body: &impl Serialize,
) -> anyhow::Result<T> {
    let (_, bytes) = answered(client.post(url).json(body), url).await?;
    parsed(&bytes, url)
}

/// The same where 202 says that it is not done yet: `None`.
pub async fn post_until<T: DeserializeOwned>(url: &str, body: &impl Serialize) -> anyhow::Result<Option<T>> {
    match answered(client()?.post(url).json(body), url).await? {
        (StatusCode::ACCEPTED, _) => Ok(None),
        (_, bytes) => parsed(&bytes, url).map(Some),
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], url: &str) -> anyhow::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| unexpected(url, &error))
}

fn unexpected(url: &str, error: &serde_json::Error) -> anyhow::Error {
    anyhow::anyhow!("{} answered something else than expected: {error}", place(url))
}

async fn answered(request: RequestBuilder, url: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let response = request.send().await.map_err(|error| {
        let reason = if error.is_timeout() { "does not answer in time" } else { "is not there" };
        ended(Exit::Unreachable, format!("{} {reason}: is the system up? fulfil dev status", place(url)))
    })?;
    let status = response.status();
    let bytes = response.bytes().await?;
    if status.is_success() {
        return Ok((status, bytes));
    }
    let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
    Err(ended(exit(status), said(&problem, status)))
}

fn exit(status: StatusCode) -> Exit {
    match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Exit::Unreachable
        }
        status if status.is_client_error() => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn said(problem: &Problem, status: StatusCode) -> String {
    let detail = if problem.detail.is_empty() { status.to_string() } else { problem.detail.clone() };
    let code = if problem.code.is_empty() { String::new() } else { format!("{}: ", problem.code) };
    let fields: String = problem
        .errors
        .iter()
        .filter(|error| !problem.detail.contains(&error.detail))
        .map(|error| format!("\n  {} {}", error.pointer, error.detail))
        .collect();
    format!("{code}{detail}{fields}")
}

fn place(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    url[after..].find('/').map_or(url, |end| &url[..after + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_with_its_code_and_the_fields() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"/problems/invalid","code":"invalid","detail":"the order is not valid","errors":[{"pointer":"/lines/0/sku","detail":"is not a sku"}]}"#,
        )
        .unwrap();
        let text = said(&problem, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(text, "invalid: the order is not valid\n  /lines/0/sku is not a sku");
        assert_eq!(said(&Problem::default(), StatusCode::BAD_GATEWAY), "502 Bad Gateway");
    }

    #[test]
    fn a_status_has_its_exit_code() {
        assert_eq!(exit(StatusCode::NOT_FOUND), Exit::NotFound);
        assert_eq!(exit(StatusCode::CONFLICT), Exit::Refused);
        assert_eq!(exit(StatusCode::SERVICE_UNAVAILABLE), Exit::Unreachable);
        assert_eq!(exit(StatusCode::INTERNAL_SERVER_ERROR), Exit::Failed);
    }

    #[tokio::test]
    async fn nobody_there_names_the_address_and_the_next_step() {
        let error = get::<serde_json::Value>("http://127.0.0.1:1/orders", &[]).await.unwrap_err();
        assert_eq!(crate::exit::of(&error), Exit::Unreachable);
        assert_eq!(error.to_string(), "http://127.0.0.1:1 is not there: is the system up? fulfil dev status");
    }
}
