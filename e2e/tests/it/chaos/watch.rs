//! The look at the logs every second, while everything breaks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cli::audit::Conservation;
use e2e::system::System;
use tokio::{sync::watch as channel, task::JoinHandle, time::sleep};

use super::fault::SERVICES;

const EVERY: Duration = Duration::from_secs(1);
const SECONDS_A_LOOK_MAX: u64 = 5;
/// A busy machine makes a connection late.
const LAST_LOOKS: usize = 10;

pub(crate) struct Watch {
    violations: Arc<Mutex<Vec<String>>>,
    watching: JoinHandle<Watched>,
}

pub(crate) struct Watched {
    pub(crate) events: i64,
    pub(crate) looks: u64,
    pub(crate) seconds: u64,
}

impl Watch {
    pub(crate) fn start(system: &System, stopped: channel::Receiver<bool>) -> Self {
        // The projector has no log.
        let logs: Vec<(String, String)> = SERVICES[..3]
            .iter()
            .map(|name| ((*name).to_owned(), system.service(name).database.clone()))
            .collect();
        let violations = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::clone(&violations);
        let watching = tokio::spawn(async move {
            let (mut conservation, mut looks, begun) = (Conservation::default(), 0, Instant::now());
            let mut last_looks = 0..LAST_LOOKS;
            loop {
                // Once more after the end, over all that there is.
                let is_over = *stopped.borrow();
                // The database is away now and then; that is what is tried here.
                let looked = conservation.follow(&logs).await;
                looks += u64::from(looked.is_ok());
                let violations =
                    conservation.found().iter().map(|violation| format!("{violation:?}")).collect();
                *found.lock().unwrap_or_else(PoisonError::into_inner) = violations;
                if is_over && (looked.is_ok() || last_looks.next().is_none()) {
                    looked.expect("the databases are there at the end");
                    return Watched {
                        events: conservation.events(),
                        looks,
                        seconds: begun.elapsed().as_secs(),
                    };
                }
                sleep(EVERY).await;
            }
        });
        Self { violations, watching }
    }

    pub(crate) fn assert_well(&self) {
        let violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(violations.is_empty(), "{violations:?}");
    }

    pub(crate) async fn stop(self) -> Watched {
        let Self { violations, watching } = self;
        let watched = watching.await.unwrap();
        let violations = violations.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(violations.is_empty(), "{violations:?}");
        // A database that is away, and a machine that has no time, cost some.
        let Watched { looks, seconds, .. } = watched;
        assert!(looks > seconds / SECONDS_A_LOOK_MAX, "the logs were looked at {looks} times in {seconds} s");
        watched
    }
}
