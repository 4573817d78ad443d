//! What a database must be before a service works on it.

use shared::{
    contract::envelope::Mode,
    log::connect::{Unfit, check, migrate},
};
use sqlx::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

#[tokio::test]
async fn a_database_without_the_tables_is_refused_until_it_is_migrated() {
    let url = testing::database().await;
    let mut connection = connect(&url).await;
    let unfit = check(&mut connection, Mode::Production).await;
    assert!(matches!(unfit, Err(Unfit::NotMigrated(1))), "{unfit:?}");
    // Twice at once and once more: as on a deploy of several replicas.
    let (first, second) = tokio::join!(migrate(&url), migrate(&url));
    first.and(second).unwrap();
    migrate(&url).await.unwrap();
    check(&mut connection, Mode::Production).await.unwrap();
    // Tables of a text that this build does not have.
    let edited = "update _sqlx_migrations set checksum = '' where version = 2";
    sqlx::query(edited).execute(&mut connection).await.unwrap();
    let unfit = check(&mut connection, Mode::Production).await;
    assert!(matches!(unfit, Err(Unfit::OtherMigration(2))), "{unfit:?}");
}

#[tokio::test]
async fn production_refuses_commits_that_a_crash_forgets() {
    let mut connection = fresh().await;
    for (value, fits) in [("off", false), ("local", false), ("on", true), ("remote_apply", true)] {
        sqlx::query("select set_config('synchronous_commit', $1, false)")
            .bind(value)
            .execute(&mut connection)
            .await
            .unwrap();
        let checked = check(&mut connection, Mode::Production).await;
        assert_eq!(checked.is_ok(), fits, "{value}: {checked:?}");
        check(&mut connection, Mode::Development).await.unwrap();
    }
}

#[tokio::test]
async fn a_migration_waits_for_a_table_in_use_without_blocking_it() {
    let url = testing::database().await;
    let mut user = connect(&url).await;
    let mut in_use = user.begin().await.unwrap();
    // The name that the first migration wants.
    sqlx::query("create table event ()").execute(&mut *in_use).await.unwrap();
    let migration = tokio::spawn({
        let url = url.clone();
        async move { migrate(&url).await }
    });
    let mut other = connect(&url).await;
    let mut waiting: Option<i32> = None;
    until(async || {
        let session = "select pid from pg_stat_activity
                       where datname = current_database() and application_name = 'migrate' and wait_event_type = 'Lock'";
        waiting = sqlx::query_scalar(session).fetch_optional(&mut other).await.unwrap();
        waiting.is_some()
    })
    .await;
    until(async || {
        // It gave up at its lock time-out and comes again, in a session of its own.
        let gone = "select count(*) = 0 from pg_stat_activity where pid = $1";
        sqlx::query_scalar(gone).bind(waiting).fetch_one(&mut other).await.unwrap()
    })
    .await;
    in_use.rollback().await.unwrap();
    migration.await.unwrap().unwrap();
    check(&mut user, Mode::Production).await.unwrap();
}

#[tokio::test]
async fn a_connection_has_what_we_rest_on_whatever_its_role_says() {
    let mut connection = fresh().await;
    for (setting, value) in [
        ("default_transaction_isolation", "read committed"),
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        ("client_connection_check_interval", "1s"),
    ] {
        let found: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(found, value, "{setting}");
    }
}

/// One that lets nobody in: its host-based authentication was set up wrongly, say.
async fn refusing_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            // First whether it speaks TLS, in eight bytes.
            while let Ok(8) = client.read(&mut asked).await {
                let _ = client.write_all(b"N").await;
            }
            let refusal = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0";
            let length = (refusal.len() as u32 + 4).to_be_bytes();
            // Who has gone by now asks again.
            let _ = client.write_all(&[b"E", &length[..], refusal].concat()).await;
        }
    });
    port
}

#[tokio::test]
async fn of_several_servers_one_that_refuses_us_is_named_and_ends_nobody() {
    let url = testing::database().await;
    let refusing = format!("127.0.0.1:{}", refusing_server().await);
    let beside_the_primary = url.replacen('@', &format!("@{refusing},"), 1);
    let mut connection = log::connect::connect(&beside_the_primary, "test").await.unwrap();
    connection.ping().await.unwrap();
    // The other one is away, and may come back.
    let (before, _) = url.split_once('@').unwrap();
    let nobody = log::connect::connect(&format!("{before}@{refusing},127.0.0.1:1/shop"), "test").await;
    let Err(Unfit::Store(error)) = nobody else { panic!("{nobody:?}") };
    assert!(error.is_infrastructure(), "{error}");
    assert!(error.to_string().contains(&format!("{refusing}: ")), "{error}");
    assert!(error.to_string().contains("no pg_hba.conf entry"), "{error}");
}
