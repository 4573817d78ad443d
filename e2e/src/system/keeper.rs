//! The process that stops the system when the tests are gone, also when they were killed: it waits for the end of a
//! pipe that only the test process holds. A test binary has no place to stop things in that it always passes.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio, id},
};

use anyhow::Context;

use super::programs;

/// Logs stay here when the folder goes; those of the last run only.
const LOGS: &str = "e2e-logs";

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
