//! What a person sees while servers start: one line a finished step, and on a terminal what is being waited for.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// Cheap to clone; clones write to the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
    shown: bool,
}

impl Progress {
    pub(crate) fn new(shown: bool) -> Progress {
        let spinner = (shown && std::io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Progress { spinner, shown }
    }

    pub(crate) fn waiting_for(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("waiting for {what}"));
        }
    }

    pub(crate) fn done(&self, what: &str, since: Instant) {
        self.say(&format!("{what:<58} {:>5.1} s", since.elapsed().as_secs_f32()));
    }

    pub(crate) fn say(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            None if self.shown => eprintln!("{line}"),
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
