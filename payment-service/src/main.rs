//! The process of payment-service.

use std::{process::ExitCode, sync::Arc};

use payment_service::{
    Payments, http,
    provider::{
        self,
        choice::{ANSWER_TIMEOUT_DEFAULT, Choice},
    },
};
use shared::{
    config::{Process, Stop},
    engine::{self, Service},
};
use tikv_jemallocator::Jemalloc;

/// Settings: .cargo/config.toml.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

const PROCESS: Process = Process {
    name: "payment-service",
    about: "Asks a payment provider for the money of an order, and gives it back when the order is cancelled",
    http_addr: "127.0.0.1:8083",
    admin_addr: "127.0.0.1:9083",
};

#[derive(Debug, clap::Args)]
struct Provider {
    /// `simulated` (in this process, its books in memory) or the URL of a provider
    #[arg(long, env = "PAYMENT_PROVIDER", default_value = "simulated", help_heading = "Servers")]
    payment_provider: Choice,
}

fn main() -> ExitCode {
    engine::main(&PROCESS, |settings: &Provider| {
        let opened = settings.payment_provider.open(ANSWER_TIMEOUT_DEFAULT);
        let provider = opened
            .map_err(|error| Stop::setting("PAYMENT_PROVIDER", format!("cannot be used: {error:#}")))?;
        let records = provider.clone();
        Ok(Service {
            decider: Payments::default(),
            routes: http::routes,
            caller: Arc::new(move |call| {
                let provider = provider.clone();
                Box::pin(async move { provider::call(&*provider, call).await })
            }),
            reconcile: Some(Arc::new(move |since| {
                let provider = records.clone();
                Box::pin(async move {
                    let compared = provider::reconciliation(&*provider, since).await;
                    compared.map_err(|silent| anyhow::anyhow!("the payment provider: {}", silent.reason))
                })
            })),
        })
    })
}
