//! A TCP proxy between the services and Postgres that delays, cuts, cuts once a statement is committed, and goes silent.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

const BUFFER_BYTES: usize = 64 * 1024;
/// A request with so many bytes is an append; the small ones only read.
const APPEND_BYTES_MIN: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mode {
    pub(crate) delay: Duration,
    /// Of so many appends the answer is lost with the connection, after the server has given it.
    pub(crate) answers_to_lose: u64,
    /// So many connections, the oldest ones, are cut.
    pub(crate) cut: u64,
    /// So many, the oldest ones, say nothing any more, and stay.
    pub(crate) silent: u64,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: Arc<watch::Sender<Mode>>,
    done: Arc<Done>,
    connections: Arc<AtomicU64>,
}

/// What was done, so often.
#[derive(Debug, Default)]
struct Done {
    /// Requests.
    delayed: AtomicU64,
    /// Connections.
    cut: AtomicU64,
    silenced: AtomicU64,
    /// Answers, after the server had given them.
    lost: AtomicU64,
}

impl Proxy {
    /// `to` is found out later: the server is started after the port of its proxy is known.
    pub(crate) async fn listen() -> (Self, watch::Sender<u16>) {
        // Below the range where outgoing connections take theirs.
        let mut ports = 21_000..32_000;
        let listener = loop {
            let port = ports.next().expect("a free port");
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                break listener;
            }
        };
        let port = listener.local_addr().expect("it is bound").port();
        let (to, server) = watch::channel(0);
        let mode = Arc::new(watch::Sender::new(Mode::default()));
        let done = Arc::new(Done::default());
        let connections = Arc::new(AtomicU64::new(0));
        let (modes, counts, accepted) = (Arc::clone(&mode), Arc::clone(&done), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
                let server = *server.borrow();
                let (modes, counts) = (Arc::clone(&modes), Arc::clone(&counts));
                tokio::spawn(async move {
                    // Where the server is away the client is cut off, as it would be.
                    if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await {
                        carry(number, client, server, &modes, &counts).await;
                    }
                });
            }
        });
        (Self { port, mode, done, connections }, to)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Mode)) {
        self.mode.send_modify(change);
    }

    /// So many there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Answers that were lost after the server had given them.
    pub(crate) fn lost(&self) -> u64 {
        self.done.lost.load(Ordering::Relaxed)
    }

    /// What was done, by name.
    pub(crate) fn done(&self) -> [(&'static str, u64); 4] {
        let Done { delayed, cut, silenced, lost } = &*self.done;
        let named = [
            ("requests delayed", delayed),
            ("connections cut", cut),
            ("connections silenced", silenced),
            ("answers lost after commit", lost),
        ];
        named.map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// Until one side closes, or this proxy cuts both. Errors are ends.
async fn carry(
    number: u64,
    mut client: TcpStream,
    mut server: TcpStream,
    mode: &watch::Sender<Mode>,
    done: &Done,
) {
    let mut changed = mode.subscribe();
    let (mut up, mut down) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let (mut asked, mut is_silent) = (0, false);
    loop {
        let now = *mode.borrow();
        if number <= now.cut {
            done.cut.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if number <= now.silent {
            done.silenced.fetch_add(u64::from(!is_silent), Ordering::Relaxed);
            is_silent = true;
            // What comes is taken and thrown away, so that nobody sees an error.
            tokio::select! {
                read = client.read(&mut up) => if read.unwrap_or(0) == 0 { return },
                _ = changed.changed() => {}
            }
            continue;
        }
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                asked = if asked == 0 { read } else { asked + read };
                if !now.delay.is_zero() {
                    done.delayed.fetch_add(1, Ordering::Relaxed);
                    sleep(now.delay).await;
                }
                if server.write_all(&up[..read]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                if asked >= APPEND_BYTES_MIN && take_one(mode) {
                    done.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                asked = 0;
                if !now.delay.is_zero() {
                    sleep(now.delay).await;
                }
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
            _ = changed.changed() => {}
        }
    }
}

fn take_one(mode: &watch::Sender<Mode>) -> bool {
    let mut taken = false;
    // Nobody is woken by it.
    mode.send_if_modified(|mode| {
        taken = mode.answers_to_lose > 0;
        mode.answers_to_lose -= u64::from(taken);
        false
    });
    taken
}
