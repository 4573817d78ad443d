//! Stopping everything, in the order that loses nothing: who writes first, what is written to last.

use std::{fs, path::Path};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{
    kafka, postgres,
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
        postgres::wipe(folder.path())?;
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
    let (kafka, postgres) = (state.kafka.process.take(), state.postgres.process.take());
    let stop_kafka = async {
        match kafka {
            Some(process) => kafka::stop(process, wipe).await,
            None => Ok(()),
        }
    };
    let stop_postgres = async {
        match postgres {
            Some(process) => postgres::stop(process, wipe).await,
            None => Ok(()),
        }
    };
    let (kafka, postgres) = tokio::join!(stop_kafka, stop_postgres);
    kafka.and(postgres)?;
    progress.done(if wipe { "stopped and removed" } else { "stopped" }, since);
    Ok(())
}
