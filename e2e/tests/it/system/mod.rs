//! The whole system, spoken to as its users do.

mod edge;
mod paths;
mod malformed;
mod held;
mod thousand;
mod replicas;
mod restored;
mod view;
mod load;
mod operator;
mod outage;
mod kafka_away;
mod clock;
mod rebalance;
mod database_away;
mod backlog;
mod crowd;
mod snapshot;
mod disk_full;
mod upgrade;
