//! What breaks, and how it is drawn.

use std::time::Duration;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

pub(crate) const SERVICES: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// kill -9, and started again at once.
    Kill {
        service: &'static str,
    },
    /// kill -9 of one of two, and left dead until its partitions have been taken over.
    KillForGood {
        service: &'static str,
    },
    /// Shorter than a session lasts.
    FreezeShort {
        service: &'static str,
    },
    /// Longer than a session lasts: others take over, and it wakes up as a zombie.
    FreezeLong {
        service: &'static str,
    },
    Terminate {
        service: &'static str,
    },
    Scale {
        replicas: u16,
    },
    BrokerKill,
    PostgresKill,
    PostgresRestart,
    /// Every connection of every service, several times.
    ConnectionsTerminated,
    ProviderKill,
    ProxyDelay {
        delay_ms: u64,
    },
    ProxyCut,
    /// Answers that are lost after the server committed.
    AnswersLost {
        count: u64,
    },
    /// The connection stays, and nothing comes.
    HalfOpen,
}

impl Fault {
    /// How often each kind is drawn, in hundredths.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let service = *SERVICES.choose(rng).unwrap();
        let service_with_state = *SERVICES[..3].choose(rng).unwrap();
        match rng.random_range(0..100) {
            0..20 => Self::Kill { service },
            20..28 => Self::KillForGood { service: service_with_state },
            28..36 => Self::FreezeShort { service },
            36..44 => Self::FreezeLong { service },
            44..52 => Self::Terminate { service },
            52..58 => Self::Scale { replicas: rng.random_range(1..=3) },
            58..66 => Self::BrokerKill,
            66..71 => Self::PostgresKill,
            71..76 => Self::PostgresRestart,
            76..81 => Self::ConnectionsTerminated,
            81..84 => Self::ProviderKill,
            84..88 => Self::ProxyDelay { delay_ms: rng.random_range(20..300) },
            88..92 => Self::ProxyCut,
            92..97 => Self::AnswersLost { count: rng.random_range(10..30) },
            _ => Self::HalfOpen,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "service killed, started at once",
            Self::KillForGood { .. } => "replica killed, others take over",
            Self::FreezeShort { .. } => "service frozen, short",
            Self::FreezeLong { .. } => "service frozen past its session",
            Self::Terminate { .. } => "service terminated",
            Self::Scale { .. } => "scaled",
            Self::BrokerKill => "broker killed",
            Self::PostgresKill => "Postgres killed",
            Self::PostgresRestart => "Postgres restarted",
            Self::ConnectionsTerminated => "connections terminated",
            Self::ProviderKill => "provider killed",
            Self::ProxyDelay { .. } => "database slow",
            Self::ProxyCut => "connections cut",
            Self::AnswersLost { .. } => "answers lost after commit",
            Self::HalfOpen => "connections half open",
        }
    }

    /// How soon orders must end again after the fault has, on a machine that has time for it.
    pub(crate) fn bound(&self) -> Option<Duration> {
        match self {
            Self::Kill { .. } | Self::Terminate { .. } => Some(Duration::from_secs(5)),
            Self::KillForGood { .. } => Some(Duration::from_secs(10)),
            Self::BrokerKill => Some(Duration::from_secs(15)),
            Self::PostgresKill | Self::PostgresRestart | Self::ConnectionsTerminated => {
                Some(Duration::from_secs(10))
            }
            _ => None,
        }
    }

    /// One of every kind, so that a short run has them all.
    pub(crate) const EACH: [Self; 15] = [
        Self::Kill { service: "order-service" },
        Self::KillForGood { service: "payment-service" },
        Self::FreezeShort { service: "inventory-service" },
        Self::AnswersLost { count: 6 },
        Self::BrokerKill,
        Self::FreezeLong { service: "order-service" },
        Self::PostgresKill,
        Self::Terminate { service: "payment-service" },
        Self::ProxyCut,
        Self::Scale { replicas: 3 },
        Self::ConnectionsTerminated,
        Self::ProxyDelay { delay_ms: 150 },
        Self::ProviderKill,
        Self::HalfOpen,
        Self::PostgresRestart,
    ];
}
