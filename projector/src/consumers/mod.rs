//! How the consumer groups stand: what Kafka knows of them, and what the admin ports say that the projector was told of.
//! However many ask, they are asked once in two seconds, and nobody waits for long.

mod kafka;
mod assignment;
mod admin;

use std::{sync::Arc, time::Duration};

use shared::broker::BrokerSettings;
use tokio::{task::spawn_blocking, time::timeout};

use crate::cached::Cached;

pub use admin::{AdminAddr, Process, Said};
pub use kafka::{Group, Partition};

/// By their services.
pub const GROUPS: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
/// For all that is asked of the broker.
const BROKER_ANSWERS_WITHIN: Duration = Duration::from_secs(4);

/// Cheap to clone.
#[derive(Clone)]
pub struct Consumers {
    broker: BrokerSettings,
    admins: Arc<[AdminAddr]>,
    seen: Cached<Standing>,
}

/// As it was seen last.
#[derive(Debug)]
pub struct Standing {
    /// Of [`GROUPS`], in that order; or why the broker does not say.
    pub groups: Result<Vec<Group>, String>,
    /// Those that the projector was told of.
    pub processes: Vec<Process>,
}

impl Consumers {
    pub fn new(broker: &BrokerSettings, admins: &[AdminAddr]) -> Self {
        Self { broker: broker.clone(), admins: admins.into(), seen: Cached::default() }
    }

    pub async fn standing(&self) -> Arc<Standing> {
        self.seen.get(async || self.look().await).await
    }

    /// Without waiting: what is known, if anything is. Whoever asks sees to it that the next one finds it newer.
    pub fn recent(&self) -> Option<Arc<Standing>> {
        let (known, is_fresh) = self.seen.known();
        if !is_fresh {
            let again = self.clone();
            tokio::spawn(async move { again.standing().await });
        }
        known
    }

    async fn look(&self) -> Standing {
        let broker = self.broker.clone();
        let asked = spawn_blocking(move || kafka::groups(&broker, BROKER_ANSWERS_WITHIN));
        // The client may stay with a server that says nothing for longer than it was given.
        let groups = timeout(BROKER_ANSWERS_WITHIN * 2, asked);
        let (groups, processes) = tokio::join!(groups, admin::ask(&self.admins));
        let groups = match groups {
            Ok(Ok(Ok(groups))) => Ok(groups),
            Ok(Ok(Err(error))) => Err(format!("{error:#}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the broker says nothing".to_owned()),
        };
        Standing { groups, processes }
    }
}
