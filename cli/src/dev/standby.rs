//! The second Postgres server of a cluster: a copy that the primary waits for at every commit, so that what was
//! acknowledged is on both.

use std::{fs, path::Path};

use anyhow::Context;
use sqlx::Connection;
use tokio::time::Instant;

use super::{
    owner::{Owner, programs},
    postgres::{self, address, admin},
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    state::{Folder, Postgres},
};

/// What the standby calls itself, and what the primary waits for.
const NAME: &str = "standby";
const SYNCHRONOUS: &str = "alter system set synchronous_standby_names = 'standby'";
/// A promoted server has nobody to wait for; and it must be so before it is one, or its first commits would hang.
pub(crate) const ALONE: &str = "alter system reset synchronous_standby_names";
pub(crate) const RELOAD: &str = "select pg_reload_conf()";

/// Copies the primary where there is nothing to go on from: at first, and after it was the primary itself. The primary
/// must run.
pub(crate) async fn spawn(
    standby: &mut Postgres,
    primary: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<Process> {
    let owner = Owner::of_the_server()?;
    let data = owner.data_folder(&folder.path().join(&standby.name))?;
    // The last file of a copy: one that was cut off has it not.
    if standby.is_former || !data.join("standby.signal").exists() {
        progress.waiting_for("the copy of the primary");
        // What is emptied next may be the only other copy.
        admin(primary).await.context("the primary does not answer")?.close().await?;
        empty(&data)?;
        let source = source(primary);
        let mut copy = owner.command(&programs()?.join("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--dbname", &source, "--pgdata"]).arg(&data);
        run_to_end(&mut copy, &folder.log(&standby.name)).await.context("the primary could not be copied")?;
        standby.is_former = false;
    }
    start(standby, primary, folder).await
}

/// With what it has.
pub(crate) async fn start(
    standby: &Postgres,
    primary: &Postgres,
    folder: &Folder,
) -> anyhow::Result<Process> {
    let owner = Owner::of_the_server()?;
    let data = owner.data_folder(&folder.path().join(&standby.name))?;
    // Said at every start: the primary can have another port than when it was copied.
    let follows = format!("primary_conninfo={}", source(primary));
    postgres::serve(standby, &[&follows], &owner, &data, folder).await
}

fn source(primary: &Postgres) -> String {
    let Postgres { host, port, .. } = primary;
    format!("host={host} port={port} user=postgres application_name={NAME}")
}

/// Ready is when the primary waits for it.
pub(crate) async fn wait_until_ready(
    standby: &Postgres,
    primary: &Postgres,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let log = folder.log(&standby.name);
    wait_until(&standby.name, standby.process, &log, progress, || async {
        follows(primary).await.unwrap_or_else(|error| Err(error.to_string()))
    })
    .await?;
    progress.done(&format!("{} at {}, a synchronous standby", standby.name, address(standby)), since);
    Ok(())
}

async fn follows(primary: &Postgres) -> Result<Result<(), String>, sqlx::Error> {
    let mut connection = admin(primary).await?;
    let follows: Option<(String, String)> =
        sqlx::query_as("select state, sync_state from pg_stat_replication where application_name = $1")
            .bind(NAME)
            .fetch_optional(&mut connection)
            .await?;
    let missing = match follows {
        Some((state, sync_state)) if state == "streaming" && sync_state == "sync" => None,
        // Only now: who waits for a standby that is not there waits for ever.
        Some((state, _)) if state == "streaming" => {
            sqlx::raw_sql(SYNCHRONOUS).execute(&mut connection).await?;
            sqlx::raw_sql(RELOAD).execute(&mut connection).await?;
            Some("the primary does not wait for it yet".to_owned())
        }
        Some((state, _)) => Some(state),
        None => Some("it does not follow yet".to_owned()),
    };
    connection.close().await?;
    Ok(missing.map_or(Ok(()), Err))
}

/// The folder stays, with its owner and its rights.
fn empty(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_folder = path.is_dir() && !path.is_symlink();
        if is_folder { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}
