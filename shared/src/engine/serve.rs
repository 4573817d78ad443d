//! A process from its settings to its end: what is checked and started in which order, and what is stopped first.

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use tokio::{sync::mpsc, time::sleep};
use tracing::{error, info, warn};

use super::{
    clock::Clock,
    gather::{BATCH_MAX, Gather, unanswered},
    inbox::{self, Inbox},
    reconcile::{self, Reconcile},
    run::{PARTITIONS, Run},
    store::{DATABASE, Store},
    take_back::take_back,
};
use crate::{
    broker::{BrokerSettings, topics},
    config::{self, Parsed, Process, Settings, Verb},
    consumer::{Consumer, ConsumerSettings},
    contract::{Timestamp, envelope::Mode, topics::Topic},
    decider::Decider,
    execute::{Execute, ExecuteSettings},
    http::{self, Readiness},
    log::{self, connect, connect::Unfit},
    relay::{self, RelaySettings},
    shutdown,
    telemetry::{self, Metrics},
};

const CACHE_STREAMS_MAX: usize = 100_000;
const SNAPSHOT_EVERY: i64 = 200;
const KAFKA: &str = "kafka";
/// Whether it was compared with its topics.
const LOG: &str = "log";
const RETRY: Duration = Duration::from_secs(1);
/// What was committed is published now or after the next start.
const RELAY_STOP: Duration = Duration::from_secs(5);
const CONSUMER_STOP: Duration = Duration::from_secs(3);

/// Makes a call to the world outside; its answer is a command. It never fails: silence is an answer too.
pub type Caller<D> = Arc<
    dyn Fn(<D as Decider>::Call) -> Pin<Box<dyn Future<Output = <D as Decider>::Command> + Send>>
        + Send
        + Sync,
>;

/// What a service adds to the engine.
pub struct Service<D: Decider> {
    pub decider: D,
    pub routes: fn(Inbox<D>) -> Router,
    pub caller: Caller<D>,
    /// What to compare with the world outside, now and then. `None`: this service has nobody outside.
    pub reconcile: Option<Reconcile<D>>,
}

/// For a service that calls nobody outside.
pub fn no_calls<D: Decider<Call = std::convert::Infallible>>() -> Caller<D> {
    Arc::new(|never| match never {})
}

/// The whole of a service's `main`.
pub fn main<D: Decider, E: clap::Args>(
    process: &Process,
    service: impl FnOnce(&E) -> Result<Service<D>, config::Stop>,
) -> ExitCode {
    let Parsed { verb, settings, extra } = config::parse::<E>(process);
    let service = service(&extra).unwrap_or_else(|stop| stop.exit());
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
            Verb::Migrate => log::connect::migrate(&settings.database_url).await,
            _ => serve(service, settings).await,
        }
    });
    // What is stuck in a client library must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit_code = exit_code(&error);
            error!("{error:#}");
            ExitCode::from(exit_code)
        }
    }
}

/// Waiting does not mend a configuration.
fn exit_code(error: &anyhow::Error) -> u8 {
    let unfit = error.downcast_ref::<Unfit>().is_some_and(|unfit| !matches!(unfit, Unfit::Store(_)));
    let topics = error.downcast_ref::<topics::TopicsError>().is_some();
    let setting = error.downcast_ref::<crate::broker::SettingError>().is_some();
    if unfit || topics || setting { config::EXIT_BAD_CONFIGURATION as u8 } else { 1 }
}

