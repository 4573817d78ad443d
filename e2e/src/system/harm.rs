//! Killing, freezing and starting again, for a test that has the system alone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use cli::dev::{self, ServerRole, Status};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use tokio::{task::JoinHandle, time::sleep};

use super::{System, until};

const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

impl System {
    pub(super) fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or_else(|| panic!("this system is not ours to stop and start"))
    }

    pub async fn refresh(&mut self) -> &Status {
        let status = dev::status(self.dir()).await;
        match status {
            Ok(Some(status)) => self.status = status,
            Ok(None) => panic!("the system's folder is gone"),
            Err(error) => panic!("{error:#}"),
        }
        &self.status
    }

    /// The process of a service; it must run.
    pub fn pid(&self, name: &str, replica: u16) -> i32 {
        let service = self.status.service(name, replica);
        let pid = service.and_then(|service| service.pid);
        pid.unwrap_or_else(|| panic!("{name} (replica {replica}) does not run"))
    }

    /// The process of a broker or a Postgres server; it must run.
    pub fn server_pid(&self, name: &str) -> i32 {
        let pid = self.status.server(name).and_then(|server| server.pid);
        pid.unwrap_or_else(|| panic!("{name} does not run"))
    }

    pub fn signal(&self, pid: i32, signal: Signal) {
        kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("process {pid}, {signal}: {error}"));
    }

    /// As `kill -9`, and then `fulfil dev restart`. Returns when it is ready again.
    pub async fn kill_and_restart(&mut self, name: &str) {
        self.signal(self.pid(name, 0), Signal::SIGKILL);
        self.restart(name).await;
    }

    pub async fn restart(&mut self, name: &str) {
        self.restart_replica(name, 0).await;
    }

    pub async fn restart_replica(&mut self, name: &str, replica: u16) {
        let restarted = dev::restart(self.dir(), name, replica, None, false).await;
        self.status = restarted.unwrap_or_else(|error| panic!("{name} did not come back: {error:#}"));
    }

    /// As `restart`, of a service for which something must be done before it is ready.
    pub fn restarting(&self, name: &str) -> JoinHandle<()> {
        let (dir, name) = (self.dir().to_owned(), name.to_owned());
        tokio::spawn(async move {
            let restarted = dev::restart(&dir, &name, 0, None, false).await;
            restarted.unwrap_or_else(|error| panic!("{name} did not come back: {error:#}"));
        })
    }

    /// Every service that does not run, as whoever runs it would.
    pub async fn restart_dead(&mut self) {
        let services = self.refresh().await.services.iter();
        let dead = services.filter(|service| service.pid.is_none());
        let dead: Vec<(String, u16)> = dead.map(|service| (service.name.clone(), service.replica)).collect();
        for (service, replica) in dead {
            self.restart_replica(&service, replica).await;
        }
    }

    /// As `fulfil dev restart --programs`: stopped in good order, and another build of it started.
    pub async fn replace(&mut self, name: &str, replica: u16, programs: &Path) {
        let restarted = dev::restart(self.dir(), name, replica, Some(programs), false).await;
        self.status = restarted.unwrap_or_else(|error| panic!("{name} did not come back: {error:#}"));
    }

    /// As `kill -9` of the primary, and then `fulfil dev promote`. Returns when the standby takes writes, and when it was
    /// killed.
    pub async fn fail_over(&mut self) -> Instant {
        let primary = self.status.servers.iter().find(|server| server.role == ServerRole::Primary);
        let pid = primary.and_then(|server| server.pid).unwrap_or_else(|| panic!("no primary runs"));
        self.signal(pid, Signal::SIGKILL);
        let killed = Instant::now();
        while self.refresh().await.postgres_pid.is_some() {
            assert!(killed.elapsed() < STOP_LIMIT, "the primary does not die");
            sleep(POLL).await;
        }
        self.promote().await.unwrap_or_else(|error| panic!("nobody took over: {error:#}"));
        killed
    }

    pub async fn promote(&mut self) -> anyhow::Result<()> {
        self.status = dev::promote(self.dir(), false).await?;
        Ok(())
    }

    /// Stopped in good order, and not started again.
    pub async fn stop(&mut self, name: &str) {
        self.terminate(name, 0).await;
        self.refresh().await;
    }

    /// As `kill`: in good order, with exit code 0. How long that took.
    pub async fn terminate(&self, name: &str, replica: u16) -> Duration {
        let (pid, begun) = (self.pid(name, replica), Instant::now());
        self.signal(pid, Signal::SIGTERM);
        let ended = async || dev::deaths().into_iter().rfind(|ended| ended.pid == pid);
        let ended = until(&format!("{name} (replica {replica}) to stop"), STOP_LIMIT, ended).await;
        assert!(ended.status.success(), "{name} (replica {replica}) ended with {}", ended.status);
        begun.elapsed()
    }

    pub async fn scale(&mut self, replicas: u16) {
        let options = dev::Options {
            dir: self.dir().to_owned(),
            replicas: Some(replicas),
            ports: dev::Ports::Auto,
            ..dev::Options::default()
        };
        let scaled = dev::up(&options).await.context("scaling");
        self.status = scaled.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// What a test that failed left frozen, dead or too many.
    pub(super) async fn mend(&mut self) {
        self.refresh().await;
        for pid in self.status.services.iter().filter_map(|service| service.pid) {
            self.signal(pid, Signal::SIGCONT);
        }
        let whole = self.status.services.iter().all(|service| service.pid.is_some() && service.replica == 0);
        if !whole {
            self.scale(1).await;
        }
    }
}
