//! A process that outlives the command which started it, and the certainty that a pid still means that process.
//!
//! Knows nothing about what it runs. A pid alone is never trusted: it is kept with the process's start time, so that
//! a number the kernel has given to somebody else since is neither shown as ours nor killed.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

pub(crate) const POLL: Duration = Duration::from_millis(50);
const LAST_WORDS_LINES: usize = 15;
/// How long the kernel may take to bury what was sent SIGKILL.
const BURIAL: Duration = Duration::from_secs(10);

/// A process that we had started and that has ended, as the kernel says.
#[derive(Clone, Debug)]
pub struct Death {
    pub pid: i32,
    pub log: PathBuf,
    /// Where its own part of the log begins.
    pub log_from: u64,
    pub status: ExitStatus,
    /// It did not stop when it was asked to, and was killed for it.
    pub is_forced: bool,
}

/// A parent alone hears how a process ended, so it is remembered here, for as long as we live.
static DEATHS: Mutex<Vec<Death>> = Mutex::new(Vec::new());
static FORCED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// The processes that this one has started and outlived, in the order in which they ended.
pub fn deaths() -> Vec<Death> {
    DEATHS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Since boot, in the kernel's clock ticks (`/proc/PID/stat`, field 22).
    started_ticks: u64,
}

impl Process {
    /// Starts it in a process group of its own (a Ctrl-C here does not reach it), writing to the end of `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Process> {
        let out = append_to(log)?;
        let log_from = out.metadata()?.len();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().to_string_lossy()))?;
        let pid = i32::try_from(child.id())?;
        let started_ticks = stat(pid).context("the process is gone before it was seen")?.started_ticks;
        let log = log.to_owned();
        // Reaped as long as we live (tests start and kill dozens); after that init does it.
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let is_forced = FORCED.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid);
                let death = Death { pid, log, log_from, status, is_forced };
                DEATHS.lock().unwrap_or_else(PoisonError::into_inner).push(death);
            }
        });
        Ok(Process { pid, started_ticks })
    }

    /// A zombie is dead: it answers nobody.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks && !stat.is_dead)
    }

    /// Asks with `signal`, waits up to `limit`, then kills. True where it went by itself.
    pub(crate) async fn stop(self, signal: Signal, limit: Duration) -> anyhow::Result<bool> {
        self.signal(signal)?;
        // A stopped (frozen) process would keep the first signal for later.
        self.signal(Signal::SIGCONT)?;
        if self.is_gone_within(limit).await {
            return Ok(true);
        }
        if signal != Signal::SIGKILL {
            FORCED.lock().unwrap_or_else(PoisonError::into_inner).push(self.pid);
        }
        self.signal(Signal::SIGKILL)?;
        if !self.is_gone_within(BURIAL).await {
            bail!("process {} does not even die of SIGKILL", self.pid);
        }
        Ok(false)
    }

    fn signal(self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("process {} cannot be sent {signal}", self.pid)),
        }
    }

    async fn is_gone_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }
}

/// Runs a command to its end, its output at the end of `log`; an error quotes what it said last.
pub(crate) async fn run_to_end(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let out = append_to(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
    let status = tokio::task::spawn_blocking(move || child.wait()).await??;
    if !status.success() {
        bail!("{program} failed ({status})\n{}", last_words(log));
    }
    Ok(())
}

/// The end of a log, indented, for an error message.
pub(crate) fn last_words(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_WORDS_LINES);
    let mut words = format!("the last lines of {}:", log.display());
    for line in &lines[from..] {
        words.push_str("\n    ");
        words.push_str(line);
    }
    words
}

struct Stat {
    is_dead: bool,
    started_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses and may itself hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.get(line.rfind(')')? + 1..)?.split_ascii_whitespace();
    let is_ended = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let started_ticks = fields.nth(1)?.parse().ok()?;
    // The first thread of a process that was killed can be a zombie while the last one still holds its ports.
    let is_dead = is_ended && threads <= 1;
    Some(Stat { is_dead, started_ticks })
}

fn append_to(log: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("{} cannot be written", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn sleeper(folder: &Path) -> Process {
        Process::spawn(Command::new("sleep").arg("600"), &folder.join("log")).unwrap()
    }

    #[tokio::test]
    async fn a_process_is_alive_until_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path());
        assert!(process.is_alive());
        assert!(process.stop(Signal::SIGTERM, LIMIT).await.unwrap());
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn how_a_process_ended_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process = Process::spawn(Command::new("sh").args(["-c", "exit 3"]), &log).unwrap();
        let deadline = Instant::now() + LIMIT;
        let ended = loop {
            if let Some(found) = deaths().into_iter().find(|ended| ended.log == log) {
                break found;
            }
            assert!(Instant::now() < deadline, "it never ended");
            sleep(POLL).await;
        };
        assert_eq!((ended.pid, ended.status.code()), (process.pid, Some(3)));
    }

    #[tokio::test]
    async fn a_frozen_process_is_stopped_too() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path());
        process.signal(Signal::SIGSTOP).unwrap();
        assert!(process.stop(Signal::SIGTERM, LIMIT).await.unwrap());
    }

    #[tokio::test]
    async fn one_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let process = Process::spawn(Command::new("sh").args(["-c", script]), &log).unwrap();
        let deadline = Instant::now() + LIMIT;
        while !last_words(&log).contains("ready") {
            assert!(Instant::now() < deadline, "it never began");
            sleep(POLL).await;
        }
        assert!(!process.stop(Signal::SIGTERM, Duration::from_millis(200)).await.unwrap());
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn a_pid_that_the_kernel_gave_to_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let other = sleeper(folder.path());
        let remembered = Process { pid: other.pid, started_ticks: other.started_ticks - 1 };
        assert!(!remembered.is_alive());
        remembered.stop(Signal::SIGKILL, Duration::from_secs(1)).await.unwrap();
        assert!(other.is_alive());
        other.stop(Signal::SIGKILL, Duration::from_secs(5)).await.unwrap();
    }

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.started_ticks, stat.is_dead), (4711, false));
    }

    #[test]
    fn a_process_is_dead_when_its_last_thread_is() {
        let stat = |state, threads| {
            let line = format!("7 (a) {state} 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 4711 0 0");
            parse_stat(&line).unwrap().is_dead
        };
        assert!(!stat("S", 1) && !stat("Z", 3) && stat("Z", 1));
    }

    #[tokio::test]
    async fn a_command_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error =
            run_to_end(Command::new("sh").args(["-c", "echo no room left; exit 3"]), &log).await.unwrap_err();
        assert!(error.to_string().contains("no room left"), "{error}");
    }
}
