//! The `fulfil` program: command line in, exit code out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::dev;

#[derive(Debug, Parser)]
#[command(
    name = "fulfil",
    version,
    about = "Order fulfilment by choreography: start it, use it, look into it"
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
    /// Everything on this machine, without containers
    Dev(dev::DevArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Dev(args) => dev::run(args, arguments.json).await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("fulfil: {error:#}");
        ExitCode::FAILURE
    })
}
