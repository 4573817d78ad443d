//! A process from its settings to its end: what is checked and started in which order, and what is stopped first.

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use clap::Args;
use tokio::sync::mpsc;
use tracing::info;

use super::{
    clock::Clock,
    gather::{BATCH_MAX, Gather, unanswered},
    inbox::{self, Inbox},
    reconcile::{self, Reconcile},
    run::Run,
    store::Store,
    take_back::take_back,
};
use crate::{
    broker::BrokerSettings,
    config::{self, LIMITS, Process, Settings, Stop, duration},
    consumer::{Consumer, ConsumerSettings, console},
    contract::{envelope::Mode, topics::Topic},
    decider::Decider,
    execute::{Execute, ExecuteSettings},
    failpoint,
    http::{self, Readiness},
    log::{self, connect, connect::Unfit},
    process::{self, CONSUMER_STOP, DATABASE, KAFKA, PARTITIONS, RELAY_STOP, wait_for_servers},
    relay::{self, RelaySettings},
    shutdown,
    telemetry::Metrics,
};

/// About a kilobyte each. Of more orders than half of that under way at once, some are read again at each of their events.
const CACHE_STREAMS_MAX: usize = 20_000;
const SNAPSHOT_EVERY: i64 = 200;
/// Whether it was compared with its topics.
const LOG: &str = "log";

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

/// What only a service with a log needs to know.
#[derive(Debug, Clone, Args)]
pub struct EngineLimits {
    /// How long a message about something unknown waits for its cause before it is a dead letter
    #[arg(long, env = "HOLD_LIMIT", default_value = "10m", value_parser = duration::parse, help_heading = LIMITS)]
    hold_limit: Duration,

    /// Events that may wait for the broker before HTTP answers 503; cancels are still taken
    #[arg(long, env = "RELAY_BACKLOG_MAX", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = LIMITS)]
    relay_backlog_max: u64,

    /// Commands that may wait to be decided before HTTP answers 503; a tenth of it is kept for cancels
    #[arg(long, env = "INBOX_MAX", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000), help_heading = LIMITS)]
    inbox_max: u32,
}

#[derive(Debug, Args)]
struct Own<E: Args> {
    #[command(flatten)]
    limits: EngineLimits,
    #[command(flatten)]
    extra: E,
}

/// The whole of a service's `main`.
pub fn main<D: Decider, E: Args>(
    process: &Process,
    service: impl FnOnce(&E) -> Result<Service<D>, Stop>,
) -> ExitCode {
    process::main(
        process,
        |own: &Own<E>| Ok((service(&own.extra)?, own.limits.clone())),
        connect::migrate,
        async |(service, limits), settings| serve(service, &limits, settings).await,
    )
}

