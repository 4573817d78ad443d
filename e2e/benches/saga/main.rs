//! `make bench`: the floor and the product in turn, on the same servers, in one run. What is compared is their ratio;
//! the machine is shared, and what it gives differs from run to run.

mod floor;
mod product;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;

use floor::{Floor, Story};
use product::Product;
use table::Round;

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
    let round = async |orders: usize, rate: Option<f64>, load: &[&str]| {
        let floor = |story| floor::run(&status, Floor { story, orders, rate });
        anyhow::Ok(Round {
            seven: floor(Story::Seven).await?,
            twelve: floor(Story::Twelve).await?,
            ours: product.load(load).await?,
        })
    };
    let (mut saturated, mut paced) = (Vec::new(), Vec::new());
    for run in 0..=arguments.runs {
        let measured = round(arguments.orders, None, &["--orders", &arguments.orders.to_string()]).await?;
        // A cold broker takes twice the time: the first run of each is thrown away.
        table::tell(if run == 0 { "warm-up" } else { "saturated" }, &measured);
        saturated.extend((run > 0).then_some(measured));
    }
    for _ in 0..arguments.runs {
        let orders = (arguments.rate * arguments.seconds as f64) as usize;
        let (rate, duration) = (format!("{}/s", arguments.rate), format!("{}s", arguments.seconds));
        let measured =
            round(orders, Some(arguments.rate), &["--rate", &rate, "--duration", &duration]).await?;
        table::tell("paced", &measured);
        paced.push(measured);
    }
    table::summary("saturated", &saturated);
    table::summary(&format!("at {} orders/s", arguments.rate), &paced);
    Ok(())
}
