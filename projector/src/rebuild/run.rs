//! Who fills the second view, and makes it change places with the one that serves when that is asked for.
//!
//! Every replica looks whether there is something to do; the one that has the lock does it. What it stands on is in the
//! database, so after a crash the next one goes on from there.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::{Context, bail};
use shared::{
    broker::{BrokerSettings, topics::partition_count},
    contract::{Timestamp, envelope::Mode},
    log::{self, StoreError},
    shutdown::Shutdown,
};
use sqlx::PgConnection;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::{
    Letters,
    following::{Following, learn},
    reader::{self, Heard},
};
use crate::{
    ends,
    project::{Projection, Store, lag::Lag},
    read_model::{
        compare,
        schema::{self, SECOND, SERVED},
        second::{self, Wanted},
    },
};

/// How often we look whether there is something to do, and what is wanted.
const WATCH: Duration = Duration::from_millis(250);
/// How often we look whether somebody has stopped reading a view that was given up.
const SWEEP: Duration = Duration::from_secs(15);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// While the served view is further behind than that, it goes first.
const LAG_MAX_MS: i64 = 500;
const LAG_PAUSE: Duration = Duration::from_millis(50);
/// Before each batch.
const LET_PASS_MAX: Duration = Duration::from_secs(1);

/// What a run needs.
#[derive(Clone)]
pub struct Rebuild {
    pub database_url: String,
    pub broker: BrokerSettings,
    pub mode: Mode,
    /// Of the view that serves.
    pub lag: Lag,
}

/// Runs until shutdown is requested. `wake_relay` is called where there are letters to publish.
pub async fn run(rebuild: Rebuild, wake_relay: impl Fn() + Sync, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let pause = match rebuild.attend(&wake_relay, &shutdown).await {
            Ok(()) => WATCH,
            Err(_) if shutdown.is_requested() => return,
            Err(error) => {
                warn!("the second view stands still: {error:#}");
                PAUSE
            }
        };
        tokio::select! {
            () = shutdown.requested() => {}
            () = sleep(pause) => {}
        }
    }
}

impl Rebuild {
    /// Does what there is to do, to its end.
    async fn attend(&self, wake_relay: &(impl Fn() + Sync), shutdown: &Shutdown) -> anyhow::Result<()> {
        let mut control = schema::connection(&self.database_url, "projector-rebuild", SECOND).await?;
        let mut sweeping = interval(SWEEP);
        while !shutdown.is_requested() {
            let second = log::answered(second::find(&mut control)).await?;
            if second.is_some_and(|second| second.is_followed())
                && log::answered(second::lock(&mut control)).await?
            {
                log::answered(second::run(&mut control)).await?;
                let followed = self.follow(&mut control, wake_relay, shutdown).await;
                // Whatever ended it, the process lives. Where it is asked to stop, the connection may be in the middle of a call.
                if !shutdown.is_requested() {
                    log::answered(second::alive(&mut control)).await?;
                }
                return followed;
            }
            tokio::select! {
                () = shutdown.requested() => {}
                () = sleep(WATCH) => {}
                _ = sweeping.tick() => sweep(&mut control).await?,
            }
        }
        Ok(())
    }

    /// Fills the second view and keeps it up with the topics until it is not wanted any more. The lock is that of `control`.
    async fn follow(
        &self,
        control: &mut PgConnection,
        wake_relay: &(impl Fn() + Sync),
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let decided = Arc::new(RwLock::new(Letters::default()));
        let keys = learn(control, &decided).await?;
        let store = Store::impatient(self.database_url.clone(), SECOND, shutdown.clone());
        let mut projection = Projection::second(store, self.mode, Arc::clone(&decided));
        let partitions = partition_count(&self.broker).await?;
        let Some(positions) = projection.assign(&ends::places(partitions)).await else { return Ok(()) };
        projection.decided(keys);
        let heard = reader::start(&self.broker, positions, Arc::clone(&decided), self.mode)?;
        let mut following = Following { projection, heard, decided, wake_relay };
        info!(partitions, "the second view follows the topics");
        let (mut watch, mut is_alive, mut is_at_the_ends) = (interval(WATCH), false, false);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Also at once: what rested is out of the way before another one grows.
        let mut sweeping = interval(SWEEP);
        loop {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                _ = watch.tick() => {
                    let Some(second) = log::answered(second::find(control)).await? else { return Ok(()) };
                    following.learn(control).await?;
                    match second.wanted {
                        Wanted::Switch if is_at_the_ends => {
                            if following.change_places(control).await? {
                                info!("the second view serves from now on");
                                return Ok(());
                            }
                            // Whoever waits for the view that serves does not wait for another try.
                            warn!("the second view did not come level in time, so it goes on following");
                            second::want(control, Wanted::Switch, Wanted::Follow).await?;
                        }
                        Wanted::Follow | Wanted::Switch => {}
                        Wanted::Serve | Wanted::Rest => return Ok(()),
                    }
                    if is_at_the_ends && let Some(comparison) = log::answered(compare::asked(control)).await? {
                        let mut served = schema::connection(&self.database_url, "projector-rebuild", SERVED).await?;
                        following.settle(control, &mut served, comparison, shutdown).await?;
                    }
                    following.take(Vec::new()).await?;
                }
                _ = sweeping.tick() => sweep(control).await?,
                told = following.heard.recv() => match told.context("the thread that reads is gone")? {
                    Heard::Messages(messages) => {
                        // Whole also where it is the first of this run: a run lives once something of it is committed.
                        if is_at_the_ends || !is_alive {
                            following.take(messages).await?;
                        } else {
                            self.let_pass().await;
                            following.fill(messages).await?;
                        }
                        if !is_alive {
                            log::answered(second::alive(control)).await?;
                            is_alive = true;
                        }
                    }
                    Heard::AtTheEnds(next) => {
                        log::answered(second::alive(control)).await?;
                        following.reached(&next).await?;
                        tokio::select! {
                            filled = second::filled(control) => filled?,
                            () = shutdown.requested() => return Ok(()),
                        }
                        info!("the second view has all that is on the topics");
                        is_at_the_ends = true;
                    }
                    Heard::Away(why) => bail!(why),
                    Heard::Failed(why) => {
                        second::stop(control).await?;
                        bail!(why);
                    }
                },
            }
        }
    }

    /// People wait for the view that serves, and for this one nobody does. But not for long where that one stands still.
    async fn let_pass(&self) {
        let until = Instant::now() + LET_PASS_MAX;
        while self.lag.ms(Timestamp::from(std::time::SystemTime::now())) > LAG_MAX_MS
            && Instant::now() < until
        {
            sleep(LAG_PAUSE).await;
        }
    }
}

/// Whoever fills the second view does not stand still for one that cannot be dropped.
async fn sweep(control: &mut PgConnection) -> Result<(), StoreError> {
    match log::answered(second::drop_given_up(control)).await {
        Err(error) if !error.is_infrastructure() => warn!("a view that was given up stays: {error}"),
        swept => swept?,
    }
    Ok(())
}
