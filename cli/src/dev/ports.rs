//! Which ports of 127.0.0.1 the servers get.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use rand::Rng;

/// Above 32767 is where the kernel takes outgoing connections' ports from: a server there can lose its port to one
/// between two starts. Well below, other software has its habits.
const RANGE: std::ops::Range<u16> = 20_000..32_768;
const TRIES: usize = 500;
/// A process that is started while a port is held has it too, from its fork until it runs its own program.
const LET_GO: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ports {
    /// The documented ones: 8080 to 8083 and so on.
    #[default]
    Fixed,
    /// Any that are free, chosen once and kept over `down` and `up`.
    Auto,
}

/// Gives out ports that can be listened on, each only once on this machine until it is dropped: to be kept until the
/// last server listens.
#[derive(Debug, Default)]
pub(crate) struct FreePorts {
    /// A name of the kernel's for each port, which goes with the process: the port itself cannot be held, since its
    /// server shall have it, and another system that starts meanwhile would find it free.
    held: Vec<UnixListener>,
}

impl FreePorts {
    /// False where somebody has it, or is about to.
    pub(crate) fn reserve(&mut self, port: u16) -> bool {
        let name = SocketAddr::from_abstract_name(format!("fulfil-port-{port}"));
        let Ok(held) = name.and_then(|name| UnixListener::bind_addr(&name)) else { return false };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return false;
        }
        self.held.push(held);
        true
    }

    /// Waits for somebody who is about to let it go.
    pub(crate) fn reserve_soon(&mut self, port: u16) -> bool {
        let end = Instant::now() + LET_GO;
        while !self.reserve(port) {
            if Instant::now() > end {
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
        true
    }

    pub(crate) fn any(&mut self) -> anyhow::Result<u16> {
        for _ in 0..TRIES {
            let port = rand::rng().random_range(RANGE);
            if self.reserve(port) {
                return Ok(port);
            }
        }
        bail!("no free port between {} and {} in {TRIES} tries", RANGE.start, RANGE.end)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// For a test that listens: between two choices of ports another could take them.
    pub(in super::super) fn alone() -> MutexGuard<'static, ()> {
        static LISTENING: Mutex<()> = Mutex::new(());
        LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a server would. A process that another test starts can have the port of a moment before.
    pub(in super::super) fn listen(port: u16) -> TcpListener {
        let end = Instant::now() + LET_GO;
        loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Err(taken) if Instant::now() > end => panic!("port {port}: {taken}"),
                Err(_) => thread::sleep(LOOK_AGAIN),
                Ok(listening) => return listening,
            }
        }
    }

    #[test]
    fn a_port_that_is_let_go_in_a_moment_is_waited_for() {
        let _alone = alone();
        let mut free = FreePorts::default();
        let port = free.any().unwrap();
        assert!(!FreePorts::default().reserve(port));
        let letting_go = thread::spawn(move || {
            thread::sleep(LET_GO / 10);
            drop(free);
        });
        assert!(FreePorts::default().reserve_soon(port));
        letting_go.join().unwrap();
    }

    #[test]
    fn ports_are_given_out_once_and_out_of_the_way_of_outgoing_connections() {
        let _alone = alone();
        let mut free = FreePorts::default();
        let mut ports: Vec<u16> = (0..40).map(|_| free.any().unwrap()).collect();
        assert!(ports.iter().all(|port| *port < 32_768));
        assert!(ports.iter().all(|port| !free.reserve(*port)), "held until the last server listens");
        assert!(ports.iter().all(|port| !FreePorts::default().reserve(*port)), "also from another system");
        ports.iter().for_each(|port| drop(listen(*port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 40);
    }
}
