//! The second view: beside the one that is served, in a schema of its own, until they change places.

use std::collections::HashMap;

use serde::Serialize;
use shared::{config, consumer::Place, contract::Timestamp, log::StoreError};
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};
use utoipa::ToSchema;

use super::{
    schema::{SECOND, SERVED, migrate_schema},
    whole,
};

/// Lock 3 of the projector's database: who fills the second view, or makes and drops it. Held by a session.
const LOCK: i64 = 3;
/// Lock 4: which view is which.
const PLACES: i64 = 4;
/// What the name of a schema that nobody needs any more begins with.
const GIVEN_UP: &str = "given_up_";

/// PostgreSQL, Appendix A: undefined_table, lock_not_available.
const NO_TABLE: &str = "42P01";
const LOCKED: &str = "55P03";

/// Runs in a row that began and committed nothing. What a process died of kills whoever serves, too, so that is enough.
pub const STARTS_MAX: i32 = 3;

/// What a view's own row says of it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Projection {
    pub begun_at: Timestamp,
    pub build: Option<String>,
    pub filled_at: Option<Timestamp>,
    #[sqlx(try_from = "String")]
    pub wanted: Wanted,
    pub run_at: Option<Timestamp>,
    pub run_from: Option<i64>,
    pub starts: i32,
}

impl Projection {
    /// Whether somebody is to see to it that a second view keeps up with the topics.
    pub fn is_followed(&self) -> bool {
        matches!(self.wanted, Wanted::Follow | Wanted::Switch) && self.starts < STARTS_MAX
    }
}

/// What is to become of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Serve,
    /// To be filled and kept up with the topics.
    Follow,
    /// To take the place of the one that serves as soon as it has all that that one has.
    Switch,
    /// It served before and stays as it is.
    Rest,
}

impl Wanted {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Follow => "follow",
            Self::Switch => "switch",
            Self::Rest => "rest",
        }
    }
}

impl TryFrom<String> for Wanted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = [Self::Serve, Self::Follow, Self::Switch, Self::Rest];
        all.into_iter().find(|wanted| wanted.as_str() == text).ok_or(text)
    }
}

/// The rows of both views.
pub async fn both(connection: &mut PgConnection) -> Result<(Projection, Option<Projection>), StoreError> {
    let served = row(connection, SERVED).await?;
    Ok((served, find(connection).await?))
}

/// The second view, where there is one. One that was not made to its end is none.
pub async fn find(connection: &mut PgConnection) -> Result<Option<Projection>, StoreError> {
    if !is_there(connection).await? {
        return Ok(None);
    }
    match row(connection, SECOND).await {
        // Given up since we looked.
        Err(StoreError::Refused(sqlx::Error::Database(error)))
            if error.code().as_deref() == Some(NO_TABLE) =>
        {
            Ok(None)
        }
        second => Ok(Some(second?).filter(|second| second.wanted != Wanted::Serve)),
    }
}

