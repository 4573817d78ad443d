//! What a batch of the view that serves has folded, told of after its commit for the spans. Empty in a build without the feature
//! `otlp`.

use shared::{failure::Poison, telemetry::spans::Began};

use super::batch::Asked;
use crate::live::Seen;

#[cfg(not(feature = "otlp"))]
#[inline]
pub(super) fn tell(_: &[Seen], _: &[Poison], _: Option<&Asked>, _: Began) {}

#[cfg(feature = "otlp")]
pub(super) fn tell(seen: &[Seen], poison: &[Poison], asked: Option<&Asked>, began: Began) {
    use shared::{
        log::LetterStatus,
        telemetry::spans::{self, Fate, Message, Redriven, Work},
    };

    use super::batch::Tried;
    use crate::intake::GROUP;

    // Nothing is made of what is folded.
    const DONE: Fate = Fate::Done { events: 0, is_cause: false };

    if !spans::are_on() {
        return;
    }
    let folded = |Seen { fact, partition, offset, is_duplicate }: Seen| {
        let place = (fact.topic, partition, offset);
        let heard_ms = fact.heard_at.timestamp_millis();
        let message = Message::new(&fact.envelope, fact.message.key().as_deref(), place, heard_ms);
        let fate = if is_duplicate { Fate::Duplicate } else { DONE };
        Work::Processed { message, fate, since: None }
    };
    let asked = asked.map(|asked| {
        let tried = asked.redriven.as_ref().map(|Tried { died, again, status }| {
            let fate = match status {
                LetterStatus::Redriven => DONE,
                failed => Fate::Dead { code: failed.as_str().to_owned() },
            };
            (died.clone(), again.clone(), fate)
        });
        (asked.by.clone(), tried)
    });
    // A command is a batch of its own: what it has folded is what it tried again.
    let seen = if asked.is_some() { Vec::new() } else { seen.to_vec() };
    let dead: Vec<_> = poison.iter().map(|dead| (dead.raw().clone(), dead.code.clone())).collect();
    let count = seen.len() + dead.len() + asked.iter().len() * 2;
    spans::tell(GROUP, began, count, move || {
        let mut work: Vec<Work> = seen.into_iter().map(folded).collect();
        work.extend(dead.into_iter().map(|(raw, code)| Work::Processed {
            message: Message::of(&raw, None),
            fate: Fate::Dead { code },
            since: None,
        }));
        if let Some((by, tried)) = asked {
            let by = Message::of(&by, None);
            work.extend(tried.map(|(died, again, fate)| {
                let [died, again] = [died, again].map(|raw| Message::of(&raw, None));
                Work::Redriven(Box::new(Redriven { by: by.clone(), died, again, fate }))
            }));
            work.push(Work::Processed { message: by, fate: DONE, since: None });
        }
        work
    });
}
