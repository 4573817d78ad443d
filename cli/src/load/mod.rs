//! `fulfil load run`: so many orders, or so many a second, and how the system stands it. Orders are watched from outside,
//! at the topics and at the view; what the processes take is read from the kernel.
//!
//! Shapes of an open loop and of coordinated omission: Gil Tene, "How NOT to measure latency" (2015).

mod mix;
mod traffic;
mod pace;
mod book;
mod topic;
mod http;
mod ends;
mod sight;
mod usage;
mod storage;
mod latency;
mod report;
mod run;
mod backlog;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

pub use backlog::Backlog;
pub use latency::Latency;
pub use usage::{Cpu, Resident};

use crate::{
    event::duration_arg,
    exit::{Exit, ended},
    kafka::Rate,
    order::Via,
    output::Output,
    place::PlaceArgs,
};
use mix::Mix;
use pace::Pace;
use run::{Load, run_load};
use traffic::Shape;

#[derive(Debug, Args)]
pub struct LoadArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: LoadCommand,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    /// Send orders and measure until the last has ended and is in the view
    Run(Box<RunArgs>),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil load run --orders 20000
  fulfil load run --rate 50/s --duration 60s --via http
  fulfil load run --rate 500/s --duration 60s --mix completed=80,out_of_stock=10,declined=5,cancelled=5
  fulfil load run --orders 20000 --hot-share 0.9 --json")]
struct RunArgs {
    /// So many, as fast as they are taken [default: 1000, or as --rate and --duration say]
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u32).range(1..=i64::from(ORDERS_MAX)))]
    orders: Option<u32>,
    /// Evenly, whatever becomes of those before, such as 500/s
    #[arg(long)]
    rate: Option<Rate>,
    /// For how long, with --rate [default: 60s]
    #[arg(long, value_parser = duration_arg, value_name = "TIME", requires = "rate")]
    duration: Option<Duration>,
    /// Over HTTP, or as commands on orders.commands
    #[arg(long, value_enum, default_value_t = Via::Topic)]
    via: Via,
    /// Shares of completed, out_of_stock, declined and cancelled orders
    #[arg(long, default_value = "completed=1", value_name = "FATE=N,…")]
    mix: Mix,
    /// How many different skus there are
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    skus: u32,
    /// Lines of each order, of a sku each
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    lines: u32,
    /// Share of the orders that want one and the same sku, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    hot_share: f64,
    /// Without --rate: orders that have not ended yet at most [default: no limit]
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Orders before those that are measured
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(ORDERS_MAX)))]
    warm_up: u32,
    /// Which orders are drawn
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How long nothing may end, or the view may be behind, before the run is given up
    #[arg(long, default_value = "60s", value_parser = duration_arg, value_name = "TIME")]
    patience: Duration,
}

pub async fn run(args: LoadArgs, output: Output) -> anyhow::Result<ExitCode> {
    let LoadCommand::Run(run) = args.command;
    let load = load(&run)?;
    let place = args.place.resolve()?;
    let report = tokio::select! {
        report = run_load(&place, &load, !output.json) => report?,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted.into()),
    };
    report.show(output)?;
    Ok(report.exit().into())
}

const ORDERS_MAX: u32 = 10_000_000;
const ORDERS_DEFAULT: usize = 1_000;
const DURATION_DEFAULT: Duration = Duration::from_secs(60);

fn load(args: &RunArgs) -> anyhow::Result<Load> {
    if args.lines > args.skus {
        let text =
            format!("an order of {} lines needs as many skus, and there are {}", args.lines, args.skus);
        return Err(ended(Exit::Usage, text));
    }
    let orders = match (args.orders, args.rate) {
        (Some(orders), _) => orders as usize,
        (None, None) => ORDERS_DEFAULT,
        (None, Some(rate)) => {
            let duration = args.duration.unwrap_or(DURATION_DEFAULT);
            let orders = (rate.per_second * duration.as_secs_f64()).round().max(1.0);
            if orders > ORDERS_MAX as f64 {
                let text =
                    format!("--rate and --duration make {orders} orders, and a run has {ORDERS_MAX} at most");
                return Err(ended(Exit::Usage, text));
            }
            orders as usize
        }
    };
    let in_flight_max = args.in_flight.map_or(usize::MAX, |orders| orders as usize);
    Ok(Load {
        shape: Shape {
            mix: args.mix.clone(),
            skus: args.skus as usize,
            lines: args.lines as usize,
            hot_share: args.hot_share,
        },
        pace: Pace { orders, rate: args.rate, in_flight_max },
        via: args.via,
        warm_up: args.warm_up as usize,
        seed: args.seed,
        patience: args.patience,
    })
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number from 0 to 1"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not from 0 to 1")) }
}
