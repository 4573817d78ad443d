//! Bringing a system up from whatever runs of it already.

use std::{collections::BTreeMap, path::PathBuf};

use futures_util::future::try_join_all;
use shared::broker::{
    BrokerSettings,
    topics::{TopicsError, ensure_topics},
};
use tokio::time::{Instant, sleep};

use super::{
    kafka,
    plan::plan,
    ports::Ports,
    postgres,
    process::{POLL, Process},
    progress::Progress,
    ready,
    services::{self, SERVICES},
    standby,
    state::{Folder, State},
    status::{self, Status},
};

/// Of each topic, on a machine that runs everything.
const PARTITIONS: i32 = 4;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub dir: PathBuf,
    /// Of each service; `None`: as many as last time, one at first.
    pub replicas: Option<u16>,
    pub ports: Ports,
    /// Three brokers and a standby instead of one of each. Chosen at the first start, and kept.
    pub cluster: bool,
    /// Kafka and Postgres alone, for the tests of the crates.
    pub servers_only: bool,
    /// The port at which services find Postgres, where something stands in between: a proxy that breaks connections.
    pub postgres_through: Option<u16>,
    /// For the services, beside what they get from us; added to what was given last time.
    pub environment: BTreeMap<String, String>,
    /// Lines on standard error.
    pub progress: bool,
}

/// Starts what does not run and returns when all of it is ready. What runs already is left alone.
///
/// # Errors
/// Says which process failed and the last lines of its log. What was started before it goes on running.
pub async fn up(options: &Options) -> anyhow::Result<Status> {
    let folder = Folder::open(&options.dir)?;
    let mut state = folder.load()?;
    state.environment.extend(options.environment.clone());
    if options.postgres_through.is_some() {
        state.postgres.through = options.postgres_through;
    }
    let _ports = plan(&mut state, options)?;
    folder.save(&state)?;
    let progress = Progress::new(options.progress);
    let mut started = start_servers(&mut state, &folder, &progress).await;
    if started.is_ok() && !options.servers_only {
        started = start_services(&mut state, options.replicas, &folder, &progress).await;
    }
    progress.finish();
    // Also after a failure: `down` must find what was started.
    folder.save(&state)?;
    started?;
    status::of(&state, folder.path()).await
}

async fn start_servers(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let State { kafka, postgres, standby, .. } = state;
    let start_postgres = async {
        if !lives(postgres.process) {
            postgres.process = Some(postgres::spawn(postgres, folder, progress).await?);
            postgres::wait_until_ready(postgres, folder, progress).await?;
        }
        if let Some(standby) = standby {
            if !lives(standby.process) {
                standby.process = Some(standby::spawn(standby, postgres, folder, progress).await?);
            }
            // Also of one that runs: whoever started it may not have come to where the primary waits for it.
            standby::wait_until_ready(standby, postgres, folder, progress).await?;
        }
        anyhow::Ok(())
    };
    // Both to their end, so that a failure of one leaves no process of the other that nobody knows.
    let (kafka, postgres) = tokio::join!(kafka::start(kafka, folder, progress), start_postgres);
    kafka.and(postgres)
}

async fn start_services(
    state: &mut State,
    replicas: Option<u16>,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    retire_beyond(state, replicas).await?;
    let since = Instant::now();
    // -1 is the broker's default.
    let replication = kafka::replication(&state.kafka).unwrap_or(-1);
    let broker = BrokerSettings::new(&state.kafka.bootstrap);
    // A broker that has just been started may answer late, or not have found the others yet.
    while let Err(error) = ensure_topics(&broker, PARTITIONS, replication).await {
        let passes = matches!(error, TopicsError::Unreachable { .. } | TopicsError::Refused { .. });
        let runs = state.kafka.nodes.iter().all(|node| lives(node.process));
        if !passes || !runs || since.elapsed() >= ready::LIMIT {
            return Err(error.into());
        }
        progress.waiting_for(&format!("the topics: {error}"));
        sleep(POLL).await;
    }
    progress.done("topics", since);
    start_provider(state, folder, progress).await?;
    let since = Instant::now();
    progress.waiting_for("the migrations");
    postgres::make_databases(&state.postgres).await?;
    try_join_all(SERVICES.iter().map(|service| services::migrate(service, state, folder))).await?;
    progress.done("databases up to date", since);
    for position in 0..state.services.len() {
        if !lives(state.services[position].process) {
            let process = services::spawn(&state.services[position], state, folder)?;
            state.services[position].process = Some(process);
        }
    }
    folder.save(state)?;
    let waiting = state.services.iter().map(|service| services::wait_until_ready(service, folder, progress));
    try_join_all(waiting).await?;
    Ok(())
}

/// Where fewer are asked for than there were, the last ones go.
async fn retire_beyond(state: &mut State, replicas: Option<u16>) -> anyhow::Result<()> {
    let Some(replicas) = replicas else { return Ok(()) };
    for service in state.services.iter().filter(|service| service.replica >= replicas) {
        if let Some(process) = service.process {
            services::stop(process).await?;
        }
    }
    state.services.retain(|service| service.replica < replicas);
    Ok(())
}

pub(crate) async fn start_provider(
    state: &mut State,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let environment = state.environment.clone();
    if let Some(provider) = state.provider.as_mut()
        && !lives(provider.process)
    {
        provider.process = Some(services::spawn_provider(provider, &environment, folder)?);
        services::wait_for_provider(provider, folder, progress).await?;
    }
    Ok(())
}

fn lives(process: Option<Process>) -> bool {
    process.is_some_and(Process::is_alive)
}
