//! The process of order-service.

use std::{process::ExitCode, time::Duration};

use order_service::{Orders, http};
use shared::{
    config::{Process, duration},
    engine::{self, Service},
};
use tikv_jemallocator::Jemalloc;

/// Settings: .cargo/config.toml.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

const PROCESS: Process = Process {
    name: "order-service",
    about: "Owns the fate of every order: created, confirmed or cancelled, completed or settled",
    http_addr: "127.0.0.1:8081",
    admin_addr: "127.0.0.1:9081",
};

#[derive(Debug, clap::Args)]
struct Limits {
    /// How long an order may take to be confirmed, where its creator names no deadline
    #[arg(long, env = "ORDER_DEADLINE", default_value = "15m", value_parser = duration::parse, help_heading = "Limits")]
    order_deadline: Duration,
    /// How long a confirmed order may take to complete before it is shown as overdue
    #[arg(long, env = "COMPLETION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    completion_limit: Duration,
    /// How long a cancelled order may take to settle before it is shown as overdue
    #[arg(long, env = "COMPENSATION_LIMIT", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    compensation_limit: Duration,
}

fn main() -> ExitCode {
    engine::main(&PROCESS, |limits: &Limits| {
        let &Limits { order_deadline, completion_limit, compensation_limit } = limits;
        let decider = Orders { order_deadline, completion_limit, compensation_limit };
        Ok(Service { decider, routes: http::routes, caller: engine::no_calls::<Orders>(), reconcile: None })
    })
}
