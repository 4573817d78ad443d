//! The whole system, spoken to as its users do.

mod edge;
mod paths;
mod malformed;
mod held;
mod letters;
mod thousand;
mod replicas;
mod restored;
mod view;
mod watch;
mod scenario;
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
mod rebuild;
mod disk_full;
mod upgrade;
mod traces;
