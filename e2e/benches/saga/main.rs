//! `make bench`: the floor and the product in turn, on the same servers, in one run. What is compared is their ratio;
//! the machine is shared, and what it gives differs from run to run.

mod floor;
mod product;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;

use floor::Floor;
use product::Product;

#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// The folder of the system, which is made anew
    #[arg(long, default_value = ".servers/bench")]
    dir: PathBuf,
    /// Of each saturated run
    #[arg(long, default_value_t = 20_000)]
    orders: usize,
    /// How often floor and product run in turn
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Orders a second of the runs that are not saturated
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How long those last
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let product = Product::start(&arguments.dir).await.context("the system does not start")?;
    let measured = measure(&arguments, &product).await;
    // Also after a failure: nothing is left running.
    product.stop().await?;
    measured?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(arguments: &Arguments, product: &Product) -> anyhow::Result<()> {
    let status = product.status().await?;
    // A cold broker takes twice the time: the first run of each is thrown away.
    let (mut saturated, mut paced) = (Vec::new(), Vec::new());
    for run in 0..=arguments.runs {
        let floor = floor::run(&status, Floor { orders: arguments.orders, rate: None }).await?;
        let ours = product.load(&["--orders", &arguments.orders.to_string()]).await?;
        table::tell(if run == 0 { "warm-up" } else { "saturated" }, &floor, &ours);
        if run > 0 {
            saturated.push((floor, ours));
        }
    }
    for _ in 0..arguments.runs {
        let orders = (arguments.rate * arguments.seconds as f64) as usize;
        let floor = floor::run(&status, Floor { orders, rate: Some(arguments.rate) }).await?;
        let rate = format!("{}/s", arguments.rate);
        let duration = format!("{}s", arguments.seconds);
        let ours = product.load(&["--rate", &rate, "--duration", &duration]).await?;
        table::tell("paced", &floor, &ours);
        paced.push((floor, ours));
    }
    table::summary("saturated", &saturated);
    table::summary(&format!("at {} orders/s", arguments.rate), &paced);
    Ok(())
}
