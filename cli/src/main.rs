//! The `fulfil` program: command line in, exit code out.

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cli::{
    consumer, demo, dev, dlq, doctor, event, exit, load, man, order, output::Output, overview, projection,
    sales, stock, topic,
};

#[derive(Debug, Parser)]
#[command(
    name = "fulfil",
    version,
    about = "Order fulfilment by choreography: start it, use it, look into it",
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 partly done, 6 waited long enough, \
                  7 unreachable, 78 bad configuration, 130 interrupted"
)]
struct Arguments {
    /// One JSON object a line on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, cancel and look at orders
    Order(order::OrderArgs),
    /// Receive, correct and look at stock
    Stock(stock::StockArgs),
    /// The messages of the contract: list, example, schema, send
    Event(event::EventArgs),
    /// The topics: make them, list them, watch them
    Topic(topic::TopicArgs),
    /// Dead letters: look, mend, redrive, discard
    Dlq(dlq::DlqArgs),
    /// The loops of the services: how they stand, and to let them go on
    Consumer(consumer::ConsumerArgs),
    /// The view: fill a second one, compare, put it in the place of the first, and back
    Projection(projection::ProjectionArgs),
    /// How the whole does, and what needs attention
    Overview(overview::OverviewArgs),
    /// What orders completed with, by hour or by sku
    Sales(sales::SalesArgs),
    /// Is it up, is it keeping up, and does everything add up
    Doctor(doctor::DoctorArgs),
    /// One order down each path of the saga, told as it happens
    Demo(demo::DemoArgs),
    /// Orders in numbers: how fast, how late, at what cost
    Load(load::LoadArgs),
    /// Everything on this machine, without containers
    Dev(dev::DevArgs),
    /// Completions for a shell
    #[command(after_help = "Examples:
  fulfil completions bash > /etc/bash_completion.d/fulfil")]
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Pages of the manual: one a command into a folder, or this program's own to standard output
    #[command(after_help = "Examples:
  fulfil man | man -l -
  fulfil man /usr/local/share/man/man1")]
    Man {
        /// Such as /usr/local/share/man/man1
        folder: Option<PathBuf>,
    },
}

fn command() -> clap::Command {
    man::examples_first(Arguments::command())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::from_arg_matches(&command().get_matches())
        .unwrap_or_else(|error| error.format(&mut command()).exit());
    // The client library's lines and ours, for whoever asks for them.
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let output = Output::new(arguments.json);
    run(arguments, output).await.unwrap_or_else(|error| {
        output.note_toned(cli::output::Tone::Bad, &format!("fulfil: {error:#}"));
        exit::of(&error).into()
    })
}

async fn run(arguments: Arguments, output: Output) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Order(args) => order::run(args, output).await,
        Command::Stock(args) => stock::run(args, output).await,
        Command::Event(args) => event::run(args, output).await,
        Command::Topic(args) => topic::run(args, output).await,
        Command::Dlq(args) => dlq::run(args, output).await,
        Command::Consumer(args) => consumer::run(args, output).await,
        Command::Projection(args) => projection::run(args, output).await,
        Command::Overview(args) => overview::run(args, output).await,
        Command::Sales(args) => sales::run(args, output).await,
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Demo(args) => demo::run(args, output).await,
        Command::Load(args) => load::run(args, output).await,
        Command::Dev(args) => dev::run(args, output).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "fulfil", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder: None } => {
            man::page(command(), &mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder: Some(folder) } => {
            let pages = man::pages(command(), &folder)?;
            output.note(&format!("{pages} pages in {}", folder.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}