async fn serve<D: Decider>(service: Service<D>, settings: Settings) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal(settings.shutdown_timeout).context("handling signals")?;
    let broker = BrokerSettings::new(&settings.kafka_bootstrap_servers)
        .with_environment(settings.kafka_config.clone())?;
    let metrics = Metrics::new(D::NAME, config::BUILD);
    let readiness = Readiness::new(&[DATABASE, KAFKA, LOG, PARTITIONS]);
    let admin = http::bind(settings.admin_addr).await?;
    let admin_routes = http::admin::routes(D::NAME, config::BUILD, readiness.clone(), metrics.clone());
    let admin_shutdown = shutdown.clone();
    tokio::spawn(async move { http::serve(admin, admin_routes, Default::default(), &admin_shutdown).await });
    // The port is taken before anything is waited for, so that a second copy is told at once.
    let listener = http::bind(settings.http_addr).await?;

    let mut stopping = std::pin::pin!(shutdown.requested());
    let started = tokio::select! {
        started = start(&settings, &broker, &readiness) => started?,
        () = &mut stopping => return Ok(()),
    };
    let Started { partitions, database_now } = started;
    let decider = Arc::new(service.decider);
    let mut store = Store::new(settings.database_url.clone(), D::NAME, readiness.clone());

    let relay_settings = RelaySettings {
        service: D::NAME.to_owned(),
        database_url: settings.database_url.clone(),
        broker: broker.clone(),
        topics: D::WRITES.to_vec(),
    };
    let taken_back = tokio::select! {
        taken = take_back(&*decider, &relay_settings, partitions) => taken?,
        () = &mut stopping => return Ok(()),
    };
    readiness.found(LOG);
    let relay = relay::start(relay_settings, metrics.clone());
    let seen = store.run(async |connection| log::end(connection).await).await?;
    let mut first = Vec::new();
    if let Some(reconcile) = service.reconcile.as_ref().filter(|_| taken_back > 0) {
        // What was decided and lost may have been done outside: looked at before anything else.
        first = reconcile::compare::<D>(reconcile, database_now).await;
    }
    let execute_settings = ExecuteSettings {
        mode: settings.fulfil_mode,
        partitions,
        hold_limit: settings.hold_limit,
        cache_streams_max: CACHE_STREAMS_MAX,
        snapshot_every: SNAPSHOT_EVERY,
    };
    let execute = Execute::new(decider.clone(), execute_settings, seen);
    let (heard_sender, heard) = mpsc::channel(BATCH_MAX * 4);
    let consumer = Consumer::start(
        ConsumerSettings {
            client: broker.consumer(D::NAME, &settings.instance_id),
            topics: topics_read::<D>(settings.fulfil_mode),
        },
        heard_sender,
    )?;
    let (inbox, asked) = inbox::channel(settings.inbox_max as usize);
    let overloaded = inbox.overload();
    let (answered, answers) = mpsc::unbounded_channel();
    let (compared_sender, compared) = mpsc::channel(BATCH_MAX);
    let api = http::finish((service.routes)(inbox), &metrics);
    // Also where the loop ends by itself: a process that cannot go on must not stay and answer.
    let (stop_api, api_shutdown) = shutdown::manual();
    let served = tokio::spawn(async move {
        http::serve(listener, api, Default::default(), &api_shutdown).await;
    });
    info!(http = %settings.http_addr, admin = %settings.admin_addr, partitions, position = seen, "serving");

    let mut gather = Gather::new(heard, asked, answers, compared);
    gather.put_back.extend(first.into_iter().map(unanswered));
    let mut run = Run {
        decider,
        execute,
        store,
        clock: Clock::new(database_now),
        gather,
        consumer,
        lag: Default::default(),
        relay: relay.handle(),
        metrics,
        readiness,
        caller: service.caller,
        answered,
        partitions,
        overloaded,
        relay_backlog_max: settings.relay_backlog_max as i64,
    };
    let reconciling =
        service.reconcile.map(|reconcile| tokio::spawn(reconcile::hourly::<D>(reconcile, compared_sender)));
    let result = run.run(&shutdown).await;
    info!("stopping");
    stop_api.stop();
    if let Some(reconciling) = reconciling {
        reconciling.abort();
    }
    let Run { consumer, gather, .. } = run;
    // Whoever asked and was not decided is told so: the senders go with the channel.
    drop(gather);
    consumer.stop(CONSUMER_STOP);
    let _ = served.await;
    relay.stop(RELAY_STOP).await;
    result
}

struct Started {
    partitions: i32,
    database_now: Timestamp,
}

/// Waits for the servers, and refuses what waiting does not mend.
async fn start(
    settings: &Settings,
    broker: &BrokerSettings,
    readiness: &Readiness,
) -> anyhow::Result<Started> {
    let database_now = loop {
        match database(settings).await {
            Ok(now) => break now,
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
            Err(error @ topics::TopicsError::Unreachable { .. }) => {
                warn!(%error, "waiting for the broker");
                readiness.lacks(KAFKA, "away");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(RETRY).await;
    };
    readiness.found(KAFKA);
    Ok(Started { partitions, database_now })
}

async fn database(settings: &Settings) -> Result<Timestamp, Unfit> {
    let mut connection = connect::connect(&settings.database_url, "start").await?;
    connect::check(&mut connection, settings.fulfil_mode).await?;
    let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut connection).await;
    now.map_err(|error| Unfit::Store(error.into()))
}

fn topics_read<D: Decider>(mode: Mode) -> Vec<Topic> {
    let adopts = D::ADOPTS.filter(|_| mode == Mode::Development);
    D::READS.iter().copied().chain([Topic::DeadLettersCommands]).chain(adopts).collect()
}
