//! The boundaries, who passes them, and what is done to them there.

use e2e::system::Mix;

pub(crate) const ORDER: &str = "order-service";
pub(crate) const INVENTORY: &str = "inventory-service";
pub(crate) const PAYMENT: &str = "payment-service";
pub(crate) const PROJECTOR: &str = "projector";

const WRITERS: &[&str] = &[ORDER, INVENTORY, PAYMENT];
const EVERYBODY: &[&str] = &[ORDER, INVENTORY, PAYMENT, PROJECTOR];
/// Those that owe themselves something in this traffic: deadlines and calls to the provider.
const OWING: &[&str] = &[ORDER, PAYMENT];

/// Path, boundary, who comes by, and whether a call to the database can fail there.
const BOUNDARIES: &[(&str, &str, &[&str], bool)] = &[
    ("message", "taken", WRITERS, false),
    ("message", "decoded", WRITERS, false),
    ("message", "loaded", WRITERS, true),
    ("message", "decided", WRITERS, false),
    ("message", "appending", WRITERS, true),
    ("message", "appended", WRITERS, true),
    ("message", "refused", WRITERS, false),
    ("message", "committed", WRITERS, false),
    ("message", "handed-out", WRITERS, false),
    ("http", "decided", WRITERS, false),
    ("http", "appending", WRITERS, true),
    ("http", "appended", WRITERS, true),
    ("http", "committed", WRITERS, false),
    ("http", "handed-out", WRITERS, false),
    ("task", "selected", OWING, false),
    ("task", "decided", OWING, false),
    ("task", "answered", &[PAYMENT], false),
    ("task", "appending", OWING, true),
    ("task", "appended", OWING, true),
    ("task", "committed", OWING, false),
    ("letter", "decided", WRITERS, false),
    ("letter", "appending", WRITERS, true),
    ("letter", "appended", WRITERS, true),
    ("letter", "written", &[PROJECTOR], true),
    ("letter", "committed", &[PROJECTOR], true),
    ("projection", "writing", &[PROJECTOR], true),
    ("projection", "committed", &[PROJECTOR], true),
    ("relay", "read", WRITERS, true),
    ("relay", "enqueued", EVERYBODY, false),
    ("relay", "acked", EVERYBODY, false),
    ("relay", "saving", EVERYBODY, true),
    ("relay", "saved", EVERYBODY, true),
    ("rebalance", "assigned", EVERYBODY, false),
    ("rebalance", "revoked", EVERYBODY, false),
    ("shutdown", "drained", EVERYBODY, false),
];

/// For the gate: each path, and each way to die.
pub(crate) const SMOKE: [&str; 10] = [
    "message.appending abort-soon at first",
    "message.appended abort at random",
    "message.appended error at first",
    "http.committed abort at first",
    "task.answered abort at first",
    "letter.appended abort at first",
    "projection.writing abort at random",
    "relay.acked abort at random",
    "rebalance.assigned abort at first",
    "shutdown.drained abort at first",
];

/// Longer than a session of a consumer or of a relay lasts.
const STALL: &str = "delay:7000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    First,
    Random,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) path: &'static str,
    pub(crate) boundary: &'static str,
    pub(crate) who: &'static [&'static str],
    pub(crate) action: &'static str,
    pub(crate) hit: Hit,
}

impl Round {
    pub(crate) fn point(&self) -> String {
        format!("{}.{}", self.path, self.boundary)
    }

    pub(crate) fn name(&self) -> String {
        let hit = match self.hit {
            Hit::First => "first",
            Hit::Random => "random",
        };
        let action = if self.action == STALL { "stall" } else { self.action };
        format!("{} {action} at {hit}", self.point())
    }

    /// In which each service comes by often enough. order-service owes itself nothing that falls due but for orders that
    /// expire; of what nobody can read payment-service and the projector get half, and that is all that the projector publishes.
    pub(crate) fn mix(&self) -> Mix {
        match self.path {
            "task" => Mix::silent(),
            "letter" | "relay" => Mix { poison_per_mille: 200, ..Mix::contradicted() },
            _ => Mix::contradicted(),
        }
    }

    pub(crate) fn kills(&self) -> bool {
        self.action.starts_with("abort")
    }
}

pub(crate) fn all() -> Vec<Round> {
    let mut rounds = Vec::new();
    for &(path, boundary, who, can_fail) in BOUNDARIES {
        let mut actions = vec!["abort", STALL];
        if can_fail {
            actions.extend(["error", "abort-soon"]);
        }
        // These come once in a while, so the first is as random as another.
        let hits: &[Hit] = match path {
            "rebalance" | "shutdown" => &[Hit::First],
            _ => &[Hit::First, Hit::Random],
        };
        for action in actions {
            rounds.extend(hits.iter().map(|&hit| Round { path, boundary, who, action, hit }));
        }
    }
    rounds
}
