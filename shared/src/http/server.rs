//! The server: every connection is bounded in number, time and memory, so that a crowd or an attacker costs its own
//! requests and never the consumers of the same process.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tracing::{debug, warn};

use crate::shutdown::Shutdown;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one listener. Below the usual limit of open files (1,024), of which database and broker need some.
    pub connections_max: usize,
    /// From a connection's first byte, or the end of its last answer, to the end of the next request's head.
    pub head_read_max: Duration,
    /// A connection on which the peer's kernel acknowledges nothing, or has no room, for so long is closed, and what it held is
    /// free again. Who stopped reading is found out only once the buffers between are full.
    pub untaken_max: Duration,
    /// What is being answered when the process stops may take this long.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            head_read_max: Duration::from_secs(10),
            untaken_max: Duration::from_secs(30),
            drain_max: Duration::from_secs(5),
        }
    }
}

/// # Errors
/// Where the address cannot be had; the error names it.
pub async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))
}

/// Serves until shutdown is requested and what was begun is answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: &Shutdown) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => {
                    tokio::spawn(connection(stream, router.clone(), limits, shutdown.clone(), slot));
                }
                // Told, not left waiting: whoever holds the slots may never let go.
                Err(_) => {
                    if let Ok(slot) = Arc::clone(&refusals).try_acquire_owned() {
                        tokio::spawn(refuse(stream, slot));
                    }
                }
            },
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                // Out of open files, most likely: connections that end give some back.
                warn!(%error, "a connection cannot be accepted");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if time::timeout(limits.drain_max, slots.acquire_many(all)).await.is_err() {
        warn!(open = limits.connections_max - slots.available_permits(), "connections are left unanswered");
    }
}

/// Refusals that are being written at once; beyond, connections are closed without a word.
const REFUSALS_MAX: usize = 64;
const REFUSAL_MAX: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What one connection may buffer; also the limit of a request's head.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
const REFUSAL: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n",
    "connection: close\r\ncontent-length: 158\r\n\r\n",
    r#"{"type":"/problems/unavailable","title":"Unavailable","status":503,"detail":"there are too many connections","#,
    r#""code":"unavailable","trace_id":null,"errors":[]}"#,
);

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    shutdown: Shutdown,
    _slot: OwnedSemaphorePermit,
) {
    // An answer is one write: waiting for more to send only delays it.
    let _ = stream.set_nodelay(true);
    // An answer that does not end waits for its reader in the kernel, which by itself tries for a quarter of an hour to reach
    // one that is gone, and for ever one that only stopped reading.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.untaken_max));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_read_max).max_buf_size(BUFFER_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Disconnects and time-outs are the peer's; nothing of ours went wrong.
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// Answers without reading a request, then takes what the peer still sends for a moment: closing with unread bytes
/// would reset the connection, and the answer would be lost with it.
async fn refuse(mut stream: TcpStream, _slot: OwnedSemaphorePermit) {
    let refusal = async {
        stream.write_all(REFUSAL.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0_u8; 1024];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = time::timeout(REFUSAL_MAX, refusal).await;
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_its_length() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
