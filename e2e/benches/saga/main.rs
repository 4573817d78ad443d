//! `make bench`: the floor and the product in turn, on the same servers, in one run. What is compared is their ratio;
//! the machine is shared, and what it gives differs from run to run. `make bench-sweeps`: that and how it scales, with
//! the page that shows it.

mod floor;
mod run;
mod product;
mod round;
mod table;
mod sweep;
mod log;
mod restart;
mod backlog;
mod machine;
mod results;
mod target;
mod page;
mod panels;
mod plot;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

use product::Product;
use results::Results;
use round::Amount;
use sweep::{Extent, backlog, restarts, sweep};

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
    /// The sweeps too, and write BENCHMARKS.md with its plots
    #[arg(long)]
    sweep: bool,
    #[command(flatten)]
    extent: Extent,
    /// Measure this alone, and write nothing
    #[arg(long, conflicts_with = "sweep", value_name = "PART")]
    only: Option<Part>,
    /// Measure nothing, and write the page anew from what was measured
    #[arg(long, conflicts_with_all = ["sweep", "only"])]
    render: bool,
    /// Where the page is [default: e2e]
    #[arg(long, value_name = "FOLDER", default_value = env!("CARGO_MANIFEST_DIR"), hide_default_value = true)]
    results: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Of the sweeps, what has a system of its own and rests on nothing that was measured before.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Restart,
    Backlog,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let Arguments { dir, orders, runs, rate, seconds, extent, results, only, .. } = arguments;
    let amount = Amount { orders, runs, rate, seconds };
    if arguments.render {
        page::write(&results, &Results::read(&results)?)?;
    } else if let Some(part) = only {
        match part {
            Part::Restart => drop(restarts(&dir, runs, &extent).await?),
            Part::Backlog => drop(backlog(&dir, &extent).await?),
        }
    } else if arguments.sweep {
        let measured = sweep(&dir, amount, &extent, command()).await?;
        measured.write(&results)?;
        page::write(&results, &measured)?;
    } else {
        Product::with(&dir, async |product| round::measure(product, amount).await).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// As somebody else would run the same; folders are theirs.
fn command() -> String {
    let mut more = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--dir" | "--results" => drop(given.next()),
            "--bench" | "--sweep" => {}
            own if own.starts_with("--dir=") || own.starts_with("--results=") => {}
            _ => more.push(argument),
        }
    }
    if more.is_empty() {
        "make bench-sweeps".to_owned()
    } else {
        format!("make bench-sweeps BENCH=\"{}\"", more.join(" "))
    }
}
