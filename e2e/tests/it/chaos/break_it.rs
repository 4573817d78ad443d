//! Doing a fault, to its end. Returns when it has ended: from then on the system is on its own.

use std::time::{Duration, Instant};

use e2e::system::System;
use nix::sys::signal::Signal;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::{fault::Fault, proxy::Proxy};

const SHORT: Duration = Duration::from_secs(2);
/// A session lasts six seconds, a relay's four.
const LONG: Duration = Duration::from_secs(9);
const TERMINATED_EVERY: Duration = Duration::from_secs(1);
const TERMINATED_TIMES: usize = 3;
const SLOW: Duration = Duration::from_secs(5);
/// What the contract gives a service to stop in, and as much again for a machine that others share.
const STOP_LIMIT: Duration = Duration::from_secs(40);

pub(crate) async fn break_it(system: &mut System, proxy: &Proxy, fault: Fault, rng: &mut StdRng) -> Instant {
    match fault {
        Fault::Kill { service } => {
            let replica = replica(system, service, rng);
            system.signal(system.pid(service, replica), Signal::SIGKILL);
            let ended = Instant::now();
            system.restart_replica(service, replica).await;
            ended
        }
        Fault::KillForGood { service } => {
            if replicas(system) < 2 {
                system.scale(2).await;
            }
            let replica = replica(system, service, rng);
            system.signal(system.pid(service, replica), Signal::SIGKILL);
            Instant::now()
        }
        Fault::FreezeShort { service } => freeze(system, service, SHORT, rng).await,
        Fault::FreezeLong { service } => freeze(system, service, LONG, rng).await,
        Fault::Terminate { service } => {
            let replica = replica(system, service, rng);
            let asked = Instant::now();
            let took = system.terminate(service, replica).await;
            assert!(took < STOP_LIMIT, "{service} (replica {replica}) took {took:?} to stop");
            system.restart_replica(service, replica).await;
            asked
        }
        Fault::Scale { replicas } => {
            system.scale(replicas).await;
            Instant::now()
        }
        Fault::BrokerKill => {
            kill_server(system.status.kafka_pid, system);
            sleep(Duration::from_millis(rng.random_range(0..4_000))).await;
            system.restart("kafka").await;
            Instant::now()
        }
        Fault::PostgresKill => {
            kill_server(system.status.postgres_pid, system);
            sleep(Duration::from_millis(rng.random_range(0..4_000))).await;
            system.restart("postgres").await;
            Instant::now()
        }
        Fault::PostgresRestart => {
            system.restart("postgres").await;
            Instant::now()
        }
        Fault::ConnectionsTerminated => {
            let mut terminated = 0;
            for _ in 0..TERMINATED_TIMES {
                terminated += terminate_connections(system).await;
                sleep(TERMINATED_EVERY).await;
            }
            assert!(terminated > 0, "there was no connection to terminate");
            Instant::now()
        }
        Fault::ProviderKill => {
            kill_server(system.status.provider_pid, system);
            sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
            system.restart("provider").await;
            Instant::now()
        }
        Fault::ProxyDelay { delay_ms } => {
            proxy.change(|mode| mode.delay = Duration::from_millis(delay_ms));
            sleep(SLOW).await;
            proxy.change(|mode| mode.delay = Duration::ZERO);
            Instant::now()
        }
        Fault::ProxyCut => {
            proxy.change(|mode| mode.cut = proxy.connections());
            Instant::now()
        }
        Fault::AnswersLost { count } => {
            proxy.change(|mode| mode.answers_to_lose += count);
            Instant::now()
        }
        Fault::HalfOpen => {
            // New connections work, once somebody has given the old ones up.
            proxy.change(|mode| mode.silent = proxy.connections());
            Instant::now()
        }
    }
}

async fn freeze(system: &System, service: &str, time: Duration, rng: &mut StdRng) -> Instant {
    let pid = system.pid(service, replica(system, service, rng));
    system.signal(pid, Signal::SIGSTOP);
    sleep(time).await;
    system.signal(pid, Signal::SIGCONT);
    Instant::now()
}

fn replicas(system: &System) -> u16 {
    system.status.services.iter().map(|service| service.replica + 1).max().unwrap_or(1)
}

fn replica(system: &System, service: &str, rng: &mut StdRng) -> u16 {
    let alive = system.status.services.iter().filter(|known| known.name == service && known.pid.is_some());
    let alive: Vec<u16> = alive.map(|known| known.replica).collect();
    *alive.choose(rng).unwrap_or_else(|| panic!("no {service} lives"))
}

fn kill_server(pid: Option<i32>, system: &System) {
    system.signal(pid.expect("it runs"), Signal::SIGKILL);
}

async fn terminate_connections(system: &System) -> i64 {
    let url = format!("postgres://postgres@{}/postgres", system.status.postgres);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where usename <> 'postgres' and datname <> 'postgres'";
    sqlx::query_scalar(terminate).fetch_one(&mut connection).await.unwrap()
}
