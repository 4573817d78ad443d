//! The schemas of the projector's database, and how they come to be.
//!
//! Schema `view` is what is served. What is sent (dead letters, the relay's cursors) is in `public`, made by the
//! same migrations as in the write databases.

use shared::log::connect::{self, Unfit};
use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrator};

use super::second;

/// The tables of one view, without the name of its schema.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The schema that is served.
pub const SERVED: &str = "view";

/// The one beside it, where there is one (second.rs).
pub const SECOND: &str = "second";

/// Brings the database to this build's schema. Safe to run at any time and by several at once.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    connect::migrate(url).await?;
    migrate_schema(url, SERVED).await?;
    let mut connection = connect::connect(url, "migrate").await?;
    let second = second::find(&mut connection).await?;
    connection.close().await?;
    match second {
        Some(_) => migrate_schema(url, SECOND).await,
        None => Ok(()),
    }
}

/// The tables of one view in a schema of its own, which also remembers how far it was migrated.
pub async fn migrate_schema(url: &str, schema: &str) -> anyhow::Result<()> {
    let mut connection = connect::connect(url, "migrate").await?;
    // Two that start at once both see no schema, and one of them would fail.
    let create = format!(
        "do $$ begin
           perform pg_advisory_xact_lock(hashtext('schema {schema}'));
           create schema if not exists {schema};
         end $$"
    );
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
    connection.close().await?;
    connect::migrate_with(&inside(url, schema), &MIGRATOR).await
}

/// The address at which the tables of `schema` are found, for whoever knows nothing of schemas.
pub fn inside(url: &str, schema: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options[search_path]={schema},public")
}

/// A connection that finds the tables of `schema`, and behind them those in `public`.
pub async fn connection(url: &str, application_name: &str, schema: &str) -> Result<PgConnection, Unfit> {
    connection_with(url, application_name, schema, &[]).await
}

/// The same with settings of the caller's own, for the session's whole life.
pub async fn connection_with(
    url: &str,
    application_name: &str,
    schema: &str,
    settings: &[(&str, &str)],
) -> Result<PgConnection, Unfit> {
    let search_path = format!("{schema},public");
    let mut settings = settings.to_vec();
    settings.push(("search_path", &search_path));
    // Rows and positions are lost together, and what is lost is folded again.
    settings.push(("synchronous_commit", "off"));
    connect::connect_with(url, application_name, &settings).await
}

/// Whether this build's tables are there.
pub async fn check(connection: &mut PgConnection) -> Result<(), Unfit> {
    connect::check_migrated(connection, &MIGRATOR).await
}
