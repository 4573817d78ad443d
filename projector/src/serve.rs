//! The process from its settings to its end: what is checked and started in which order, and what is stopped first.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use shared::{
    broker::BrokerSettings,
    config::{self, Process, Settings, duration},
    consumer::{Consumer, ConsumerSettings, console},
    contract::Timestamp,
    failpoint,
    http::{self, Readiness},
    log::connect::Unfit,
    process::{self, CONSUMER_STOP, DATABASE, KAFKA, PARTITIONS, RELAY_STOP, wait_for_servers},
    relay::{self, RelaySettings},
    shutdown,
    telemetry::Metrics,
};
use tracing::info;

use crate::{
    commands::Commands,
    consumers::{AdminAddr, Consumers},
    drift::{self, Drift},
    http::{App, Projections, routes},
    intake::{GROUP, READS},
    project::{self, Projection, Store, gathered::BATCH_MAX, lag::Lag},
    read_model::{reads::Reads, schema},
    rebuild::{self, Rebuild},
    view::awaiting::Limits,
    watch,
};

const PROCESS: Process = Process {
    name: GROUP,
    about: "Folds the topics into the view and answers questions about it",
    http_addr: "127.0.0.1:8080",
    admin_addr: "127.0.0.1:9080",
};

#[derive(Debug, Clone, Args)]
struct Extra {
    /// From confirmed to completed: past it the order is shown as overdue. The same as order-service's
    #[arg(long, env = "COMPLETION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    completion_limit: Duration,

    /// From cancelled to settled: past it the order is shown as overdue. The same as order-service's
    #[arg(long, env = "COMPENSATION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    compensation_limit: Duration,

    /// Messages a second that are read again to compare the view with the topics; 0: it is not compared
    #[arg(long, env = "DRIFT_RATE", default_value_t = 200, help_heading = "Limits")]
    drift_rate: u32,
    /// Admin ports of the services, http://HOST:PORT, separated by commas: what their loops say is shown with the consumers
    #[arg(long, env = "SERVICE_ADMIN_URLS", value_delimiter = ',', help_heading = "What is shown")]
    service_admin_urls: Vec<AdminAddr>,
}

/// The whole of the process's `main`.
pub fn main() -> ExitCode {
    process::main(&PROCESS, |extra: &Extra| Ok(extra.clone()), schema::migrate, serve)
}

async fn serve(extra: Extra, settings: Settings) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal(settings.shutdown_timeout).context("handling signals")?;
    let broker = BrokerSettings::new(&settings.kafka_bootstrap_servers)
        .with_environment(settings.kafka_config.clone())?;
    let metrics = Metrics::new(GROUP, config::BUILD);
    let readiness = Readiness::new(&[DATABASE, KAFKA, PARTITIONS]);
    // The ports are taken before anything is waited for, so that a second copy is told at once.
    let admin = http::bind(settings.admin_addr).await?;
    let listener = http::bind(settings.http_addr).await?;
    let (console, operator) = console();
    let admin_routes = http::admin::routes(
        GROUP,
        config::BUILD,
        readiness.clone(),
        metrics.clone(),
        console,
        &schema::inside(&settings.database_url, schema::SERVED),
    );
    let admin_shutdown = shutdown.clone();
    tokio::spawn(async move { http::serve(admin, admin_routes, Default::default(), &admin_shutdown).await });
    tokio::select! {
        started = wait_for_servers(&broker, &readiness, async || check_database(&settings.database_url).await) => drop(started?),
        () = shutdown.requested() => return Ok(()),
    }

    let lag = Lag::new(Timestamp::from(std::time::SystemTime::now()));
    let relay = relay::start(
        RelaySettings {
            service: GROUP.to_owned(),
            database_url: settings.database_url.clone(),
            broker: broker.clone(),
            // The projector writes no event; its dead letters leave like everybody's.
            topics: Vec::new(),
        },
        metrics.clone(),
    );
    let store =
        Store::new(settings.database_url.clone(), schema::SERVED, readiness.clone(), shutdown.clone());
    let projection = Projection::new(store, settings.fulfil_mode, lag.clone(), metrics.clone());
    // Also where the loop ends by itself: a process that cannot go on must not stay and answer.
    let (stop_api, api_shutdown) = shutdown::manual();
    let app = App {
        reads: Reads::new(&settings.database_url),
        waiters: projection.waiters.clone(),
        lag: lag.clone(),
        limits: Limits { completion: extra.completion_limit, compensation: extra.compensation_limit },
        commands: Commands::new(&broker)?,
        mode: settings.fulfil_mode,
        projections: Projections::new(&settings.database_url, &broker),
        bulk: Default::default(),
        live: projection.live.clone(),
        shutdown: api_shutdown.clone(),
        consumers: Consumers::new(&broker, &extra.service_admin_urls),
        overviews: Default::default(),
    };
    let api = http::finish(routes(app.clone()), &metrics);
    let served =
        tokio::spawn(async move { http::serve(listener, api, Default::default(), &api_shutdown).await });
    let (seen, stopped) = (metrics.clone(), shutdown.clone());
    tokio::spawn(watch::process(lag.clone(), relay.handle(), seen, readiness.clone(), stopped));
    tokio::spawn(watch::orders(app.reads.clone(), app.limits, metrics.clone(), shutdown.clone()));

    let (consumer, heard) = Consumer::start(ConsumerSettings {
        client: broker.consumer(GROUP, &settings.instance_id),
        topics: READS.to_vec(),
        begins: Vec::new(),
        messages_max: BATCH_MAX * 2,
    })?;
    info!(http = %settings.http_addr, admin = %settings.admin_addr, "serving");
    let outbox = relay.handle();
    let wake_relay = || outbox.wake_letters();
    let second = Rebuild {
        database_url: settings.database_url.clone(),
        broker: broker.clone(),
        mode: settings.fulfil_mode,
        lag,
    };
    let drift = Drift {
        database_url: settings.database_url.clone(),
        broker: broker.clone(),
        mode: settings.fulfil_mode,
        lag: second.lag.clone(),
        rate: extra.drift_rate,
        metrics: metrics.clone(),
    };
    let outbox = relay.handle();
    // Also where the loop ends by itself, as the API.
    let (stop_second, second_shutdown) = shutdown::manual();
    let drift = tokio::spawn(drift::run(drift, second_shutdown.clone()));
    let second = tokio::spawn(rebuild::run(second, move || outbox.wake_letters(), second_shutdown));
    let result =
        project::run(projection, &consumer, heard, operator, wake_relay, &readiness, &shutdown).await;
    info!("stopping");
    failpoint::pass("shutdown", "drained");
    stop_api.stop();
    stop_second.stop();
    consumer.stop(CONSUMER_STOP).await;
    let _ = second.await;
    let _ = drift.await;
    let _ = served.await;
    relay.stop(RELAY_STOP).await;
    result
}

async fn check_database(url: &str) -> Result<(), Unfit> {
    schema::check(&mut schema::connection(url, GROUP, schema::SERVED).await?).await
}