async fn serve<D: Decider>(
    service: Service<D>,
    limits: &EngineLimits,
    settings: Settings,
) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal(settings.shutdown_timeout).context("handling signals")?;
    let broker = BrokerSettings::new(&settings.kafka_bootstrap_servers)
        .with_environment(settings.kafka_config.clone())?;
    let metrics = Metrics::new(D::NAME, config::BUILD);
    let readiness = Readiness::new(&[DATABASE, KAFKA, LOG, PARTITIONS]);
    let admin = http::bind(settings.admin_addr).await?;
    let (console, operator) = console();
    let admin_routes = http::admin::routes(
        D::NAME,
        config::BUILD,
        readiness.clone(),
        metrics.clone(),
        console,
        &settings.database_url,
    );
    let admin_shutdown = shutdown.clone();
    tokio::spawn(async move { http::serve(admin, admin_routes, Default::default(), &admin_shutdown).await });
    // The port is taken before anything is waited for, so that a second copy is told at once.
    let listener = http::bind(settings.http_addr).await?;

    let mut stopping = std::pin::pin!(shutdown.requested());
    let (clock, partitions) = tokio::select! {
        started = wait_for_servers(&broker, &readiness, async || database(&settings).await) => started?,
        () = &mut stopping => return Ok(()),
    };
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
    let seen = store.run(async |connection| log::last(connection).await).await?;
    let mut first = Vec::new();
    if let Some(reconcile) = service.reconcile.as_ref().filter(|_| taken_back > 0) {
        // What was decided and lost may have been done outside: looked at before anything else.
        first = reconcile::compare(reconcile, clock.now()).await;
    }
    let execute_settings = ExecuteSettings {
        mode: settings.fulfil_mode,
        partitions,
        hold_limit: limits.hold_limit,
        cache_streams_max: CACHE_STREAMS_MAX,
        snapshot_every: SNAPSHOT_EVERY,
    };
    let execute = Execute::new(decider, execute_settings, seen);
    let (consumer, heard) = Consumer::start(ConsumerSettings {
        client: broker.consumer(D::NAME, &settings.instance_id),
        topics: topics_read::<D>(settings.fulfil_mode),
        begins: D::BEGINS.to_vec(),
        messages_max: BATCH_MAX * 2,
    })?;
    let (inbox, asked) = inbox::channel(limits.inbox_max as usize);
    let overloaded = inbox.overload();
    let (answered, answers) = mpsc::unbounded_channel();
    let (compared_sender, compared) = mpsc::channel(BATCH_MAX);
    let api = http::finish((service.routes)(inbox), &metrics);
    // Also where the loop ends by itself: a process that cannot go on must not stay and answer.
    let (stop_api, api_shutdown) = shutdown::manual();
    let served = tokio::spawn(async move {
        http::serve(listener, api, Default::default(), &api_shutdown).await;
    });
    info!(http = %settings.http_addr, admin = %settings.admin_addr, partitions, position = seen.0, "serving");

    let mut gather = Gather::new(heard, asked, answers, compared);
    gather.put_back.extend(first.into_iter().map(unanswered));
    let mut run = Run {
        execute,
        store,
        clock,
        gather,
        begun: Default::default(),
        consumer,
        operator,
        lag: Default::default(),
        relay: relay.handle(),
        metrics,
        readiness,
        caller: service.caller,
        answered,
        partitions,
        overloaded,
        relay_backlog_max: limits.relay_backlog_max as i64,
    };
    let reconciling =
        service.reconcile.map(|reconcile| tokio::spawn(reconcile::hourly(reconcile, clock, compared_sender)));
    let result = run.run(&shutdown).await;
    info!("stopping");
    failpoint::pass("shutdown", "drained");
    stop_api.stop();
    if let Some(reconciling) = reconciling {
        reconciling.abort();
    }
    let Run { consumer, gather, .. } = run;
    // Whoever asked and was not decided is told so: the senders go with the channel.
    drop(gather);
    consumer.stop(CONSUMER_STOP).await;
    let _ = served.await;
    relay.stop(RELAY_STOP).await;
    result
}

/// Checks the database, and sets a clock by it: at once, since the wait for the broker may be long.
async fn database(settings: &Settings) -> Result<Clock, Unfit> {
    let mut connection = connect::connect(&settings.database_url, "start").await?;
    connect::check(&mut connection, settings.fulfil_mode).await?;
    let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut connection).await;
    now.map(Clock::new).map_err(|error| Unfit::Store(error.into()))
}

fn topics_read<D: Decider>(mode: Mode) -> Vec<Topic> {
    let adopts = D::ADOPTS.filter(|_| mode == Mode::Development);
    D::READS.iter().copied().chain([Topic::DeadLettersCommands]).chain(adopts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NoExtra;

    #[test]
    fn a_bad_limit_is_named_and_exits_78() {
        let process = Process {
            name: "test-service",
            about: "Tests limits",
            http_addr: "127.0.0.1:8081",
            admin_addr: "127.0.0.1:9081",
        };
        for (flag, value, name) in [
            ("--inbox-max", "0", "INBOX_MAX"),
            ("--hold-limit", "10", "HOLD_LIMIT"),
            ("--relay-backlog-max", "0", "RELAY_BACKLOG_MAX"),
        ] {
            let arguments = ["test-service", flag, value];
            let stop = config::parse_from::<Own<NoExtra>>(&process, arguments, Vec::new()).unwrap_err();
            assert_eq!(stop.exit_code, config::EXIT_BAD_CONFIGURATION, "{name}: {stop}");
            assert!(stop.text.contains(name), "{name}: {stop}");
        }
    }
}