async fn is_there(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = format!("select to_regclass('{SECOND}.projection') is not null");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

async fn row(connection: &mut PgConnection, schema: &str) -> Result<Projection, StoreError> {
    let sql = format!("select * from {schema}.projection");
    Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

/// The next offset of each of its partitions.
pub async fn positions(connection: &mut PgConnection) -> Result<HashMap<Place, i64>, StoreError> {
    whole::positions(connection, Some(SECOND)).await
}

/// Whether nobody else fills, makes or drops it from now on, for the life of the connection.
pub async fn lock(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let locked = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection);
    Ok(locked.await?)
}

/// Makes an empty one, without the indexes that filling it does not need. Whoever calls it has the lock.
pub async fn begin(url: &str, connection: &mut PgConnection) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    hold_places(&mut transaction).await?;
    give_up(&mut transaction).await?;
    transaction.commit().await?;
    migrate_schema(url, SECOND).await?;
    let mut transaction = connection.begin().await?;
    for Index { name, .. } in indexes(&mut transaction, SECOND).await? {
        let sql = format!("drop index {SECOND}.{name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    }
    let sql = format!("update {SECOND}.projection set build = $1, filled_at = null, wanted = $2");
    sqlx::query(AssertSqlSafe(sql))
        .bind(config::BUILD)
        .bind(Wanted::Follow.as_str())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Gives up the second view that is meant, whoever fills it. False where it is not the second one any more.
pub async fn drop(connection: &mut PgConnection, begun_at: Timestamp) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    hold_places(&mut transaction).await?;
    let is_meant = find(&mut transaction).await?.is_some_and(|second| second.begun_at == begun_at);
    if is_meant {
        give_up(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(is_meant)
}

/// At once, also where somebody reads it, such as a dump: its tables go later ([`drop_given_up`]).
async fn give_up(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = format!(
        "do $$
         declare
           given_up text;
         begin
           select '{GIVEN_UP}' || oid into given_up
           from pg_namespace
           where nspname = '{SECOND}';
           if found then
             execute format('alter schema {SECOND} rename to %I', given_up);
           end if;
         end $$"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Drops the views that were given up, but for those that somebody still reads. To be called again.
pub async fn drop_given_up(connection: &mut PgConnection) -> Result<(), StoreError> {
    let schemas: Vec<String> = sqlx::query_scalar(
        "select quote_ident(nspname) from pg_namespace where starts_with(nspname, $1) order by oid",
    )
    .bind(GIVEN_UP)
    .fetch_all(&mut *connection)
    .await?;
    for schema in schemas {
        let mut transaction = connection.begin().await?;
        sqlx::query("set local lock_timeout = '100ms'").execute(&mut *transaction).await?;
        let sql = format!("drop schema if exists {schema} cascade");
        match sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await {
            Ok(_) => transaction.commit().await?,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCKED) => {
                transaction.rollback().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Asks for something else to become of it. False where it is not any more what the caller thinks.
pub async fn want(connection: &mut PgConnection, from: Wanted, to: Wanted) -> Result<bool, StoreError> {
    if !is_there(connection).await? {
        return Ok(false);
    }
    let sql = format!("update {SECOND}.projection set wanted = $2, starts = 0 where wanted = $1");
    let updated = sqlx::query(AssertSqlSafe(sql)).bind(from.as_str()).bind(to.as_str()).execute(connection);
    Ok(updated.await?.rows_affected() > 0)
}

/// A run begins.
pub async fn run(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = format!(
        "update {SECOND}.projection
         set starts = starts + 1,
             run_at = clock_timestamp(),
             run_from = (select coalesce(sum(next), 0) from {SECOND}.position where next > 0)"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// It cannot go on by itself: shown as stopped.
pub async fn stop(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = format!("update {SECOND}.projection set starts = $1");
    sqlx::query(AssertSqlSafe(sql)).bind(STARTS_MAX + 1).execute(connection).await?;
    Ok(())
}

/// The run has committed something, or its process lives. What was stopped stays so.
pub async fn alive(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = format!("update {SECOND}.projection set starts = 0 where starts between 1 and $1");
    sqlx::query(AssertSqlSafe(sql)).bind(STARTS_MAX).execute(connection).await?;
    Ok(())
}

/// It has all that was on the topics: gets the indexes that the served one has. That can take minutes; given up halfway, the
/// connection must go with it.
pub async fn filled(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "select set_config('statement_timeout', '0', true), set_config('maintenance_work_mem', '128MB', true)",
    )
    .execute(&mut *transaction)
    .await?;
    let has = indexes(&mut transaction, SECOND).await?;
    for Index { name, definition } in indexes(&mut transaction, SERVED).await? {
        if has.iter().all(|index| index.name != name) {
            // As pg_indexes writes it: create index name on schema.table …
            let sql = definition.replacen(&format!(" ON {SERVED}."), &format!(" ON {SECOND}."), 1);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        }
    }
    // The topic has them for some weeks, the view for ever.
    let (_, merged) = include_str!("write_letters.sql").split_once("on conflict").unwrap_or_default();
    let sql = format!(
        "insert into {SECOND}.dead_letter_view as known
         select * from {SERVED}.dead_letter_view
         on conflict {merged}"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    let sql = format!("update {SECOND}.projection set filled_at = clock_timestamp() where filled_at is null");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    let sql = format!(
        "analyze {SECOND}.order_view, {SECOND}.timeline, {SECOND}.order_sku, {SECOND}.sale, {SECOND}.pace"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

#[derive(FromRow)]
struct Index {
    name: String,
    definition: String,
}

/// Those that no constraint stands on.
async fn indexes(connection: &mut PgConnection, schema: &str) -> Result<Vec<Index>, StoreError> {
    let found = sqlx::query_as(
        "select indexname::text as name, indexdef as definition
         from pg_indexes
         where schemaname = $1
           and not exists (
             select
             from pg_constraint
             where conindid = format('%I.%I', schemaname, indexname)::regclass
           )
         order by indexname",
    )
    .bind(schema)
    .fetch_all(connection);
    Ok(found.await?)
}

/// Nobody else changes the places of the two views, or drops one, until the transaction ends.
async fn hold_places(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(PLACES).execute(connection).await?;
    Ok(())
}

/// Keeps the served view as it is until the transaction ends. Whoever is about to write it waits, and finds the names anew
/// afterwards (write.sql). Unavailable where somebody has it for longer, such as a vacuum: writers would queue behind us.
pub async fn hold_served(connection: &mut PgConnection) -> Result<(), StoreError> {
    hold_places(connection).await?;
    sqlx::query("set local lock_timeout = '1s'").execute(&mut *connection).await?;
    let sql = format!("lock table {SERVED}.order_view in share row exclusive mode");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Whether the second view has all that the served one has, what an operator decided included.
pub async fn is_level(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = include_str!("second_level.sql");
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

/// The two change places. In one transaction with [`hold_served`], where they are level.
pub async fn change_places(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql(include_str!("second_change.sql")).execute(connection).await?;
    Ok(())
}
