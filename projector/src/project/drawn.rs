//! What a batch of the view that serves has folded, told of after its commit for the spans. Empty in a build without the feature
//! `otlp`.

#[cfg(feature = "otlp")]
pub(super) use folded::tell;
use shared::telemetry::spans::Began;

use super::batch::{Batch, Taken};

#[cfg(not(feature = "otlp"))]
#[inline]
pub(super) fn tell(_: &[Taken], _: &Batch, _: Began) {}

#[cfg(feature = "otlp")]
mod folded {
    use shared::{
        contract::envelope::Raw,
        log::{LetterChange, LetterStatus},
        telemetry::spans::{self, Fate, Incoming, Message, Redriven, Size, Work},
    };

    use super::*;
    use crate::{intake::GROUP, live::Seen};

    /// Nothing is made of what is folded.
    const DONE: Fate = Fate::Done { events: 0, is_cause: false };

    /// `part`: the messages of the batch.
    pub(in crate::project) fn tell(part: &[Taken], batch: &Batch, began: Began) {
        if !spans::are_on() {
            return;
        }
        let asked = asked(part, batch);
        // A command is a batch of its own: what it has folded is what it tried again.
        let seen = if asked.is_empty() { batch.seen.clone() } else { Vec::new() };
        let dead = batch.poison.iter().map(|dead| unread(dead.raw(), Fate::Dead { code: dead.code.clone() }));
        let work: Vec<Work> = dead.chain(asked).collect();
        let kept = seen.iter().map(|seen| seen.fact.envelope.data.len());
        let bytes = work.iter().map(Work::bytes).chain(kept).sum();
        let size = Size { spans: seen.len() + work.len(), bytes };
        spans::tell(GROUP, began, size, move || seen.into_iter().map(processed).chain(work).collect());
    }

    fn processed(Seen { fact, partition, offset, is_duplicate }: Seen) -> Work {
        let place = (fact.topic, partition, offset);
        let heard_ms = fact.heard_at.timestamp_millis();
        let message = Message::new(&fact.envelope, fact.message.key().as_deref(), place, heard_ms);
        let fate = if is_duplicate { Fate::Duplicate } else { DONE };
        Work::Processed { message: Incoming::Read(message), fate, since: None }
    }

    fn unread(raw: &Raw, fate: Fate) -> Work {
        Work::Processed { message: Incoming::Unread { raw: raw.clone(), key: None }, fate, since: None }
    }

    /// The command about a letter of ours, where it was not done with before, and what it tried again.
    fn asked(part: &[Taken], batch: &Batch) -> Vec<Work> {
        let ([by], Some(about)) = (part, &batch.redriven) else { return Vec::new() };
        let status = batch.write.letters.iter().find_map(|record| match &record.what {
            LetterChange::Status { status, .. } => Some(*status),
            LetterChange::Dead(_) => None,
        });
        let fate = match status {
            None => return Vec::new(),
            Some(LetterStatus::Discarded) => return vec![unread(&by.raw, DONE)],
            Some(LetterStatus::Redriven) => DONE,
            Some(failed) => Fate::Dead { code: failed.as_str().to_owned() },
        };
        let (died, again) = (about.stored.letter.raw.clone(), about.again.raw.clone());
        let redriven = Redriven { by: by.raw.clone(), died, again, fate };
        vec![Work::Redriven(Box::new(redriven)), unread(&by.raw, DONE)]
    }
}
