//! What a process says of itself at its admin port: whether it pauses, how many keys it holds, what waits behind a dead
//! letter. The projector knows of those that a setting names; it reads what everybody may read there, and nothing else of
//! another service.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde::Deserialize;
use shared::{consumer::operator, http::followers::FollowersBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
const HELD_KEYS: &str = "fulfil_held_keys ";
const VIOLATIONS: &str = "fulfil_invariant_violations_total{";

/// `http://127.0.0.1:9081`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAddr(String);

/// One that was asked.
#[derive(Debug, PartialEq)]
pub struct Process {
    pub admin: String,
    /// Or why it does not say.
    pub said: Result<Said, String>,
}

#[derive(Debug, PartialEq)]
pub struct Said {
    pub service: String,
    /// Of the pause after too much poison; 0 where there is none.
    pub paused_ms: u64,
    /// Partitions that are not read, since messages are missing there.
    pub suspected: Vec<String>,
    pub held_keys: i64,
    /// Invariants, and how often each was violated since it was started.
    pub violations: Vec<(String, i64)>,
}

#[derive(Deserialize)]
struct Version {
    service: String,
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("http://").unwrap_or_default().trim_end_matches('/');
        let is_place = place.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok()
        });
        let place = is_place.then(|| Self(place.to_owned()));
        place.ok_or_else(|| format!("{text:?} is not http://HOST:PORT, such as http://127.0.0.1:9081"))
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// What waits behind a letter, as its owner says; or why nobody does. Others need not answer.
pub(super) async fn followers(admins: &[AdminAddr], letter: Uuid) -> Result<FollowersBody, String> {
    let path = format!("/dead-letters/{letter}/followers");
    let path = &path;
    let mut asked: FuturesUnordered<_> = admins
        .iter()
        .map(async |admin| {
            let said = timeout(ANSWERS_WITHIN, ask(admin, path)).await;
            (admin, said.unwrap_or_else(|_| bail!("it does not answer")))
        })
        .collect();
    let mut silent = Vec::new();
    while let Some((admin, said)) = asked.next().await {
        let found = said.and_then(|(status, body)| match status.as_str() {
            "404" => Ok(None),
            _ => Ok(Some(serde_json::from_str(&found(path, &status, body)?)?)),
        });
        match found {
            Ok(Some(followers)) => return Ok(followers),
            Ok(None) => {}
            Err(why) => silent.push(format!("{admin}: {why:#}")),
        }
    }
    Err(match silent.is_empty() {
        true => "of those that SERVICE_ADMIN_URLS names none has it".to_owned(),
        false => silent.join("; "),
    })
}

/// All at once, in their order.
pub(super) async fn standing(admins: &[AdminAddr]) -> Vec<Process> {
    let asked = admins.iter().map(async |admin| {
        let said = timeout(ANSWERS_WITHIN, said(admin)).await;
        let said = said.unwrap_or_else(|_| bail!("it does not answer"));
        Process { admin: admin.to_string(), said: said.map_err(|error| format!("{error:#}")) }
    });
    join_all(asked).await
}

async fn said(admin: &AdminAddr) -> anyhow::Result<Said> {
    let Version { service } = serde_json::from_str(&get(admin, "/version").await?)?;
    let operator::Standing { paused_ms, partitions } = serde_json::from_str(&get(admin, "/consumer").await?)?;
    let metrics = get(admin, "/metrics").await?;
    Ok(Said {
        service,
        paused_ms,
        suspected: partitions.into_iter().filter_map(|partition| partition.suspected).collect(),
        held_keys: held_keys(&metrics).context("its metrics do not say how many keys it holds")?,
        violations: violations(&metrics),
    })
}

fn held_keys(metrics: &str) -> Option<i64> {
    metrics.lines().find_map(|line| line.strip_prefix(HELD_KEYS))?.trim().parse().ok()
}

/// There is a line of each that was violated.
fn violations(metrics: &str) -> Vec<(String, i64)> {
    let violation = |line: &str| {
        let (labels, times) = line.strip_prefix(VIOLATIONS)?.rsplit_once("} ")?;
        let times: i64 = times.trim().parse().ok().filter(|times| *times > 0)?;
        let (_, rest) = labels.split_once("invariant=\"")?;
        Some((rest.split_once('"')?.0.to_owned(), times))
    };
    metrics.lines().filter_map(violation).collect()
}

async fn get(admin: &AdminAddr, path: &str) -> anyhow::Result<String> {
    let (status, body) = ask(admin, path).await?;
    found(path, &status, body)
}

fn found(path: &str, status: &str, body: String) -> anyhow::Result<String> {
    if status != "200" {
        bail!("{path} is answered with {status}");
    }
    Ok(body)
}

/// One question, and its answer's status and body. Our admin ports say how long an answer is and close.
async fn ask(AdminAddr(place): &AdminAddr, path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect(place).await.context("nobody listens")?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("it does not speak HTTP")?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Ok((status.context("it does not speak HTTP")?.to_owned(), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["http://127.0.0.1:9081", "http://order-service:9081/", "http://[::1]:9081"] {
            assert_eq!(good.parse::<AdminAddr>().unwrap().to_string(), good.trim_end_matches('/'));
        }
        for bad in
            ["", "127.0.0.1:9081", "https://a:1", "http://a", "http://:1", "http://a:x", "http://a/b:1"]
        {
            assert!(bad.parse::<AdminAddr>().is_err(), "{bad}");
        }
    }

    const METRICS: &str = "# TYPE fulfil_held_keys gauge
fulfil_held_keys 3
fulfil_invariant_violations_total{invariant=\"bug\"} 2
fulfil_invariant_violations_total{invariant=\"a b\"} 1
";

    async fn served(router: Router) -> AdminAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        AdminAddr(place)
    }

    #[tokio::test]
    async fn what_a_process_says_is_taken_and_one_that_is_not_there_or_says_nonsense_is_told() {
        let fixed = |text: &'static str| routing::get(async move || text);
        let stands = r#"{"paused_ms":5,"partitions":[{"topic":"a","partition":0,"next":1,"end":null,"suspected":"lost"}]}"#;
        let service = Router::new()
            .route("/version", fixed(r#"{"service":"order-service","build":"1"}"#))
            .route("/consumer", fixed(stands))
            .route("/metrics", fixed(METRICS));
        let good = served(service).await;
        let other = served(Router::new().route("/version", fixed("<html>"))).await;
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = AdminAddr(mute.local_addr().unwrap().to_string());
        let gone = AdminAddr("127.0.0.1:1".into());
        let processes = standing(&[good.clone(), other, silent, gone]).await;
        let said = Said {
            service: "order-service".into(),
            paused_ms: 5,
            suspected: vec!["lost".into()],
            held_keys: 3,
            violations: vec![("bug".into(), 2), ("a b".into(), 1)],
        };
        assert_eq!(processes[0], Process { admin: good.to_string(), said: Ok(said) });
        assert!(processes[1].said.is_err());
        assert_eq!(processes[2].said, Err("it does not answer".into()));
        assert!(processes[3].said.as_ref().unwrap_err().starts_with("nobody listens"));
    }
}
