//! One line an event: time, place, whose, what, and what it says.

use shared::contract::catalogue::label;

use super::{Sighting, brief};
use crate::output::{Output, ShortIds, Tone, clock};

/// Lines that stand under each other. Remembers what it has shown, so that columns and short ids agree.
#[derive(Debug)]
pub struct Lines {
    ids: ShortIds,
    place_chars: usize,
    subject_chars: usize,
    /// Where each subject was last heard of, for the time in between.
    last_ms: std::collections::HashMap<String, i64>,
}

const TYPE_CHARS: usize = 26;
const SUBJECTS_MAX: usize = 10_000;

impl Default for Lines {
    fn default() -> Self {
        Self { ids: ShortIds::default(), place_chars: 22, subject_chars: 8, last_ms: Default::default() }
    }
}

impl Lines {
    pub fn line(&mut self, output: &Output, sighting: &Sighting) -> String {
        let raw = &sighting.raw;
        let place = format!("{}[{}]@{}", raw.topic, raw.partition, raw.offset);
        self.place_chars = self.place_chars.max(place.len());
        let subject = sighting.subject();
        let is_id = subject.len() == 36;
        let short = if is_id { self.ids.add(&subject) } else { clean(&subject) };
        self.subject_chars = self.subject_chars.max(short.chars().count().min(24));
        let label = what(sighting);
        let since = self.since_last(&subject, raw.timestamp_ms);
        let (place_chars, subject_chars) = (self.place_chars, self.subject_chars);
        [
            output.paint(Tone::Dim, &clock(raw.timestamp_ms)),
            output.paint(Tone::Dim, &format!("{place:<place_chars$}")),
            output.paint(Tone::of(&subject), &format!("{short:<subject_chars$}")),
            output.paint(tone(sighting), &format!("{label:<TYPE_CHARS$}")),
            output.paint(Tone::Dim, &format!("{since:>8}")),
            brief(sighting),
        ]
        .join("  ")
        .trim_end()
        .to_owned()
    }

    fn since_last(&mut self, subject: &str, at_ms: i64) -> String {
        if self.last_ms.len() > SUBJECTS_MAX {
            self.last_ms.clear();
            self.ids = ShortIds::default();
        }
        let before = self.last_ms.insert(subject.to_owned(), at_ms);
        before.map_or_else(String::new, |before| {
            format!("+{}", crate::output::duration_ms((at_ms - before).max(0)))
        })
    }
}

/// Its type in short, or what it is instead of one of our messages.
pub fn what(sighting: &Sighting) -> String {
    sighting.message_type().map_or_else(|| odd_label(sighting), |name| clean(label(name)))
}

/// Good news, bad news, a detour, or neither.
pub fn tone(sighting: &Sighting) -> Tone {
    match sighting.message_type().map(label) {
        None if sighting.letter_status().is_some() => Tone::Warn,
        None => Tone::Bad,
        Some("order.completed") => Tone::Good,
        Some(
            "order.cancelled"
            | "stock.rejected"
            | "payment.declined"
            | "payment.capture-failed"
            | "order.cancellation-rejected",
        ) => Tone::Bad,
        Some(
            "order.settled"
            | "stock.released"
            | "stock.restocked"
            | "payment.voided"
            | "payment.refunded"
            | "payment.abandoned"
            | "payment.reversal-requested"
            | "payment.outcome-unknown"
            | "order.cancel"
            | "dead-letter.redrive"
            | "dead-letter.discard",
        ) => Tone::Warn,
        Some(_) => Tone::Plain,
    }
}

fn odd_label(sighting: &Sighting) -> String {
    let code = sighting.header(shared::contract::dead_letter::header::CODE);
    match (sighting.letter_status(), code, &sighting.envelope) {
        (Some(status), ..) => format!("dead letter {status}"),
        (_, Some(code), _) => format!("dead: {code}"),
        (_, _, Err(malformed)) => format!("malformed: {}", malformed.code),
        _ => String::new(),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).take(64).collect()
}
