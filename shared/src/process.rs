//! The whole of a process's `main`: its verbs, how it waits for its servers, and what its end means as an exit code.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::{
    broker::{
        BrokerSettings, SettingError,
        topics::{self, TopicsError},
    },
    config::{self, Parsed, Process, Settings, Stop, Verb},
    http::{self, Readiness},
    log::{self, connect::Unfit},
    relay,
    telemetry::{self, spans},
};

/// What the readiness of a process calls what it needs.
pub const DATABASE: &str = "database";
pub const KAFKA: &str = "kafka";
pub const PARTITIONS: &str = "partitions";
pub const TOPICS: &str = "topics";
pub const RELAY: &str = "relay";

/// What was committed is published now or after the next start.
pub const RELAY_STOP: Duration = Duration::from_secs(5);
pub const CONSUMER_STOP: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Reads the settings and does what the verb says. `prepare` makes of the process's own settings what `serve` needs,
/// or says which of them is bad.
pub fn main<E: Args, S>(
    process: &Process,
    prepare: impl FnOnce(&E) -> Result<S, Stop>,
    migrate: impl AsyncFnOnce(&str) -> anyhow::Result<()>,
    serve: impl AsyncFnOnce(S, Settings) -> anyhow::Result<()>,
) -> ExitCode {
    let Parsed { verb, settings, extra } = config::parse::<E>(process);
    let prepared = prepare(&extra).unwrap_or_else(|stop| stop.exit());
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
    let spans = match verb {
        Verb::Serve => match spans::start(process.name, &settings) {
            Ok(spans) => Some(spans),
            Err(stop) => stop.exit(),
        },
        Verb::Migrate | Verb::Healthcheck => None,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match verb {
            Verb::Migrate => migrate(&settings.database_url).await,
            Verb::Serve | Verb::Healthcheck => serve(prepared, settings).await,
        }
    });
    // What is stuck in a client library must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    let exit_code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::from(exit_code(&error))
        }
    };
    // After the reason of the end is told: it may take as long as whoever stops the process waits.
    if let Some(spans) = spans {
        spans.flush();
    }
    exit_code
}

/// Waiting does not mend a configuration.
fn exit_code(error: &anyhow::Error) -> u8 {
    let unfit = error.downcast_ref::<Unfit>().is_some_and(|unfit| !matches!(unfit, Unfit::Store(_)));
    let is_bad = unfit || error.is::<TopicsError>() || error.is::<SettingError>();
    if is_bad { config::EXIT_BAD_CONFIGURATION as u8 } else { 1 }
}

/// Waits for the servers, and refuses what waiting does not mend. Returns what `check` found in the database, and
/// the partition count that all topics have.
pub async fn wait_for_servers<T>(
    broker: &BrokerSettings,
    readiness: &Readiness,
    check: impl AsyncFn() -> Result<T, Unfit>,
) -> anyhow::Result<(T, i32)> {
    let found = loop {
        match log::answered(check()).await {
            Ok(found) => break found,
            Err(Unfit::Store(error)) if error.is_infrastructure() => {
                warn!(%error, "waiting for the database");
                readiness.lacks(DATABASE, "away");
            }
            Err(unfit) => return Err(unfit.into()),
        }
        sleep(RETRY).await;
    };
    readiness.found(DATABASE);
    let partitions = loop {
        match topics::partition_count(broker).await {
            Ok(partitions) => break partitions,
            Err(error @ TopicsError::Unreachable { .. }) => {
                warn!(%error, "waiting for the broker");
                readiness.lacks(KAFKA, "away");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(RETRY).await;
    };
    readiness.found(KAFKA);
    Ok((found, partitions))
}

/// A relay that halted does not go on by itself.
pub fn watch_relay(readiness: &Readiness, state: relay::State) {
    match state {
        relay::State::Halted { reason } => readiness.lacks(RELAY, reason),
        _ => readiness.found(RELAY),
    }
}
