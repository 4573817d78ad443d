//! Where tests find a real Kafka and a real Postgres.
//!
//! One pair of servers serves the tests of all crates: `make test` starts it (`fulfil dev up --servers-only`) and names
//! its folder in `FULFIL_TEST_SERVERS`. Nothing here starts a server, and nothing outside tests calls this.

pub mod memory;
pub mod store;
pub mod inbox;
pub mod http;
mod long;

use std::{env, fs, path::PathBuf};

use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

pub use long::{LONG_VARIABLE, is_long, short_or_long};

/// The folder of `fulfil dev up --servers-only`.
pub const SERVERS_VARIABLE: &str = "FULFIL_TEST_SERVERS";
/// Made by `fulfil dev up`: may create databases, and has the same limits as the services' roles.
pub const TEST_ROLE: &str = "fulfil_test";

/// The two addresses that a test needs out of the folder's `state.json`.
#[derive(Debug, Deserialize)]
struct Servers {
    kafka: Kafka,
    postgres: Postgres,
}

#[derive(Debug, Deserialize)]
struct Kafka {
    bootstrap: String,
}

#[derive(Debug, Deserialize)]
struct Postgres {
    host: String,
    port: u16,
}

/// The bootstrap address of the test broker. Topics are shared by all tests: make names of your own.
///
/// # Panics
/// Where no test servers run, saying how to start them.
pub fn kafka() -> String {
    servers().kafka.bootstrap
}

/// The URL of a new, empty database that nobody else uses. It goes away with the servers' folder.
///
/// # Panics
/// Where no test servers run, saying how to start them.
pub async fn database() -> String {
    let Postgres { host, port } = servers().postgres;
    let name = format!("test_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&format!("postgres://{TEST_ROLE}@{host}:{port}/postgres"))
        .await
        .unwrap_or_else(|error| {
            panic!("the test Postgres at {host}:{port} does not answer ({error}); {HOW_TO_START}")
        });
    // Twelve tests that start together make twelve databases at once.
    be_patient(&mut connection).await;
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("the test Postgres did not make database {name}: {error}"));
    format!("postgres://{TEST_ROLE}@{host}:{port}/{name}")
}

/// Takes the limits of the services' roles off a connection of the test itself: a service connects again where a slow
/// machine made it pass one, a test does not.
///
/// # Panics
/// Where the server refuses.
pub async fn be_patient(connection: &mut PgConnection) {
    let patience = "set statement_timeout = '60s'; set lock_timeout = '60s'; \
                    set idle_in_transaction_session_timeout = '60s'";
    sqlx::raw_sql(patience)
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("the test Postgres refused a setting: {error}"));
}

/// Compares a text with a file of the project; `UPDATE=1` writes the file instead.
///
/// # Panics
/// Where they differ, saying how to bring the file up to date.
pub fn committed(path: &str, text: &str) {
    if env::var_os("UPDATE").is_some() {
        return fs::write(path, text).unwrap_or_else(|error| panic!("{path} cannot be written: {error}"));
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{path} is not up to date: run this test with UPDATE=1 and look at what changed");
}

const HOW_TO_START: &str = "`make test` starts test servers by itself; for one test alone run `make servers` \
                            and then the `export` line that it prints";

fn servers() -> Servers {
    let Some(folder) = env::var_os(SERVERS_VARIABLE).map(PathBuf::from) else {
        panic!("{SERVERS_VARIABLE} is not set: this test needs Kafka and Postgres; {HOW_TO_START}");
    };
    let path = folder.join("state.json");
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read ({error}); {HOW_TO_START}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{} is not what `fulfil dev up` writes ({error})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fresh_database_is_empty_and_has_the_limits_of_a_service() {
        let (first, second) = (database().await, database().await);
        assert_ne!(first, second);
        let mut connection = PgConnection::connect(&first).await.unwrap();
        let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(tables, 0);
        let limit: String = sqlx::query_scalar("show lock_timeout").fetch_one(&mut connection).await.unwrap();
        assert_eq!(limit, "5s");
    }
}
