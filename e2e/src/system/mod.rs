//! One whole system for all the tests of a binary: Kafka, Postgres, the provider and the four services, as processes
//! of their own on free ports, or the one that `FULFIL_SYSTEM` names. Spoken to over topics, HTTP and the CLI; what must
//! hold of the databases at the end is read from them.
//!
//! Tests that disturb nobody share it; one that kills, freezes or restores has it alone, or another one like it, so that
//! two such tests run at once. One that starts a system of its own, such as whoever
//! says how long a recovery takes, has no other at work beside it.

mod keeper;
mod seen;
mod speak;
mod harm;
mod until;
mod letter;
mod terminal;
mod check;
mod failpoint;
mod mix;
mod load;
mod loading;
mod accounted;
mod memory;
mod clock;
mod disks;
mod recovery;

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::ChildStdin, sync::Arc, thread};

use anyhow::Context;
use cli::dev::{self, Options, Ports, ServiceStatus, Status};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use shared::broker::BrokerSettings;
use tokio::sync::{Mutex, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

pub use clock::OffClock;
pub use disks::Disks;
pub use failpoint::Armed;
pub use load::{Edge, Journal, Load, Wave, planted_letters};
pub use loading::Loading;
pub use mix::Mix;
pub use recovery::Recovery;
pub use seen::{Seen, Told};
pub use speak::{Answer, Order, record, structured};
pub use terminal::programs;
pub use until::until;

/// A file with the object of `fulfil dev status --json`: the system to use, started and stopped by somebody else.
pub const SYSTEM_VARIABLE: &str = "FULFIL_SYSTEM";

/// A system, for as long as a test runs.
pub struct System {
    pub status: Status,
    pub broker: BrokerSettings,
    pub seen: Arc<Seen>,
    http: reqwest::Client,
    /// `None` where it is not ours to stop and start.
    dir: Option<PathBuf>,
    _turn: Turn,
    /// Of a system that one test has started for itself: it ends with the test.
    _keeper: Option<ChildStdin>,
}

/// Held for as long as a test runs.
enum Turn {
    Shared {
        _machine: RwLockReadGuard<'static, ()>,
        _system: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _machine: RwLockReadGuard<'static, ()>,
        _system: RwLockWriteGuard<'static, ()>,
    },
    /// A system of its own, and no other at work.
    Machine {
        _machine: RwLockWriteGuard<'static, ()>,
    },
}

/// A system that tests take in turn.
struct Slot {
    name: &'static str,
    /// A start that failed is not tried again by every test.
    started: OnceCell<Result<Started, String>>,
    turn: RwLock<()>,
}

struct Started {
    dir: Option<PathBuf>,
    status: Status,
    seen: Arc<Seen>,
    /// Open until this process ends, however it ends: then the keeper stops the system.
    _keeper: Option<ChildStdin>,
}

/// The first is the one that tests share.
static SYSTEMS: [Slot; 2] = [Slot::new(""), Slot::new("-2")];
/// Held by everybody who has a system at work, and alone by whoever has one of its own.
static MACHINE: RwLock<()> = RwLock::const_new(());
/// Two at once would start eight services and two brokers on the processors of the tests that run beside them.
static STARTING: Mutex<()> = Mutex::const_new(());

impl Slot {
    const fn new(name: &'static str) -> Self {
        Self { name, started: OnceCell::const_new(), turn: RwLock::const_new(()) }
    }
}

impl System {
    /// Beside other tests.
    pub async fn shared() -> Self {
        let machine = MACHINE.read().await;
        let [slot, _] = &SYSTEMS;
        Self::take(slot, Turn::Shared { _machine: machine, _system: slot.turn.read().await }).await
    }

    /// With no other test at work in it.
    pub async fn alone() -> Self {
        let machine = MACHINE.read().await;
        let [first, second] = &SYSTEMS;
        let (slot, system) = if env::var_os(SYSTEM_VARIABLE).is_some() {
            (first, first.turn.write().await)
        } else {
            // Whichever is free sooner.
            tokio::select! {
                biased;
                turn = second.turn.write() => (second, turn),
                turn = first.turn.write() => (first, turn),
            }
        };
        Self::take(slot, Turn::Alone { _machine: machine, _system: system }).await
    }

    /// The same, to kill, freeze and restore in. `None` where the system is not ours; the test is then skipped.
    pub async fn to_harm() -> Option<Self> {
        if env::var_os(SYSTEM_VARIABLE).is_some() {
            eprintln!(
                "skipped: it stops and starts processes, and {SYSTEM_VARIABLE} is somebody else's system"
            );
            return None;
        }
        Some(Self::alone().await)
    }

    /// One that is started for this test alone, its services with settings of their own. `name` begins with a hyphen
    /// and is part of its folder's name. `None` where the system under test is somebody else's.
    pub async fn of_its_own(name: &str, environment: BTreeMap<String, String>) -> Option<Self> {
        Self::begin(name, Options { environment, ..Options::default() }, true, async |_| Ok(())).await
    }

    /// The same for millions of messages: nobody keeps them in memory, so `seen` stays empty.
    pub async fn unwatched(name: &str, environment: BTreeMap<String, String>) -> Option<Self> {
        Self::begin(name, Options { environment, ..Options::default() }, false, async |_| Ok(())).await
    }

    /// The same with three brokers, a primary with a standby, and so many of each service.
    pub async fn of_a_cluster(name: &str, replicas: u16) -> Option<Self> {
        let options = Options { cluster: true, replicas: Some(replicas), ..Options::default() };
        Self::begin(name, options, true, async |_| Ok(())).await
    }

    /// As `of_its_own`, with a proxy that stands between the services and Postgres and is told where Postgres is.
    pub async fn behind(proxy: u16, name: &str, server: &watch::Sender<u16>) -> Option<Self> {
        let options = Options { postgres_through: Some(proxy), ..Options::default() };
        Self::begin(name, options, true, async |options| {
            let servers = dev::up(&Options { servers_only: true, ..options.clone() }).await?;
            let port = servers.postgres.rsplit(':').next().and_then(|port| port.parse().ok());
            server.send_replace(port.context("Postgres has no port")?);
            Ok(())
        })
        .await
    }

    /// The same with each server's data on a disk of its own, so small that a test can fill it.
    pub async fn on_small_disks(name: &str, mib: u64) -> Option<(Self, Disks)> {
        let disks = Disks::mounted(&keeper::folder(name), mib);
        let system = Self::of_its_own(name, BTreeMap::new()).await?;
        Some((system, disks))
    }

    async fn begin(
        name: &str,
        mut options: Options,
        watched: bool,
        first: impl AsyncFn(&Options) -> anyhow::Result<()>,
    ) -> Option<Self> {
        if env::var_os(SYSTEM_VARIABLE).is_some() {
            eprintln!("skipped: it needs a system of its own, and {SYSTEM_VARIABLE} is somebody else's");
            return None;
        }
        let turn = Turn::Machine { _machine: MACHINE.write().await };
        options.dir = keeper::folder(name);
        options.ports = Ports::Auto;
        let begun = async || {
            let keeper = keeper::watch(&options.dir, name)?;
            first(&options).await?;
            let _starting = STARTING.lock().await;
            let status = dev::up(&options).await?;
            let seen = match watched {
                true => Seen::follow(BrokerSettings::new(status.kafka.clone()))?,
                false => Arc::default(),
            };
            anyhow::Ok((keeper, status, seen))
        };
        let (keeper, status, seen) =
            begun().await.unwrap_or_else(|error| panic!("the system did not start: {error:#}"));
        Some(Self {
            broker: BrokerSettings::new(status.kafka.clone()),
            status,
            seen,
            http: client(),
            dir: Some(options.dir),
            _turn: turn,
            _keeper: Some(keeper),
        })
    }

    async fn take(slot: &Slot, turn: Turn) -> Self {
        let start = async || start(slot.name).await.map_err(|error| format!("{error:#}"));
        let started = slot.started.get_or_init(start).await;
        let started = match started {
            Ok(started) => started,
            Err(error) => panic!("the system did not start: {error}"),
        };
        let mut system = Self {
            status: started.status.clone(),
            broker: BrokerSettings::new(started.status.kafka.clone()),
            seen: Arc::clone(&started.seen),
            http: client(),
            dir: started.dir.clone(),
            _turn: turn,
            _keeper: None,
        };
        if let (Turn::Alone { .. }, Some(_)) = (&system._turn, &system.dir) {
            system.mend().await;
        }
        system
    }

    /// What is frozen goes on.
    pub fn wake_all(&self) {
        let services = self.status.services.iter().filter_map(|service| service.pid);
        for pid in services.chain(self.status.provider_pid) {
            // Gone by now is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }

    pub fn service(&self, name: &str) -> &ServiceStatus {
        let found = self.status.service(name, 0);
        found.unwrap_or_else(|| panic!("there is no {name} in this system"))
    }

    pub fn provider(&self) -> &str {
        self.status.provider.as_deref().unwrap_or_else(|| panic!("there is no provider in this system"))
    }
}

/// A test that fails leaves nothing frozen, and keeps what was said.
impl Drop for System {
    fn drop(&mut self) {
        if !matches!(self._turn, Turn::Shared { .. }) {
            self.wake_all();
        }
        if let Some(dir) = self.dir.as_ref().filter(|_| thread::panicking()) {
            keeper::keep_logs(dir);
        }
    }
}

async fn start(name: &str) -> anyhow::Result<Started> {
    let (dir, keeper, status) = match env::var_os(SYSTEM_VARIABLE) {
        Some(file) => {
            let text = fs::read(&file).with_context(|| format!("{}", file.display()))?;
            (None, None, serde_json::from_slice::<Status>(&text)?)
        }
        None => {
            let dir = keeper::folder(name);
            let keeper = keeper::watch(&dir, name)?;
            let _starting = STARTING.lock().await;
            let options = Options { dir: dir.clone(), ports: Ports::Auto, ..Options::default() };
            let status = dev::up(&options).await?;
            (Some(dir), Some(keeper), status)
        }
    };
    let seen = Seen::follow(BrokerSettings::new(status.kafka.clone()))?;
    Ok(Started { dir, status, seen, _keeper: keeper })
}

fn client() -> reqwest::Client {
    // One a test: its connections belong to the test's runtime.
    // Nothing is kept open: whoever was on the other end may have been killed since.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let client = client.timeout(std::time::Duration::from_secs(30)).build();
    client.unwrap_or_else(|error| panic!("no HTTP client: {error}"))
}
