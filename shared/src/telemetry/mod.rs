//! What an operator sees of a process: its log lines, its metrics and, where they are wanted, its spans.

pub mod metrics;
mod about;
pub mod spans;

pub use about::About;
pub use metrics::Metrics;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Settings, Stop};

/// Starts logging to stderr. Called once, before anything else runs.
///
/// # Errors
/// Where `RUST_LOG` cannot be read or something logs already.
pub fn start(settings: &Settings) -> Result<(), Stop> {
    let filter = EnvFilter::try_new(&settings.rust_log)
        .map_err(|error| Stop::setting("RUST_LOG", format!("cannot be read: {error}")))?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let is_terminal = io::stderr().is_terminal();
    let text = match settings.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let started = if text {
        // fmt() honours NO_COLOR by default, which an explicit `true` would override.
        let lines = if is_terminal { lines } else { lines.with_ansi(false) };
        lines.try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).try_init()
    };
    started.map_err(|error| Stop { exit_code: 1, text: format!("error: logging cannot start: {error}\n") })
}
