//! A router over a real socket, and a client that says exactly the bytes that a test wants said.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time,
};

use crate::{
    http::{Limits, bind, finish, serve},
    shutdown::{Trigger, manual},
    telemetry::Metrics,
};

/// A server of a test. Dropping it stops it.
pub struct Served {
    pub addr: SocketAddr,
    pub metrics: Metrics,
    pub trigger: Trigger,
    pub ended: JoinHandle<()>,
}

/// What came back. Empty where the connection was closed without an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

/// Serves a router as a service does, on a port of its own.
///
/// # Panics
/// Where no port can be had.
pub async fn served(router: Router, limits: Limits) -> Served {
    let metrics = Metrics::new("test-service", "0");
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap_or_else(|error| panic!("{error}"));
    let addr = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let (trigger, shutdown) = manual();
    let router = finish(router, &metrics);
    let ended = tokio::spawn(async move { serve(listener, router, limits, &shutdown).await });
    Served { addr, metrics, trigger, ended }
}

/// No answer of a test takes longer.
const REPLY_MAX: Duration = Duration::from_secs(120);

impl Served {
    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}");
        self.say(&format!("{head}content-length: {length}\r\n\r\n{body}")).await
    }

    /// Says these bytes and listens until the connection ends.
    pub async fn say(&self, bytes: &str) -> Reply {
        listen(self.connect_and_say(bytes).await).await
    }

    /// Says these bytes and keeps the connection.
    ///
    /// # Panics
    /// Where it cannot connect.
    pub async fn connect_and_say(&self, bytes: &str) -> TcpStream {
        let connected = TcpStream::connect(self.addr).await;
        let mut stream = connected.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.addr));
        // The server may have closed already, having heard enough.
        let _ = stream.write_all(bytes.as_bytes()).await;
        stream
    }
}

/// Listens until the connection ends.
///
/// # Panics
/// Where it does not end in time.
pub async fn listen(mut stream: TcpStream) -> Reply {
    let heard = async {
        let mut bytes = Vec::new();
        let ended: io::Result<usize> = stream.read_to_end(&mut bytes).await;
        // A reset after the answer is an end like any other.
        let _ = ended;
        bytes
    };
    let Ok(bytes) = time::timeout(REPLY_MAX, heard).await else { panic!("the connection did not end") };
    Reply::parse(&String::from_utf8_lossy(&bytes))
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// # Panics
    /// Where the body is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}
