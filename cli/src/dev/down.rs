//! Stopping everything, in the order that loses nothing: who writes first, what is written to last.

use std::{fs, path::Path};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{
    kafka, owner, postgres,
    progress::Progress,
    services,
    state::{Folder, State},
};

/// False where nothing was ever started there. With `wipe` the folder is gone afterwards, data and all.
pub async fn down(dir: &Path, wipe: bool, progress: bool) -> anyhow::Result<bool> {
    let Some(folder) = Folder::open_known(dir)? else { return Ok(false) };
    let mut state = folder.load()?;
    let progress = Progress::new(progress);
    let stopped = stop_all(&mut state, wipe, &progress).await;
    progress.finish();
    folder.save(&state)?;
    stopped?;
    if wipe {
        for server in [&state.postgres].into_iter().chain(&state.standby) {
            owner::wipe(&folder.path().join(&server.name))?;
        }
        fs::remove_dir_all(folder.path())?;
    }
    Ok(true)
}

async fn stop_all(state: &mut State, wipe: bool, progress: &Progress) -> anyhow::Result<()> {
    let since = Instant::now();
    progress.waiting_for("the services to stop");
    let running = state.services.iter_mut().filter_map(|service| service.process.take());
    let provider = state.provider.as_mut().and_then(|provider| provider.process.take());
    try_join_all(running.map(services::stop)).await?;
    if let Some(process) = provider {
        services::stop(process).await?;
    }
    progress.waiting_for("Kafka and Postgres to stop");
    let is_cluster = kafka::is_cluster(&state.kafka);
    let brokers: Vec<_> = state.kafka.nodes.iter_mut().filter_map(|node| node.process.take()).collect();
    let stop_kafka = try_join_all(brokers.into_iter().map(|process| kafka::stop(process, is_cluster, wipe)));
    // The primary first: it sends its last words to the standby.
    let servers =
        [state.postgres.process.take(), state.standby.as_mut().and_then(|standby| standby.process.take())];
    let stop_postgres = async {
        for process in servers.into_iter().flatten() {
            postgres::stop(process, wipe).await?;
        }
        anyhow::Ok(())
    };
    let (kafka, postgres) = tokio::join!(stop_kafka, stop_postgres);
    kafka?;
    postgres?;
    progress.done(if wipe { "stopped and removed" } else { "stopped" }, since);
    Ok(())
}
