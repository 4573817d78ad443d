//! The process of inventory-service.

use std::process::ExitCode;

use inventory_service::{Inventory, http};
use shared::{
    config::{NoExtra, Process},
    engine::{self, Service},
};
use tikv_jemallocator::Jemalloc;

/// Settings: .cargo/config.toml.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

const PROCESS: Process = Process {
    name: "inventory-service",
    about: "Owns the stock: reserved for an order, committed, released or restocked",
    http_addr: "127.0.0.1:8082",
    admin_addr: "127.0.0.1:9082",
};

fn main() -> ExitCode {
    engine::main(&PROCESS, |_: &NoExtra| {
        Ok(Service {
            decider: Inventory,
            routes: http::routes,
            caller: engine::no_calls::<Inventory>(),
            reconcile: None,
        })
    })
}
