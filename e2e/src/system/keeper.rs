//! The process that stops the system when the tests are gone, also when they were killed: it waits for the end of a
//! pipe that only the test process holds. A test binary has no place to stop things in that it always passes.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio, id},
    thread,
};

use anyhow::Context;

use super::programs;

/// Logs stay here when the folder goes; those of the last run only.
const LOGS: &str = "e2e-logs";
/// As they were when a test failed, by its name, until it fails again.
const LOGS_OF_FAILED: &str = "e2e-logs-failed";

/// Below the test servers' folder where there is one, so that whoever stops those can see that this is gone.
pub(super) fn folder(name: &str) -> PathBuf {
    let beside = env::var_os(shared::testing::SERVERS_VARIABLE).map(PathBuf::from);
    beside.unwrap_or_else(env::temp_dir).join(format!("e2e-{}{name}", id()))
}

pub(super) fn watch(folder: &Path, name: &str) -> anyhow::Result<ChildStdin> {
    let programs = programs();
    let script = "cat >/dev/null; rm -rf \"$3\"; cp -r \"$2/logs\" \"$3\"; \"$1\" dev down --wipe --dir \"$2\"; rm -rf \"$2\"";
    let mut keeper = Command::new("sh");
    keeper
        .args(["-c", script, "keeper"])
        .arg(programs.join("fulfil"))
        .arg(folder)
        .arg(programs.join(format!("{LOGS}{name}")));
    // In a group of its own: a Ctrl-C for the tests must not end it before them.
    let spawned =
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    let mut child = spawned.context("the keeper of the system could not be started")?;
    child.stdin.take().context("the keeper has no pipe")
}

/// Called by the thread of a test that fails: the system goes on with the next one, and so do its logs.
pub(super) fn keep_logs(folder: &Path) {
    let test = thread::current().name().unwrap_or("unnamed").replace("::", ".");
    let kept = programs().join(LOGS_OF_FAILED).join(test);
    let script = "rm -rf \"$2\"; mkdir -p \"$2\" && cp -r \"$1/logs/.\" \"$2\"";
    let status = Command::new("sh").args(["-c", script, "keep"]).arg(folder).arg(&kept).status();
    match status.map(|status| status.success()) {
        Ok(true) => eprintln!("the logs of its system: {}", kept.display()),
        _ => eprintln!("the logs of its system could not be kept in {}", kept.display()),
    }
}
