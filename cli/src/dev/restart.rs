//! One process again: stopped if it runs, started either way.

use std::path::Path;

use anyhow::{Context, bail};

use super::{
    kafka, postgres,
    progress::Progress,
    services,
    state::{Folder, State},
    status::{self, Status},
    up::start_provider,
};

/// `name` is a service, `provider`, `kafka` or `postgres`; `replica` counts for services only.
///
/// # Errors
/// As `up`. Where the new process fails, the old one is gone.
pub async fn restart(dir: &Path, name: &str, replica: u16, progress: bool) -> anyhow::Result<Status> {
    let folder = Folder::open(dir)?;
    let mut state = folder.load()?;
    let progress = Progress::new(progress);
    let restarted = match name {
        "kafka" => restart_kafka(&mut state, &folder, &progress).await,
        "postgres" => restart_postgres(&mut state, &folder, &progress).await,
        "provider" => restart_provider(&mut state, &folder, &progress).await,
        service => restart_service(&mut state, service, replica, &folder, &progress).await,
    };
    progress.finish();
    folder.save(&state)?;
    restarted?;
    status::of(&state, folder.path()).await
}

async fn restart_kafka(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    if let Some(process) = state.kafka.process.take() {
        kafka::stop(process, false).await?;
    }
    state.kafka.process = Some(kafka::spawn(&state.kafka, folder, progress).await?);
    kafka::wait_until_ready(&state.kafka, folder, progress).await
}

async fn restart_postgres(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    if let Some(process) = state.postgres.process.take() {
        postgres::stop(process, false).await?;
    }
    state.postgres.process = Some(postgres::spawn(&state.postgres, folder, progress).await?);
    postgres::wait_until_ready(&state.postgres, folder, progress).await
}

async fn restart_provider(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let provider = state.provider.as_mut().context("no payment provider was ever started in this folder")?;
    if let Some(process) = provider.process.take() {
        services::stop(process).await?;
    }
    start_provider(state, folder, progress).await
}

async fn restart_service(
    state: &mut State,
    name: &str,
    replica: u16,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let position = state.services.iter().position(|known| known.name == name && known.replica == replica);
    let Some(position) = position else {
        bail!(
            "there is no {name} (replica {replica}) in {}: fulfil dev status lists what is",
            folder.path().display()
        );
    };
    if let Some(process) = state.services[position].process.take() {
        services::stop(process).await?;
    }
    let process = services::spawn(&state.services[position], state, folder)?;
    state.services[position].process = Some(process);
    services::wait_until_ready(&state.services[position], folder, progress).await
}
