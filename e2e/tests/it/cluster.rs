//! Three brokers, a primary with a synchronous standby, two of every service, under load: the leader of a partition is
//! killed again and again, then the primary, whose standby takes its place. Nothing that was acknowledged is lost, and
//! nothing is done twice.
//!
//! `make cluster` kills a leader every thirty seconds for five minutes, and lets the databases change places twice
//! (`FULFIL_CLUSTER=whole`); the gate kills one, then the standby, and lets them change once.

mod brokers;

use std::{
    collections::BTreeSet,
    env, fs,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use cli::{
    dev::ServerRole,
    exit::{self, Exit},
};
use e2e::system::{Edge, Load, Loading, Mix, Recovery, System, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::{
    contract::{envelope::Raw, topics::Topic},
    log::connect::{Unfit, connect},
};
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::watch as channel,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::chaos::watch::Watch;
use brokers::Brokers;

const BROKERS: usize = 3;
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);
/// Of what takes seconds on a machine that has time for it.
const LIMIT: Duration = Duration::from_secs(180);
const UNANSWERED: Duration = Duration::from_secs(3);
/// An append that waits may have moved positions and no more.
const UNCONFIRMED_TRIES: usize = 10;
const VISIBLE_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// By turns. Each leads somewhere else.
const TOPICS: [Topic; 5] = [
    Topic::OrdersEvents,
    Topic::InventoryEvents,
    Topic::PaymentsEvents,
    Topic::OrdersCommands,
    Topic::InventoryStock,
];

struct Plan {
    kills: usize,
    every: Duration,
    /// The standby is killed once more, and it is looked at that nobody is answered without it.
    without_standby: bool,
    failovers: usize,
}

impl Plan {
    const WHOLE: Self =
        Self { kills: 10, every: Duration::from_secs(30), without_standby: true, failovers: 2 };
    const SHORT: Self = Self { kills: 1, every: Duration::ZERO, without_standby: false, failovers: 1 };

    fn of_the_environment() -> Self {
        match env::var("FULFIL_CLUSTER").as_deref() {
            Ok("whole") => Self::WHOLE,
            Ok(other) => panic!("FULFIL_CLUSTER is {other}, not whole"),
            Err(_) => Self::SHORT,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_while_leaders_die_and_the_standby_takes_over() {
    let plan = Plan::of_the_environment();
    let begun = Instant::now();
    let Some(mut system) = System::of_a_cluster("-cluster", 2).await else { return };
    let brokers = Brokers::of(&system.broker);
    in_sync(&brokers).await;
    eprintln!(
        "three brokers, two databases and two of each service after {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let edge = Edge::of(&system);
    let load = Load::new(1, Mix::contradicted());
    load.stock(&edge).await;
    let (stop, stopped) = channel::channel(false);
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);
    let watch = Watch::start(&system, stopped);

    let mut killed = Vec::new();
    for topic in TOPICS.iter().cycle().take(plan.kills) {
        let next = Instant::now() + plan.every;
        killed.push(kill_leader(&mut system, &brokers, *topic).await);
        watch.assert_well();
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    what_only_the_primary_has_is_not_published(&mut system).await;
    watch.assert_well();
    if plan.without_standby {
        nothing_is_acknowledged_without_the_standby(&mut system).await;
        watch.assert_well();
    }
    let mut promoted = Vec::new();
    for number in 0..plan.failovers {
        if number > 0 {
            // The former primary, copied anew, is what the present one waits for.
            let former = server(&system, ServerRole::Standby);
            system.restart(&former).await;
        }
        promoted.push(fail_over(&mut system).await);
        watch.assert_well();
    }
    let load = loading.stop().await;
    // Who read what a primary took with it has ended, to start again.
    system.restart_dead().await;
    system.all_accounted_for(&load).await;
    stop.send_replace(true);
    let watched = watch.stop().await;
    system.shows_something().await;
    system.adds_up_with(&load.journal.told).await;

    assert_eq!((killed.len(), promoted.len()), (plan.kills, plan.failovers));
    assert!(!load.journal.accepted.is_empty());
    eprintln!(
        "{} s: {} orders accepted, {} refused, {} not answered; {} events in the logs; {} leaders killed, orders ended \
         again after {}; {} times the standby took over, orders ended again after {}; no violation",
        begun.elapsed().as_secs(),
        load.journal.accepted.len(),
        load.journal.refused.len(),
        load.journal.unknown.len(),
        watched.events,
        killed.len(),
        times(&killed),
        promoted.len(),
        times(&promoted),
    );
}

/// kill -9 of whoever leads the topic's first partition; it is started again once orders end without it.
async fn kill_leader(system: &mut System, brokers: &Brokers, topic: Topic) -> Recovery {
    let leader = until("a leader", LIMIT, async || brokers.leader(topic, 0).await).await;
    let name = format!("kafka-{leader}");
    system.signal(system.server_pid(&name), Signal::SIGKILL);
    let killed = Instant::now();
    let recovery = system.recovered(killed).await;
    let another = async || brokers.leader(topic, 0).await.filter(|now| *now != leader);
    let next = until(&format!("another leader of {topic}[0]"), LIMIT, another).await;
    eprintln!("{name} led {topic}[0] and was killed, kafka-{next} leads; {}", said(&recovery));
    system.restart(&name).await;
    in_sync(brokers).await;
    recovery
}

/// A session that ends while its commit waits for the standby leaves a commit that everybody sees and nobody was told
/// of. Its server may die for good, so the relay does not tell of it either before the standby has it.
async fn what_only_the_primary_has_is_not_published(system: &mut System) {
    let standby = server(system, ServerRole::Standby);
    let url = format!("postgres://postgres@{}/inventory_service", system.status.postgres);
    let mut primary = PgConnection::connect(&url).await.unwrap();
    let mut tries = 0..UNCONFIRMED_TRIES;
    let (unconfirmed, refusals) = loop {
        tries.next().expect("one of the appends that waited had an event");
        let refusals = refused_relays(system);
        system.signal(system.server_pid(&standby), Signal::SIGKILL);
        match unconfirmed(&mut primary).await {
            Some(positions) => break (positions, refusals),
            None => system.restart(&standby).await,
        }
    };
    let waits = async || (refused_relays(system) > refusals).then_some(());
    until("the relay to refuse what it has read", LIMIT, waits).await;
    let published = |system: &System| {
        let topics = [Topic::InventoryEvents, Topic::InventoryStock];
        let raws = topics.into_iter().flat_map(|topic| system.seen.on(topic));
        let positions = raws.filter_map(|raw| position(&raw));
        positions.filter(|position| unconfirmed.contains(position)).collect::<BTreeSet<i64>>()
    };
    assert_eq!(published(system), BTreeSet::new(), "of {unconfirmed:?}, which the standby does not have");
    let left = "select count(*) < 10 from pg_stat_activity where wait_event = 'SyncRep'";
    holds(&mut primary, left).await.expect("who waits for the standby does not leave sessions behind");
    let ended = Instant::now();
    system.restart(&standby).await;
    let all = async || (published(system).len() == unconfirmed.clone().count()).then_some(());
    until("what the standby has to be published", LIMIT, all).await;
    let recovery = system.recovered(ended).await;
    eprintln!(
        "{unconfirmed:?} of inventory-service was not published without {standby}; {}",
        said(&recovery)
    );
}

/// Positions that the primary has and its standby, just killed, has not. `None` where no append that waited had an event.
async fn unconfirmed(primary: &mut PgConnection) -> Option<RangeInclusive<i64>> {
    // Its last process may confirm something yet.
    let waits_alone = "select exists (select from pg_stat_activity where datname = 'inventory_service'
                                      and application_name = 'inventory-service' and wait_event = 'SyncRep')
                              and not exists (select from pg_stat_replication)";
    until("an append that waits for the standby", LIMIT, async || holds(primary, waits_alone).await).await;
    let confirmed = end(primary).await;
    let begun = Instant::now();
    while begun.elapsed() < VISIBLE_LIMIT {
        let ends =
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'inventory_service'
                    and application_name = 'inventory-service' and wait_event = 'SyncRep'";
        sqlx::query(ends).execute(&mut *primary).await.unwrap();
        let positions = confirmed + 1..=end(primary).await;
        if !positions.is_empty() {
            return Some(positions);
        }
        sleep(POLL).await;
    }
    None
}

/// How often a relay of inventory-service has said that there is no standby.
fn refused_relays(system: &System) -> usize {
    let services = system.status.services.iter().filter(|service| service.name == "inventory-service");
    let logs = services.map(|service| fs::read_to_string(&service.log).unwrap_or_default());
    let says = |line: &&str| line.contains("the relay lost") && line.contains("no standby streams");
    logs.map(|log| log.lines().filter(says).count()).sum()
}

async fn holds(primary: &mut PgConnection, question: &'static str) -> Option<()> {
    sqlx::query_scalar::<_, bool>(question).fetch_one(primary).await.unwrap().then_some(())
}

async fn end(primary: &mut PgConnection) -> i64 {
    let end = sqlx::query_scalar("select coalesce(max(position), 0) from event");
    end.fetch_one(primary).await.unwrap()
}

/// As a reader without our code sees it.
fn position(raw: &Raw) -> Option<i64> {
    let value: Value = serde_json::from_slice(raw.value.as_deref()?).ok()?;
    value["position"].as_str()?.parse().ok()
}

/// Not by a long time-out: by a primary that waits.
async fn nothing_is_acknowledged_without_the_standby(system: &mut System) {
    let standby = server(system, ServerRole::Standby);
    system.signal(system.server_pid(&standby), Signal::SIGKILL);
    // The last of its processes may confirm something yet.
    let unanswered = async || {
        let body = json!({"quantity": 1, "reference": Uuid::now_v7()});
        timeout(UNANSWERED, system.post("inventory-service", "/stock/CLUSTER/receive", &body)).await.err()
    };
    until("a delivery that is not acknowledged", LIMIT, unanswered).await;
    let ended = Instant::now();
    system.restart(&standby).await;
    let recovery = system.recovered(ended).await;
    eprintln!("{standby} was killed and nothing was acknowledged; from its restart on {}", said(&recovery));
}

async fn fail_over(system: &mut System) -> Recovery {
    let (primary, standby) = (server(system, ServerRole::Primary), server(system, ServerRole::Standby));
    a_standby_alone_is_refused(system, &standby).await;
    let refusal = system.promote().await.unwrap_err();
    assert_eq!(exit::of(&refusal), Exit::Refused, "the primary lives: {refusal:#}");
    let killed = system.fail_over().await;
    let took = killed.elapsed();
    assert_eq!(server(system, ServerRole::Primary), standby);
    let recovery = system.recovered(killed).await;
    let took = took.as_secs_f64();
    eprintln!("{primary} was killed, {standby} took over after {took:.1} s; {}", said(&recovery));
    recovery
}

/// As a service would connect that was told of no other.
async fn a_standby_alone_is_refused(system: &System, standby: &str) {
    let address = &system.status.server(standby).expect("it is known").address;
    let refusal = connect(&format!("postgres://order_service@{address}/order_service"), "e2e").await.err();
    assert!(matches!(refusal, Some(Unfit::Standby)), "{refusal:?}");
}

fn server(system: &System, role: ServerRole) -> String {
    let found = system.status.servers.iter().find(|server| server.role == role);
    found.expect("a cluster has one").name.clone()
}

async fn in_sync(brokers: &Brokers) {
    until("every partition to be on all brokers", LIMIT, async || brokers.all_in_sync(BROKERS).await).await;
}

fn said(recovery: &Recovery) -> String {
    let (first, everywhere) = (recovery.first.as_secs_f64(), recovery.everywhere.as_secs_f64());
    format!("an order ended after {first:.1} s, on every partition after {everywhere:.1} s")
}

/// Until an order had ended on every partition.
fn times(recoveries: &[Recovery]) -> String {
    let seconds = |recovery: &Recovery| format!("{:.1}", recovery.everywhere.as_secs_f64());
    format!("{} s", recoveries.iter().map(seconds).collect::<Vec<_>>().join(", "))
}
