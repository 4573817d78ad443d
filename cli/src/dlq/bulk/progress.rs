//! How far it is, once a second: over itself on a terminal, else a line where something has changed.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::output::Output;

const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Progress {
    output: Output,
    spinner: Option<ProgressBar>,
    ticks: Interval,
    said: String,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Lines of data on the same terminal would be drawn over.
        let spinner = (io::stderr().is_terminal() && !output.json).then(ProgressBar::new_spinner);
        Self { output, spinner, ticks, said: String::new() }
    }

    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    pub(super) fn show(&mut self, said: &str) {
        match &self.spinner {
            Some(spinner) => {
                spinner.set_message(said.to_owned());
                spinner.tick();
            }
            None if self.said != said => self.output.note(said),
            None => {}
        }
        said.clone_into(&mut self.said);
    }

    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
