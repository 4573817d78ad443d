//! `fulfil topic watch --tui`: the same events as a table that can be searched, stopped and looked into.

mod state;
mod draw;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use self::{draw::draw, state::State};
use super::feed::Feed;
use crate::{
    exit::{Exit, ended},
    output::Output,
    sighting::Sighting,
};

/// How late the thread that reads keys may hear that nobody wants them any more.
const POLL: Duration = Duration::from_millis(100);
/// A screen is drawn that often, at most, whatever comes.
const DRAW: Duration = Duration::from_millis(33);
const KEYS_AHEAD_MAX: usize = 64;

/// Before anything is asked of a server.
///
/// # Errors
/// Usage, where nobody looks or nobody can type.
pub(super) fn check(output: Output) -> anyhow::Result<()> {
    if output.json || !output.terminal || !io::stdin().is_terminal() {
        return Err(ended(Exit::Usage, "--tui needs a terminal to draw on, and to read keys from"));
    }
    Ok(())
}

/// The terminal is as it was when this is dropped; a panic restores it before it is told.
struct Screen(ratatui::DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

pub(super) async fn run(
    mut feed: Feed,
    wanted: impl Fn(&Sighting) -> bool,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("signals cannot be heard")?;
    let mut screen = Screen(ratatui::try_init().context("the terminal cannot be drawn on")?);
    let (mut keys, mut state) = (keys(), State::default());
    let mut draws = tokio::time::interval(DRAW);
    draws.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_drawn = false;
    loop {
        tokio::select! {
            () = signals.any() => return Ok(Exit::Interrupted.into()),
            pressed = keys.recv() => {
                // The size, too, is read when it is drawn.
                is_drawn = false;
                if let Pressed::Key(key) = pressed.context("the terminal is gone")??
                    && let Some(exit) = state.press(key)
                {
                    return Ok(exit.into());
                }
            }
            fed = feed.next() => {
                for raw in fed?.messages {
                    let sighting = Sighting::of(raw);
                    if wanted(&sighting) {
                        state.take(&sighting);
                        is_drawn = false;
                    }
                }
            }
            _ = draws.tick(), if !is_drawn => {
                screen.0.draw(|frame| draw(frame, &state, output.has_colours())).context("drawing")?;
                is_drawn = true;
            }
        }
    }
}

/// What ends a program otherwise, with the terminal left as it was drawn on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

enum Pressed {
    Key(KeyEvent),
    Resized,
}

/// Read on a thread of its own, until the receiver is dropped.
fn keys() -> mpsc::Receiver<io::Result<Pressed>> {
    let (sender, receiver) = mpsc::channel(KEYS_AHEAD_MAX);
    thread::spawn(move || {
        while !sender.is_closed() {
            let read = match event::poll(POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let pressed = match read {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Ok(Pressed::Key(key)),
                Ok(Event::Resize(..)) => Ok(Pressed::Resized),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            let is_last = pressed.is_err();
            if sender.blocking_send(pressed).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}
