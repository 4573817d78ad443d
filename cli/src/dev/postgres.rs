//! One Postgres server from the distribution's programs, with a database and a role for each service.
//!
//! It listens on TCP only: a socket's path has a limit that a test's temporary folder can exceed.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};

use super::{
    owner::{Owner, programs},
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    services::{Blueprint, SERVICES},
    state::{Folder, Postgres, State},
};

/// As `shared::testing` names it.
const TEST_ROLE: &str = shared::testing::TEST_ROLE;
const STOP_LIMIT: Duration = Duration::from_secs(30);
const ORPHANS_PAUSE: Duration = Duration::from_millis(50);
/// Two replicas of four services with their pools, and a test run's hundred databases beside them.
const CONNECTIONS_MAX: u16 = 300;
/// For a standby that was away for a while.
const WAL_KEPT: &str = "wal_keep_size=256MB";

/// The same file makes the roles of the container.
const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

/// Makes its data folder where there is none.
pub(crate) async fn spawn(
    postgres: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<Process> {
    if postgres.is_former {
        bail!("a promotion was begun, and this server is not to take writes any more: fulfil dev promote");
    }
    let owner = Owner::of_the_server()?;
    let data = owner.data_folder(&folder.path().join(&postgres.name))?;
    if !data.join("PG_VERSION").exists() {
        progress.waiting_for("Postgres's data folder");
        let mut initdb = owner.command(&programs()?.join("initdb"));
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"]).arg(&data);
        run_to_end(&mut initdb, &folder.log(&postgres.name)).await?;
    }
    serve(postgres, &[], &owner, &data, folder).await
}

/// Whatever is in its data folder: a primary, or a standby. `more` are settings of its role.
pub(crate) async fn serve(
    postgres: &Postgres,
    more: &[&str],
    owner: &Owner,
    data: &Path,
    folder: &Folder,
) -> anyhow::Result<Process> {
    orphans_are_gone(data).await;
    let Postgres { name, host, port, .. } = postgres;
    let mut server = owner.command(&programs()?.join("postgres"));
    server.arg("-D").arg(data);
    let port_number = format!("port={port}");
    let listen = format!("listen_addresses={host}");
    let connections = format!("max_connections={CONNECTIONS_MAX}");
    let settings =
        [&port_number, &listen, &connections, WAL_KEPT, "unix_socket_directories=", "log_checkpoints=off"];
    for setting in settings.iter().chain(more) {
        server.args(["-c", setting]);
    }
    Process::spawn(&mut server, &folder.log(name))
}

/// The sessions of a server that was killed notice it in their own time, and as long as one is attached to its memory
/// no other server starts. Past the limit that one says so.
async fn orphans_are_gone(data: &Path) {
    let left_behind = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    // Its seventh line: key and id of the memory.
    let memory = left_behind.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
    let Some(memory) = memory else { return };
    let is_attached = || {
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        segments.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|columns| {
            columns.get(1) == Some(&memory) && columns.get(6).is_some_and(|attached| *attached != "0")
        })
    };
    let deadline = Instant::now() + STOP_LIMIT;
    while is_attached() && Instant::now() < deadline {
        sleep(ORPHANS_PAUSE).await;
    }
}

/// Ready includes the roles.
pub(crate) async fn wait_until_ready(
    postgres: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    wait_until_it_answers(postgres, folder, progress).await?;
    make_roles(postgres).await?;
    progress.done(&format!("Postgres at {}", address(postgres)), since);
    Ok(())
}

pub(crate) async fn wait_until_it_answers(
    postgres: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    wait_until("Postgres", postgres.process, &folder.log(&postgres.name), progress, || async {
        let connection = admin(postgres).await.map_err(|error| error.to_string())?;
        connection.close().await.map_err(|error| error.to_string())
    })
    .await
}

/// A database for each service. The test servers go without: every test makes its own.
pub(crate) async fn make_databases(postgres: &Postgres) -> anyhow::Result<()> {
    let mut connection = admin(postgres).await?;
    for Blueprint { database, .. } in &SERVICES {
        let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(database)
            .fetch_one(&mut connection)
            .await?;
        if !exists {
            execute(&mut connection, format!("create database {database} owner {database}")).await?;
        }
    }
    connection.close().await?;
    Ok(())
}

/// With `wipe` its data is about to go: no checkpoint is written first.
pub(crate) async fn stop(process: Process, wipe: bool) -> anyhow::Result<()> {
    // SIGTERM would wait for every client to leave.
    let signal = if wipe { Signal::SIGQUIT } else { Signal::SIGINT };
    process.stop(signal, STOP_LIMIT).await?;
    Ok(())
}

/// Names the standby too, where there is one: whoever connects finds the one that takes writes.
pub(crate) fn url(state: &State, database: &str) -> String {
    let hosts: Vec<String> = [&state.postgres].into_iter().chain(&state.standby).map(address).collect();
    format!("postgres://{database}@{}/{database}", hosts.join(","))
}

pub(crate) fn address(postgres: &Postgres) -> String {
    format!("{}:{}", postgres.host, postgres.port)
}

/// Of this server, whether it takes writes or not.
pub(crate) async fn admin(postgres: &Postgres) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass().host(&postgres.host).port(postgres.port);
    // What is set up here is set up again at the next start; it must not wait for a standby that is not there yet.
    let options =
        options.username("postgres").database("postgres").options([("synchronous_commit", "local")]);
    options.connect().await
}

async fn make_roles(postgres: &Postgres) -> anyhow::Result<()> {
    let mut connection = admin(postgres).await?;
    sqlx::raw_sql(ROLES).execute(&mut connection).await.context("the roles cannot be made")?;
    make_test_role(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// May make databases, and works under a service's limits in them.
async fn make_test_role(connection: &mut PgConnection) -> anyhow::Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(TEST_ROLE)
        .fetch_one(&mut *connection)
        .await?;
    if exists {
        return Ok(());
    }
    execute(connection, format!("create role {TEST_ROLE} login createdb")).await?;
    let limits: Vec<String> = sqlx::query_scalar(
        "select unnest(setconfig) from pg_db_role_setting where setrole = 'order_service'::regrole",
    )
    .fetch_all(&mut *connection)
    .await?;
    for limit in limits.iter().filter_map(|limit| limit.split_once('=')) {
        execute(connection, format!("alter role {TEST_ROLE} set {} = '{}'", limit.0, limit.1)).await?;
    }
    Ok(())
}

/// For names from constants of this crate, which Postgres does not take as parameters.
pub(crate) async fn execute(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(connection).await.context(sql)?;
    Ok(())
}
