//! Boundaries at which a test makes a process die, fail or stall. There are none in a build without the feature
//! `failpoints`: both functions are then empty.
//!
//! They are armed over the admin port (`PUT /failpoints/NAME`), one process at a time, so whoever died comes back
//! unarmed. The pattern is that of TiKV, and so is the crate that counts hits.

use crate::log::StoreError;

/// A place where a process may die or stall.
#[inline]
pub fn pass(path: &'static str, boundary: &'static str) {
    #[cfg(feature = "failpoints")]
    armed::meet(path, boundary);
    #[cfg(not(feature = "failpoints"))]
    let _ = (path, boundary);
}

/// The same where a call to the database can also fail, with an outcome that is not known.
#[inline]
pub fn fallible(path: &'static str, boundary: &'static str) -> Result<(), StoreError> {
    #[cfg(feature = "failpoints")]
    if armed::meet(path, boundary) {
        let error = std::io::Error::other(format!("failpoint {path}.{boundary}"));
        return Err(StoreError::Unavailable(sqlx::Error::Io(error)));
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = (path, boundary);
    Ok(())
}

#[cfg(feature = "failpoints")]
pub(crate) mod armed {
    use std::{
        collections::BTreeMap,
        process,
        sync::{Mutex, MutexGuard, PoisonError},
        thread,
        time::Duration,
    };

    use axum::{Json, Router, extract::Path, http::StatusCode, routing::get};
    use nix::sys::signal::{Signal, raise};
    use rand::Rng;
    use serde::Serialize;
    use tracing::warn;

    /// A call to the database takes about so long, so who dies after it dies before, during or after the call.
    const SOON_US_MAX: u64 = 3_000;

    #[derive(Debug, Clone, Copy, Default, Serialize)]
    struct Counts {
        /// How often the process came by.
        passed: u64,
        /// How often it was made to fail or stall there.
        fired: u64,
    }

    static COUNTS: Mutex<BTreeMap<String, Counts>> = Mutex::new(BTreeMap::new());

    fn counts() -> MutexGuard<'static, BTreeMap<String, Counts>> {
        COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what was asked for this place. True: it shall fail.
    pub(super) fn meet(path: &str, boundary: &str) -> bool {
        let name = format!("{path}.{boundary}");
        let asked = asked(&name);
        let mut all = counts();
        let known = all.entry(name.clone()).or_default();
        known.passed += 1;
        known.fired += u64::from(asked.is_some());
        drop(all);
        let Some(action) = asked else { return false };
        warn!(failpoint = name, action, "hit");
        match action.split_once(':') {
            None if action == "abort" => process::abort(),
            None if action == "abort-soon" => {
                thread::spawn(|| {
                    thread::sleep(Duration::from_micros(rand::rng().random_range(0..SOON_US_MAX)));
                    process::abort();
                });
                false
            }
            // All of the process, right here, until somebody lets it go on (SIGCONT).
            None if action == "freeze" => {
                raise(Signal::SIGSTOP).unwrap_or_else(|error| warn!(%error, "not frozen"));
                false
            }
            None => true,
            // Of the thread, as a stall is: what else runs on it waits as well.
            Some((_, ms)) => {
                thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
                false
            }
        }
    }

    fn asked(name: &str) -> Option<String> {
        fail::fail_point!(name, |action: Option<String>| action);
        None
    }

    /// `GET /failpoints` counts; `PUT /failpoints/NAME` with a body such as `3*off->1*return(abort)` arms, and with
    /// `off` disarms. Actions: `abort`, `abort-soon`, `freeze`, `error`, `delay:MS`.
    pub(crate) fn routes() -> Router {
        Router::new()
            .route("/failpoints", get(async || Json(counts().clone())))
            .route("/failpoints/{name}", axum::routing::put(arm))
    }

    async fn arm(Path(name): Path<String>, actions: String) -> (StatusCode, String) {
        match fail::cfg(name, &actions) {
            Ok(()) => (StatusCode::NO_CONTENT, String::new()),
            Err(error) => (StatusCode::BAD_REQUEST, error),
        }
    }
}
