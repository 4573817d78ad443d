//! The process from its settings to its end: what is checked and started in which order, and what is stopped first.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use shared::{
    broker::{BrokerSettings, SettingError, topics},
    config::{self, Parsed, Process, Settings, Verb, duration},
    consumer::{Consumer, ConsumerSettings},
    contract::Timestamp,
    http::{self, Readiness},
    log::connect::Unfit,
    relay::{self, RelaySettings},
    shutdown::{self, Shutdown},
    telemetry::{self, Metrics},
};
use tokio::{
    sync::mpsc,
    time::{interval, sleep},
};
use tracing::{error, info, warn};

use crate::{
    commands::Commands,
    http::{App, routes},
    intake::{GROUP, READS},
    project::{
        self, Projection, Store,
        lag::Lag,
        run::{BATCH_MAX, NEED_PARTITIONS},
        store::DATABASE,
    },
    read_model::schema,
    view::awaiting::Limits,
};

const PROCESS: Process = Process {
    name: GROUP,
    about: "Folds the topics into the view and answers questions about it",
    http_addr: "127.0.0.1:8080",
    admin_addr: "127.0.0.1:9080",
};
const NEED_BROKER: &str = "kafka";
const RETRY: Duration = Duration::from_secs(1);
const LAG_SHOWN_EVERY: Duration = Duration::from_secs(1);
/// How far the consumer thread may run ahead of the loop.
const HEARD_MAX: usize = BATCH_MAX * 4;
const CONSUMER_STOP: Duration = Duration::from_secs(3);
/// What was committed is published now or after the next start.
const RELAY_STOP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Args)]
struct Extra {
    /// From confirmed to completed: past it the order is shown as overdue. The same as order-service's
    #[arg(long, env = "COMPLETION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    completion_limit: Duration,

    /// From cancelled to settled: past it the order is shown as overdue. The same as order-service's
    #[arg(long, env = "COMPENSATION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    compensation_limit: Duration,
}

/// The whole of the process's `main`.
pub fn main() -> ExitCode {
    let Parsed { verb, settings, extra } = config::parse::<Extra>(&PROCESS);
    if verb == Verb::Healthcheck {
        return match http::healthcheck(settings.admin_addr) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("not ready: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let Err(stop) = telemetry::start(&settings) {
        stop.exit();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match verb {
            Verb::Migrate => schema::migrate(&settings.database_url).await,
            Verb::Serve | Verb::Healthcheck => serve(&settings, extra).await,
        }
    });
    // What is stuck in a client library must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Waiting does not mend a configuration.
fn exit_code(error: &anyhow::Error) -> u8 {
    let unfit = error.downcast_ref::<Unfit>().is_some_and(|unfit| !matches!(unfit, Unfit::Store(_)));
    let bad = unfit || error.is::<topics::TopicsError>() || error.is::<SettingError>();
    if bad { config::EXIT_BAD_CONFIGURATION as u8 } else { 1 }
}

async fn serve(settings: &Settings, extra: Extra) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal(settings.shutdown_timeout).context("handling signals")?;
    let broker = BrokerSettings::new(&settings.kafka_bootstrap_servers)
        .with_environment(settings.kafka_config.clone())?;
    let metrics = Metrics::new(GROUP, config::BUILD);
    let readiness = Readiness::new(&[DATABASE, NEED_BROKER, NEED_PARTITIONS]);
    // The ports are taken before anything is waited for, so that a second copy is told at once.
    let admin = http::bind(settings.admin_addr).await?;
    let listener = http::bind(settings.http_addr).await?;
    let admin_routes = http::admin::routes(GROUP, config::BUILD, readiness.clone(), metrics.clone());
    let admin_shutdown = shutdown.clone();
    tokio::spawn(async move { http::serve(admin, admin_routes, Default::default(), &admin_shutdown).await });
    tokio::select! {
        started = wait_for_servers(settings, &broker, &readiness) => started?,
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
    let app = App {
        reads: schema::reads(&settings.database_url)?,
        waiters: projection.waiters.clone(),
        lag: lag.clone(),
        limits: Limits { completion: extra.completion_limit, compensation: extra.compensation_limit },
        commands: Commands::new(&broker)?,
    };
    let api = http::finish(routes(app), &metrics);
    let api_shutdown = shutdown.clone();
    let served =
        tokio::spawn(async move { http::serve(listener, api, Default::default(), &api_shutdown).await });
    tokio::spawn(show_lag(lag, metrics.clone(), shutdown.clone()));

    let (heard_sender, heard) = mpsc::channel(HEARD_MAX);
    let client = broker.consumer(GROUP, &settings.instance_id);
    let consumer = Consumer::start(ConsumerSettings { client, topics: READS.to_vec() }, heard_sender)?;
    info!(http = %settings.http_addr, admin = %settings.admin_addr, "serving");
    let outbox = relay.handle();
    let wake_relay = || outbox.wake_letters();
    let result = project::run(projection, &consumer, heard, wake_relay, &readiness, &shutdown).await;
    info!("stopping");
    consumer.stop(CONSUMER_STOP);
    let _ = served.await;
    relay.stop(RELAY_STOP).await;
    result
}

/// Waits for the servers, and refuses what waiting does not mend.
async fn wait_for_servers(
    settings: &Settings,
    broker: &BrokerSettings,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    while let Err(unfit) = check_database(&settings.database_url).await {
        match unfit {
            Unfit::Store(error) if error.is_infrastructure() => {
                warn!(%error, "waiting for the database");
                readiness.lacks(DATABASE, "away");
            }
            unfit => return Err(unfit.into()),
        }
        sleep(RETRY).await;
    }
    readiness.found(DATABASE);
    while let Err(error) = topics::partition_count(broker).await {
        if !matches!(error, topics::TopicsError::Unreachable { .. }) {
            return Err(error.into());
        }
        warn!(%error, "waiting for the broker");
        readiness.lacks(NEED_BROKER, "away");
        sleep(RETRY).await;
    }
    readiness.found(NEED_BROKER);
    Ok(())
}

async fn check_database(url: &str) -> Result<(), Unfit> {
    schema::check(&mut schema::connection(url, GROUP, schema::SERVED).await?).await
}

async fn show_lag(lag: Lag, metrics: Metrics, shutdown: Shutdown) {
    let mut ticks = interval(LAG_SHOWN_EVERY);
    while !shutdown.is_requested() {
        ticks.tick().await;
        let lag_ms = lag.ms(Timestamp::from(std::time::SystemTime::now()));
        metrics.view_lag_seconds.set(lag_ms as f64 / 1_000.0);
    }
}
