//! Connections, migrations, and what a database must be before a service works on it.

use std::{collections::HashMap, io, time::Duration};

use sqlx::{ConnectOptions, Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::{StoreError, node};
use crate::contract::envelope::Mode;

/// The seven tables and `append`. The projector and a service with tables of its own run theirs beside it, numbered
/// from 1001.
pub static MIGRATOR: Migrator = sqlx::migrate!();

const MIGRATION_LOCK_TIMEOUT: &str = "2s";
const MIGRATION_ATTEMPTS_MAX: u32 = 30;
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);

/// Why a process must not work on this database. Waiting does not help: exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("DATABASE_URL is not a Postgres URL: {0}")]
    Url(sqlx::Error),
    #[error("the database is a standby (pg_is_in_recovery): decide and publish on the primary only")]
    Standby,
    #[error(
        "{setting} is {value}: an event could be published that a crash then forgets; set it to {wanted}"
    )]
    NotDurable { setting: &'static str, value: String, wanted: &'static str },
    #[error("migration {0} is missing: run `migrate` first")]
    NotMigrated(i64),
    #[error(
        "migration {0} was another one when this database was made: it is of a build before a release; make a new one"
    )]
    OtherMigration(i64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Unfit {
    /// For whoever has worked on this database before: a standby at its address is then a failover under way.
    pub fn after_start(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Standby => StoreError::Unavailable(sqlx::Error::Io(io::Error::other(self))),
            unfit => StoreError::Corrupt(unfit.to_string()),
        }
    }
}

/// What every connection of ours asks for, whatever its role says.
fn ours(options: PgConnectOptions, application_name: &str) -> PgConnectOptions {
    options
        .application_name(application_name)
        .options([
            // Plans made while the tables were empty would stay for ever.
            ("plan_cache_mode", "force_custom_plan"),
            // Statements of milliseconds would be compiled for half a second each time: what must go by a key has a plan
            // that seems dear wherever it cannot.
            ("jit", "off"),
            // `append` reads after its lock, which needs a snapshot per statement.
            ("default_transaction_isolation", "read committed"),
            // A call whose client is gone stops waiting for the lock.
            ("client_connection_check_interval", "1s"),
        ])
        .disable_statement_logging()
}

/// For a connection whose statements all look up by key: one plan for each, made once. Whatever statistics say, it goes by an
/// index, so that it does not matter how full the tables were when it was made.
pub const BY_KEY: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
];

/// To the server that takes writes, whichever of the URL's that is now.
pub async fn connect(url: &str, application_name: &str) -> Result<PgConnection, Unfit> {
    connect_with(url, application_name, &[]).await
}

/// The same with settings of the caller's own, for the session's whole life.
pub async fn connect_with(
    url: &str,
    application_name: &str,
    settings: &[(&str, &str)],
) -> Result<PgConnection, Unfit> {
    node::primary(url, |node| ours(node, application_name).options(settings.iter().copied())).await
}

/// Whether this database, the primary of its servers, may be decided and published on. The projector, whose rows and
/// positions are lost together, does not ask for durability.
pub async fn check(connection: &mut PgConnection, mode: Mode) -> Result<(), Unfit> {
    let (synchronous_commit, fsync): (String, String) =
        sqlx::query_as("select current_setting('synchronous_commit'), current_setting('fsync')")
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::from)?;
    if mode == Mode::Production {
        if !["on", "remote_apply"].contains(&synchronous_commit.as_str()) {
            let setting = "synchronous_commit";
            return Err(Unfit::NotDurable { setting, value: synchronous_commit, wanted: "on" });
        }
        if fsync != "on" {
            return Err(Unfit::NotDurable { setting: "fsync", value: fsync, wanted: "on" });
        }
    }
    check_migrated(connection, &MIGRATOR).await
}

/// A serving process never migrates. A newer database is fine: migrations only add.
pub async fn check_migrated(connection: &mut PgConnection, migrator: &Migrator) -> Result<(), Unfit> {
    let first = migrator.iter().map(|migration| migration.version).min().unwrap_or_default();
    let table: Option<String> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::text")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::from)?;
    if table.is_none() {
        return Err(Unfit::NotMigrated(first));
    }
    let applied: HashMap<i64, Vec<u8>> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success")
            .fetch_all(connection)
            .await
            .map_err(StoreError::from)?
            .into_iter()
            .collect();
    for migration in migrator.iter() {
        match applied.get(&migration.version) {
            None => return Err(Unfit::NotMigrated(migration.version)),
            Some(checksum) if **checksum != *migration.checksum => {
                return Err(Unfit::OtherMigration(migration.version));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Brings the log's tables up to date. Safe to run at any time, by several at once, and beside running services: it
/// waits for a lock only briefly, since whoever waits for a table makes everyone behind it wait too.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    migrate_with(url, &MIGRATOR).await
}

/// The same for tables of another crate.
pub async fn migrate_with(url: &str, migrator: &Migrator) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
    // Of newer builds, and of the other crate.
    migrator.set_ignore_missing(true);
    let mut attempt = 1;
    loop {
        let mut connection = connect(url, "migrate").await?;
        // Building an index on a full table takes long; waiting for a lock must not.
        sqlx::query(
            "select set_config('lock_timeout', $1, false), set_config('statement_timeout', '0', false)",
        )
        .bind(MIGRATION_LOCK_TIMEOUT)
        .execute(&mut connection)
        .await?;
        let Err(error) = migrator.run_direct(None, &mut connection, false).await else {
            connection.close().await?;
            return Ok(());
        };
        if attempt == MIGRATION_ATTEMPTS_MAX || !is_lock_timeout(&error) {
            return Err(error.into());
        }
        tracing::info!(attempt, "a table is in use, so the migration waits and tries again");
        attempt += 1;
        // Not while it pauses: the session holds the lock of all migrations.
        drop(connection);
        tokio::time::sleep(MIGRATION_PAUSE).await;
    }
}

fn is_lock_timeout(error: &sqlx::migrate::MigrateError) -> bool {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
    let (Execute(error) | ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}
