//! What the simulation does to the system, by name. A run of many seeds in which one of them never happened has not
//! tried it, and fails.

pub(super) const ALL: [&str; 40] = [
    // Postgres
    "append refused: the log moved",
    "append refused: fenced",
    "append done before",
    "append answered late",
    "append waited for the lock",
    "answer lost after the commit",
    "connection lost before the call",
    "call landed after its caller had given it up",
    "call of a dead process landed",
    "database killed",
    "connections terminated",
    // Kafka
    "broker away",
    "producer failed",
    "message of a dead producer arrived",
    "acknowledgement late",
    "event published again",
    "message sent twice by its sender",
    "topic late",
    "rebalance",
    "partition assigned again",
    "queue of the consumer full",
    "message read again",
    // Processes
    "killed",
    "killed in the middle of a batch",
    "killed between commit and answer",
    "frozen for a moment",
    "frozen past its session",
    "zombie decided a batch",
    "batch parked",
    "relay took the lead",
    "relay lost the lead",
    // The world outside
    "answer over HTTP lost",
    "process away at the edge",
    "malformed message",
    "event by hand",
    "key held by a dead letter",
    "too early, held",
    "letter redriven",
    "deadline waited for a backlog",
    "provider silent",
];
