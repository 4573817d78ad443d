//! Waiting until a process that was started does its work, and saying why when it does not.

use std::{path::Path, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::{
    process::{POLL, Process, last_words},
    progress::Progress,
};

/// Generous: a cold machine that compiles beside it takes ten times as long as a warm one.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Asks `probe` until it agrees. It answers what is still missing, for people to read.
pub(crate) async fn wait_until<P, F>(
    what: &str,
    process: Option<Process>,
    log: &Path,
    progress: &Progress,
    mut probe: P,
) -> anyhow::Result<()>
where
    P: FnMut() -> F,
    F: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + LIMIT;
    progress.waiting_for(what);
    loop {
        let Err(missing) = probe().await else { return Ok(()) };
        if !process.is_some_and(Process::is_alive) {
            bail!("{what} died while it started; {}", last_words(log));
        }
        if Instant::now() >= deadline {
            bail!("{what} is not ready after {} s: {missing}; {}", LIMIT.as_secs(), last_words(log));
        }
        progress.waiting_for(&format!("{what}: {missing}"));
        sleep(POLL).await;
    }
}
