//! Arming the boundaries at which a process dies, fails or stalls, and whether it did.

use std::{fs, time::Duration};

use reqwest::StatusCode;

use super::{System, until};

const DEATH_LIMIT: Duration = Duration::from_secs(60);

/// A failpoint of one process, armed.
#[derive(Clone, Debug)]
pub struct Armed {
    pub service: String,
    pub replica: u16,
    pub name: String,
    pid: Option<i32>,
    admin: String,
    log: String,
    /// Of its log, before it was armed.
    log_bytes: u64,
}

impl System {
    /// `actions` as the crate `fail` reads them: `3*off->1*return(abort)`.
    pub async fn arm(&self, service: &str, replica: u16, name: &str, actions: &str) -> Armed {
        let found = self.status.service(service, replica);
        let found = found.unwrap_or_else(|| panic!("there is no {service} (replica {replica})"));
        let log_bytes = fs::metadata(&found.log).map_or(0, |metadata| metadata.len());
        let armed = Armed {
            service: service.to_owned(),
            replica,
            name: name.to_owned(),
            pid: found.pid,
            admin: found.admin.clone(),
            log: found.log.clone(),
            log_bytes,
        };
        let answer = self.put(&armed, actions).await;
        assert_eq!(answer, Some(StatusCode::NO_CONTENT), "{service} (replica {replica}) does not arm {name}");
        armed
    }

    /// Whoever died of it is unarmed already.
    pub async fn disarm(&self, armed: &Armed) {
        self.put(armed, "off").await;
    }

    /// Waits until whoever was hit is dead: it says so before it dies.
    pub async fn dies(&mut self, armed: &Armed) {
        until(&format!("{} to die of {}", armed.service, armed.name), DEATH_LIMIT, async || {
            let found = self.refresh().await.service(&armed.service, armed.replica);
            (found.and_then(|found| found.pid) != armed.pid).then_some(())
        })
        .await;
    }

    async fn put(&self, armed: &Armed, actions: &str) -> Option<StatusCode> {
        let url = format!("{}/failpoints/{}", armed.admin, armed.name);
        Some(self.http.put(url).body(actions.to_owned()).send().await.ok()?.status())
    }
}

impl Armed {
    /// Whether the process says that it was hit. It writes that down before it dies.
    pub fn was_hit(&self) -> bool {
        let log = fs::read(&self.log).unwrap_or_default();
        let since = usize::try_from(self.log_bytes).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[since..])
            .lines()
            .any(|line| line.contains("failpoint") && line.contains(&format!("\"{}\"", self.name)))
    }
}
