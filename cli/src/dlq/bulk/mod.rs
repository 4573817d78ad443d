//! Many letters at once. They are asked for over HTTP: those of one key one after the other, in the order in which they
//! died; not faster than somebody wants; and followed on their topic until the owners have said what came of each.

mod selection;
mod preview;
mod desk;
mod tally;
mod progress;

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::{
    contract::{dead_letter::header, envelope::Raw, topics::Topic},
    failure::REDRIVES_MAX,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use self::{
    desk::{Asked, Desk},
    progress::Progress,
    selection::{LETTERS_MAX, Selection, select},
    tally::{Fate, Tally},
};
use super::which::WhichArgs;
use crate::{
    exit::{self, Exit, ended},
    kafka::{From, Heard, Reader},
    output::{Output, Tone, count, duration, short},
    place::Place,
    service,
    sighting::letter_status,
};

/// Requests under way at once.
const LANES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Redrive,
    Discard,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }
}

/// Exit 5 where some failed again or were not taken, 6 where owners have not said what came of all.
pub(super) async fn run(
    verb: Verb,
    which: &WhichArgs,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let waits = which.wait && !which.timeout.is_zero() && !which.dry_run;
    // Before the view is asked, so that nothing is said unheard.
    let heard = if waits { Some(changes(place).await?) } else { None };
    let selection = select(verb, &which.filter, place).await?;
    say_left_out(&selection, output);
    if which.dry_run {
        return preview::run(verb, &selection, place, output).await;
    }
    if selection.letters.is_empty() {
        output.note("no dead letter matches");
        return Ok(Exit::Done.into());
    }
    if !which.confirmed(verb.as_str(), selection.letters.len(), output)? {
        return Ok(Exit::Usage.into());
    }
    let desk = Desk {
        client: service::client()?,
        url: format!("{}/dead-letters", place.projector),
        verb,
        why: json!({"by": which.why.by(), "reason": which.why.reason}),
        rate: which.rate,
        begun: Instant::now(),
    };
    let tally = Tally::new(verb, &selection.letters);
    let asked = desk.ask(selection.letters);
    Run { tally, waits, which, output, unreachable: None }.until_done(asked, heard).await
}

fn say_left_out(selection: &Selection, output: Output) {
    if selection.parked > 0 {
        let parked = count(selection.parked as i64);
        output.note(&format!(
            "{parked} are parked after {REDRIVES_MAX} redrives and left out: mend one with fulfil dlq edit LETTER"
        ));
    }
    if selection.more {
        output.note(&format!("{} are taken at most: run it again for more", count(LETTERS_MAX as i64)));
    }
}

async fn changes(place: &Place) -> anyhow::Result<mpsc::Receiver<Heard>> {
    let broker = place.broker.clone();
    let open = move || Reader::open(&broker, &[Topic::DeadLetters], None, From::End);
    Ok(tokio::task::spawn_blocking(open).await??.follow())
}

struct Run<'a> {
    tally: Tally,
    waits: bool,
    which: &'a WhichArgs,
    output: Output,
    /// Why no more were asked for.
    unreachable: Option<anyhow::Error>,
}

impl Run<'_> {
    async fn until_done(
        mut self,
        mut asked: Asked,
        mut heard: Option<mpsc::Receiver<Heard>>,
    ) -> anyhow::Result<ExitCode> {
        let mut progress = Progress::new(self.output);
        let mut news = Instant::now();
        while !self.tally.is_over(self.waits) && self.unreachable.is_none() {
            let quiet = self.waits && self.tally.unasked() == 0;
            tokio::select! {
                told = asked.told.recv(), if self.tally.unasked() > 0 => {
                    let (id, told) = told.ok_or_else(|| ended(Exit::Failed, "the requests stopped"))?;
                    self.told(id, told)?;
                    news = Instant::now();
                }
                change = next(&mut heard), if self.waits => {
                    if self.heard(change)? {
                        news = Instant::now();
                    }
                }
                () = progress.tick(), if self.tally.unasked() > 0 || self.waits => progress.show(&self.tally.said(self.waits)),
                () = sleep_until(news + self.which.timeout), if quiet => break,
                _ = tokio::signal::ctrl_c() => {
                    progress.finish();
                    self.output.note(&self.tally.said(self.waits));
                    return Ok(Exit::Interrupted.into());
                }
            }
        }
        progress.finish();
        self.end()
    }

    fn told(&mut self, id: Uuid, told: anyhow::Result<()>) -> anyhow::Result<()> {
        match told {
            Ok(()) => {
                self.tally.requested();
                if !self.waits && self.output.json {
                    let group = self.tally.group(id).map(|group| group.to_string()).unwrap_or_default();
                    self.output.object(&object(id, &group, "requested", ""))?;
                }
            }
            Err(error) if exit::of(&error) == Exit::Unreachable => self.unreachable = Some(error),
            Err(error) => {
                self.tally.refused(id);
                self.output.note_toned(Tone::Bad, &format!("{id}: {error:#}"));
            }
        }
        Ok(())
    }

    /// Whether it was about a letter of ours.
    fn heard(&mut self, change: Heard) -> anyhow::Result<bool> {
        let raw: Raw = match change {
            Heard::Message(raw) => raw,
            Heard::CaughtUp => return Ok(false),
            Heard::Failed(error) => return Err(ended(Exit::Failed, error)),
        };
        let text = |name: &str| raw.headers.text(name).unwrap_or_default();
        let (Some(status), Ok(id)) = (letter_status(&raw), text(header::ID).parse::<Uuid>()) else {
            return Ok(false);
        };
        let Some((fate, group)) = self.tally.heard(id, status) else { return Ok(false) };
        let reason = text(header::REASON);
        if self.output.json {
            self.output.object(&object(id, &group, status, reason))?;
        } else if fate == Fate::FailedAgain {
            let id = id.to_string();
            let shown = if self.output.terminal { short(&id) } else { &id };
            self.output
                .line(&format!("{shown}  {}  {group}  {reason}", self.output.paint(Tone::Bad, status)));
        }
        Ok(true)
    }

    fn end(self) -> anyhow::Result<ExitCode> {
        let Self { tally, waits, which, output, unreachable } = self;
        output.note(&tally.said(waits));
        if let Some(error) = unreachable {
            let none = tally.exit(waits) == Exit::Failed;
            output.note_toned(Tone::Bad, &format!("{error:#}"));
            return Ok(if none { Exit::Unreachable } else { Exit::Partly }.into());
        }
        if waits && tally.waiting() > 0 {
            let (waiting, time) = (count(tally.waiting() as i64), duration(which.timeout));
            output.note(&format!(
                "nothing was said of {waiting} within {time}: they were done with before, or their owner is away (fulfil doctor)"
            ));
        }
        if !waits {
            output.note("what becomes of them: fulfil dlq groups (or --wait)");
        }
        Ok(tally.exit(waits).into())
    }
}

/// The same object as of a letter that was named.
fn object(id: Uuid, group: &str, status: &str, reason: &str) -> Value {
    json!({"id": id, "group": group, "status": status, "reason": reason})
}

async fn next(heard: &mut Option<mpsc::Receiver<Heard>>) -> Heard {
    match heard {
        Some(heard) => heard.recv().await.unwrap_or_else(|| Heard::Failed("the reader stopped".to_owned())),
        None => std::future::pending().await,
    }
}
