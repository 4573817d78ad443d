//! What the processes of a system took of this machine, as the kernel counts it in `/proc`.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

use crate::dev::{ServerRole, Status};

/// The unit of times in `/proc/PID/stat`, the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: u64 = 1024;

/// CPU seconds since each process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The four services.
    pub app: f64,
    pub kafka: f64,
    /// With all its backends, those that are gone included.
    pub postgres: f64,
    /// The simulated provider, where it is a process of its own.
    pub provider: f64,
    /// This program.
    pub generator: f64,
}

impl Cpu {
    pub fn of(status: &Status) -> Self {
        let services = status.services.iter().filter_map(|service| service.pid);
        let servers = |is_broker: bool| {
            let servers =
                status.servers.iter().filter(move |server| (server.role == ServerRole::Broker) == is_broker);
            servers.filter_map(|server| server.pid)
        };
        Self {
            app: services.map(seconds).sum(),
            kafka: servers(true).map(seconds).sum(),
            postgres: servers(false).map(seconds_with_children).sum(),
            provider: status.provider_pid.map_or(0.0, seconds),
            generator: i32::try_from(std::process::id()).map_or(0.0, seconds),
        }
    }

    pub fn per(self, count: f64) -> Self {
        let each = |seconds: f64| seconds / count.max(1e-9);
        Self {
            app: each(self.app),
            kafka: each(self.kafka),
            postgres: each(self.postgres),
            provider: each(self.provider),
            generator: each(self.generator),
        }
    }

    /// What was used between an earlier look and this one.
    pub fn since(self, before: Self) -> Self {
        Self {
            app: self.app - before.app,
            kafka: self.kafka - before.kafka,
            postgres: self.postgres - before.postgres,
            provider: self.provider - before.provider,
            generator: self.generator - before.generator,
        }
    }
}

/// The most that the processes of each service had resident, in bytes, as often as somebody looked.
#[derive(Clone, Debug, Default)]
pub struct Resident {
    pub services: BTreeMap<String, u64>,
    /// Of all of them at one moment.
    pub together: u64,
}

impl Resident {
    pub fn look(&mut self, status: &Status) {
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        for service in &status.services {
            *now.entry(service.name.clone()).or_default() += service.pid.map_or(0, resident);
        }
        self.together = self.together.max(now.values().sum());
        for (name, bytes) in now {
            let most = self.services.entry(name).or_default();
            *most = (*most).max(bytes);
        }
    }
}

fn seconds_with_children(pid: i32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    seconds(pid) + children.map(seconds).sum::<f64>()
}

/// Its own time and that of the children which it has seen end. Zero where it is gone.
fn seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ticks(&stat).map_or(0.0, |ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// Fields 14 to 17: user and system, of itself and of children. The name in parentheses can hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let times = after_name.split_whitespace().skip(11).take(4);
    let times: Option<Vec<u64>> = times.map(|time| time.parse().ok()).collect();
    times.filter(|times| times.len() == 4).map(|times| times.into_iter().sum())
}

fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_times() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 5 0 9000 1 2";
        assert_eq!(ticks(stat), Some(110));
        assert_eq!(ticks("gone"), None);
    }

    #[test]
    fn this_process_has_memory_and_used_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(resident(pid) > 100 * KIB);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while seconds(pid) == 0.0 {
            assert!(std::time::Instant::now() < until, "no time was counted");
        }
        assert_eq!(resident(i32::MAX), 0);
    }
}
