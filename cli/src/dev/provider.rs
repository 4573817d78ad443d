//! `fulfil dev provider`: the simulated payment provider as a process of its own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use payment_service::provider::{behaviour::Behaviour, server};
use shared::shutdown;
use tokio::net::TcpListener;

/// A call is answered or cut off; nothing else is under way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dev provider
  fulfil dev provider --addr 127.0.0.1:9999 --books /tmp/books")]
pub(super) struct ProviderArgs {
    #[arg(long, default_value = "127.0.0.1:8084", value_name = "ADDRESS")]
    addr: SocketAddr,
    /// Where it keeps its books; what it said once it says again after a restart
    #[arg(long, default_value = ".fulfil/provider", value_name = "FOLDER")]
    books: PathBuf,
    #[command(flatten)]
    behaviour: Behaviour,
}

/// Until it is told to stop.
pub(super) async fn provide(args: ProviderArgs) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal(SHUTDOWN_TIMEOUT)?;
    let listener =
        TcpListener::bind(args.addr).await.with_context(|| format!("{} cannot be listened on", args.addr))?;
    eprintln!(
        "the payment provider listens on http://{}, its books are in {}",
        args.addr,
        args.books.display()
    );
    server::serve(listener, &args.books, args.behaviour, shutdown).await
}
