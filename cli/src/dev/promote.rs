//! A failover by hand: the standby takes the place of a primary that is dead.

use std::{mem, path::Path};

use anyhow::bail;
use sqlx::Connection;
use tokio::time::Instant;

use super::{
    nothing_in, postgres,
    process::Process,
    progress::Progress,
    standby,
    state::{Folder, State},
    status::{self, Status},
};
use crate::exit::{Exit, ended};

/// The services notice by themselves. The server that was the primary is the standby from then on; `up` or `restart`
/// copies it anew, since what it has can be ahead of the log that goes on.
///
/// # Errors
/// Refused while the primary runs, since both would take writes, and where neither runs, since either has all.
pub async fn promote(dir: &Path, progress: bool) -> anyhow::Result<Status> {
    let folder = Folder::open_known(dir)?.ok_or_else(|| nothing_in(dir))?;
    let mut state = folder.load()?;
    let progress = Progress::new(progress);
    let promoted = take_over(&mut state, &folder, &progress).await;
    progress.finish();
    folder.save(&state)?;
    promoted?;
    status::of(&state, folder.path()).await
}

async fn take_over(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let Some(standby) = state.standby.as_mut() else {
        let text = format!("there is no standby in {}: fulfil dev up --cluster", folder.path().display());
        return Err(ended(Exit::NotFound, text));
    };
    let primary = &state.postgres;
    if primary.process.is_some_and(Process::is_alive) {
        let text = format!("{} runs and takes writes: promote when it is dead", primary.name);
        return Err(ended(Exit::Refused, text));
    }
    if !standby.process.is_some_and(Process::is_alive) {
        if !primary.is_former {
            let (standby, primary) = (&standby.name, &primary.name);
            let text = format!("{standby} does not run either: fulfil dev restart {primary}");
            return Err(ended(Exit::Refused, text));
        }
        // An earlier call was cut off after it had given the primary up: what the standby has goes on.
        standby.process = Some(standby::start(standby, primary, folder).await?);
        folder.save(state)?;
    }
    let since = Instant::now();
    // Remembered before it is done: whatever happens from here on, nobody starts the old one as a primary again.
    state.postgres.is_former = true;
    folder.save(state)?;
    let Some(standby) = state.standby.as_mut() else { return Ok(()) };
    postgres::wait_until_it_answers(standby, folder, progress).await?;
    progress.waiting_for(&format!("{} to take over", standby.name));
    let mut connection = postgres::admin(standby).await?;
    sqlx::raw_sql(standby::ALONE).execute(&mut connection).await?;
    sqlx::raw_sql(standby::RELOAD).execute(&mut connection).await?;
    // It is one already where an earlier call was cut off after this.
    let promoted: bool = sqlx::query_scalar("select not pg_is_in_recovery() or pg_promote()")
        .fetch_one(&mut connection)
        .await?;
    if !promoted {
        bail!("{} does not take over: its log says why", standby.name);
    }
    connection.close().await?;
    mem::swap(&mut state.postgres, standby);
    standby.process = None;
    progress.done(&format!("{} takes the writes", state.postgres.name), since);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[tokio::test]
    async fn without_a_standby_there_is_nothing_to_promote() {
        let folder = tempfile::tempdir().unwrap();
        let error = promote(folder.path(), false).await.unwrap_err();
        assert_eq!(exit::of(&error), Exit::NotFound);
        Folder::open(folder.path()).unwrap().save(&State::default()).unwrap();
        let error = promote(folder.path(), false).await.unwrap_err();
        assert_eq!(exit::of(&error), Exit::NotFound);
        assert!(error.to_string().contains("--cluster"), "{error}");
    }
}
