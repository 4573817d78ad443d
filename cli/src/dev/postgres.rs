//! One Postgres server from the distribution's programs, with a database and a role for each service.
//!
//! It listens on TCP only: a socket's path has a limit that a test's temporary folder can exceed.

use std::{
    env, fs,
    os::unix::{
        fs::{DirBuilderExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    services::{Blueprint, SERVICES},
    state::{Folder, Postgres},
};

/// As `shared::testing` names it.
const TEST_ROLE: &str = shared::testing::TEST_ROLE;
/// Where the data goes when user postgres cannot enter the checkout (below a closed home folder).
const DATA_ELSEWHERE: &str = "/var/lib/fulfil";
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Two replicas of four services with their pools, and a test run's hundred databases beside them.
const CONNECTIONS_MAX: u16 = 300;

/// The same file makes the roles of the container.
const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

/// Makes its data folder where there is none.
pub(crate) async fn spawn(
    postgres: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<Process> {
    let programs = programs()?;
    let owner = Owner::of_the_server()?;
    let data = owner.data_folder(folder.path())?;
    let log = folder.log("postgres");
    if !data.join("PG_VERSION").exists() {
        progress.waiting_for("Postgres's data folder");
        let mut initdb = owner.command(&programs.join("initdb"));
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"]).arg(&data);
        run_to_end(&mut initdb, &log).await?;
    }
    let Postgres { host, port, .. } = postgres;
    let mut server = owner.command(&programs.join("postgres"));
    server.arg("-D").arg(&data);
    let port_number = format!("port={port}");
    let listen = format!("listen_addresses={host}");
    let connections = format!("max_connections={CONNECTIONS_MAX}");
    for setting in [&port_number, &listen, &connections, "unix_socket_directories=", "log_checkpoints=off"] {
        server.args(["-c", setting]);
    }
    Process::spawn(&mut server, &log)
}

/// Ready includes the roles.
pub(crate) async fn wait_until_ready(
    postgres: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let url = admin_url(postgres);
    wait_until("Postgres", postgres.process, &folder.log("postgres"), progress, || async {
        let connection = PgConnection::connect(&url).await.map_err(|error| error.to_string())?;
        connection.close().await.map_err(|error| error.to_string())
    })
    .await?;
    make_roles(&url).await?;
    progress.done(&format!("Postgres at {}:{}", postgres.host, postgres.port), since);
    Ok(())
}

/// A database for each service. The test servers go without: every test makes its own.
pub(crate) async fn make_databases(postgres: &Postgres) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&admin_url(postgres)).await?;
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

/// Removes the data also where it lies outside of `folder`.
pub(crate) fn wipe(folder: &Path) -> anyhow::Result<()> {
    let link = folder.join("postgres");
    if link.is_symlink()
        && let Ok(elsewhere) = link.canonicalize()
        && elsewhere.starts_with(DATA_ELSEWHERE)
    {
        fs::remove_dir_all(elsewhere)?;
    }
    Ok(())
}

pub(crate) fn url(postgres: &Postgres, database: &str) -> String {
    let Postgres { host, port, .. } = postgres;
    format!("postgres://{database}@{host}:{port}/{database}")
}

fn admin_url(postgres: &Postgres) -> String {
    let Postgres { host, port, .. } = postgres;
    format!("postgres://postgres@{host}:{port}/postgres")
}

async fn make_roles(admin_url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(admin_url).await?;
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
async fn execute(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(connection).await.context(sql)?;
    Ok(())
}

/// Where `initdb` and `postgres` are: Debian keeps them off the PATH, a folder for each version.
fn programs() -> anyhow::Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return Ok(bin);
    }
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .find(|bin| bin.join("initdb").exists())
        .context("Postgres is not installed: run deploy/setup")
}

/// Who the server runs as: Postgres refuses root.
enum Owner {
    Us,
    Postgres(User),
}

impl Owner {
    fn of_the_server() -> anyhow::Result<Owner> {
        if !Uid::effective().is_root() {
            return Ok(Owner::Us);
        }
        match User::from_name("postgres")? {
            Some(user) => Ok(Owner::Postgres(user)),
            None => bail!("Postgres does not run as root, and there is no user postgres: run deploy/setup"),
        }
    }

    /// From `/`, because user postgres may not be allowed to stand where we are.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Owner::Postgres(user) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command.env("HOME", &user.dir);
        }
        command
    }

    fn data_folder(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let inside = folder.join("postgres");
        if let Ok(made_before) = inside.canonicalize() {
            return Ok(made_before);
        }
        // A link whose goal is gone.
        if inside.is_symlink() {
            fs::remove_file(&inside)?;
        }
        let Owner::Postgres(user) = self else {
            make_closed_folder(&inside)?;
            return Ok(inside);
        };
        let ids = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        make_closed_folder(&inside)?;
        chown(&inside, ids.0, ids.1)?;
        if self.can_enter(&inside)? {
            return Ok(inside);
        }
        fs::remove_dir(&inside)?;
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, folder.as_os_str().as_encoded_bytes());
        let elsewhere = Path::new(DATA_ELSEWHERE).join(format!("postgres-{name}"));
        fs::create_dir_all(DATA_ELSEWHERE)?;
        make_closed_folder(&elsewhere)?;
        chown(&elsewhere, ids.0, ids.1)?;
        symlink(&elsewhere, &inside)?;
        Ok(elsewhere)
    }

    fn can_enter(&self, folder: &Path) -> anyhow::Result<bool> {
        let mut test = self.command(Path::new("test"));
        test.arg("-w").arg(folder).stdin(Stdio::null());
        Ok(test.status()?.success())
    }
}

fn make_closed_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("{} cannot be made", path.display()))
}
