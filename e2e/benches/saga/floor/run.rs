//! One run: empty databases and topics, the commands, the roles, and when each order was in the view.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cli::{
    dev::Status,
    load::{Cpu, Latency},
};
use projector::read_model::schema;
use serde::{Deserialize, Serialize};
use shared::{
    broker::BrokerSettings,
    contract::{envelope::Manual, topics::Topic},
    log::connect,
};
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

use super::{
    place::Publisher,
    position,
    role::{self, Role},
    story::{CREATE, Story, Template, now},
    topics,
    view::{self, Seen},
};

/// How long nothing may be completed.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
const VIEW: &str = "floor_view";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) story: Story,
    pub(crate) orders: usize,
    /// Evenly, so many a second. `None`: all commands are on the topic before the roles begin.
    pub(crate) rate: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) orders: usize,
    pub(crate) orders_per_s: f64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    /// Of Kafka and Postgres with what the product asks of them meanwhile, which idles beside it.
    pub(crate) cpu_s_per_1000: Cpu,
}

/// On the servers of a system, beside its own databases and topics. The CPU time is this process's.
pub(crate) async fn run(status: &Status, floor: Floor) -> anyhow::Result<Figures> {
    let broker = BrokerSettings::new(status.kafka.clone());
    topics::make(&broker).await?;
    let databases = databases(status).await?;
    let commands = commands(floor.orders)?;
    let publisher = Publisher::open(&broker)?;
    if floor.rate.is_none() {
        commands.iter().try_for_each(|(_, command)| publisher.send(command))?;
        while publisher.poll() {
            tokio::time::sleep(LOOK).await;
        }
    }
    let (seen, stopped) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let before = Cpu::of(status);
    let begun = Instant::now();
    let mut threads = Vec::new();
    for role in Role::ALL {
        let (broker, database) = (broker.clone(), databases[role.database()].clone());
        let stopped = Arc::clone(&stopped);
        threads.push(thread::spawn(move || role::run(role, floor.story, &broker, &database, &stopped)));
    }
    let (broker, database) = (broker.clone(), databases[VIEW].clone());
    let (in_view, stop) = (Arc::clone(&seen), Arc::clone(&stopped));
    threads.push(thread::spawn(move || view::run(&broker, &database, &in_view, &stop)));
    let mut due: HashMap<Uuid, Instant> = commands.iter().map(|(order, _)| (*order, begun)).collect();
    if let Some(rate) = floor.rate {
        // Whoever comes first waits for the roles to have begun.
        let begun = begun + Duration::from_secs(1);
        due = commands
            .iter()
            .enumerate()
            .map(|(number, (order, _))| (*order, begun + Duration::from_secs_f64(number as f64 / rate)))
            .collect();
        let due = due.clone();
        tokio::task::spawn_blocking(move || {
            for (order, command) in &commands {
                publisher.poll_until(due[order]);
                publisher.send(command)?;
            }
            while publisher.poll() {
                thread::sleep(Duration::from_millis(1));
            }
            anyhow::Ok(())
        })
        .await??;
    }
    let ended = wait(&seen, floor.orders, &threads).await;
    let cpu = Cpu::of(status).since(before);
    stopped.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a role panicked"))??;
    }
    let last = ended?;
    let first = due.values().min().copied().unwrap_or(begun);
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let latencies = seen.iter().map(|(order, at)| at.saturating_duration_since(due[order]));
    Ok(Figures {
        orders: floor.orders,
        orders_per_s: floor.orders as f64 / last.saturating_duration_since(first).as_secs_f64(),
        latency: Latency::of(latencies).context("no orders")?,
        // All of it is this process.
        cpu_s_per_1000: Cpu { app: cpu.generator, generator: 0.0, ..cpu }.per(floor.orders as f64 / 1_000.0),
    })
}

/// Until all are completed in the view; answers when the last was.
async fn wait(
    seen: &Seen,
    orders: usize,
    threads: &[thread::JoinHandle<anyhow::Result<()>>],
) -> anyhow::Result<Instant> {
    let mut moved = (0, Instant::now());
    loop {
        let (count, last) = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.len(), seen.values().max().copied())
        };
        if count >= orders {
            return last.context("no orders");
        }
        if count > moved.0 {
            moved = (count, Instant::now());
        }
        if moved.1.elapsed() > PATIENCE || threads.iter().any(thread::JoinHandle::is_finished) {
            bail!("the floor stopped after {count} of {orders} orders");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Empty ones with the product's tables, by name.
async fn databases(status: &Status) -> anyhow::Result<HashMap<&'static str, String>> {
    let admin = format!("postgres://postgres@{}/postgres", status.postgres);
    let mut connection = sqlx::PgConnection::connect(&admin).await?;
    let mut databases = HashMap::new();
    // By the roles of the services, whose settings count here too.
    let names = Role::ALL.map(|role| (role.database(), role.user())).into_iter().chain([(VIEW, "projector")]);
    for (name, user) in names {
        for statement in [
            format!("drop database if exists {name} with (force)"),
            format!("create database {name} owner {user}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        let url = format!("postgres://{user}@{}/{name}", status.postgres);
        if name == VIEW {
            schema::migrate(&url).await?;
            position::begin(&mut schema::connection(&url, "floor", schema::SERVED).await?, &view::READS)
                .await?;
        } else {
            connect::migrate(&url).await?;
        }
        databases.insert(name, url);
    }
    for role in Role::ALL {
        let mut connection = connect::connect(&databases[role.database()], "floor").await?;
        position::begin(&mut connection, role.reads()).await?;
    }
    connection.close().await?;
    Ok(databases)
}

fn commands(orders: usize) -> anyhow::Result<Vec<(Uuid, shared::contract::envelope::Outgoing)>> {
    let template = Template::of(CREATE)?;
    (0..orders)
        .map(|_| {
            let order = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
            let data = template.fill(&order.to_string());
            let manual = Manual {
                message_type: CREATE,
                data: &data,
                id: Uuid::now_v7(),
                source: "/fulfil/floor",
                time: now(),
                traceparent: None,
            };
            let outgoing = manual
                .encode(Topic::OrdersCommands, &order.to_string())
                .map_err(|malformed| anyhow::anyhow!("{malformed}"))?;
            Ok((order, outgoing))
        })
        .collect()
}
