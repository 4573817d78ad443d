//! How far it is: who is asked, and what the owners have said.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{Verb, selection::Selected};
use crate::{exit::Exit, output::count};

#[derive(Debug)]
pub(super) struct Tally {
    verb: Verb,
    selected: usize,
    /// Those of whom nothing is known yet, with their groups.
    waiting: HashMap<Uuid, Arc<str>>,
    requested: usize,
    /// The projector did not take the request.
    refused: usize,
    processed: usize,
    failed: usize,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Processed,
    FailedAgain,
}

impl Tally {
    pub(super) fn new(verb: Verb, letters: &[Selected]) -> Self {
        let waiting = letters.iter().map(|letter| (letter.id, Arc::clone(&letter.group))).collect();
        Self { verb, selected: letters.len(), waiting, requested: 0, refused: 0, processed: 0, failed: 0 }
    }

    pub(super) fn requested(&mut self) {
        self.requested += 1;
    }

    pub(super) fn refused(&mut self, id: Uuid) {
        self.refused += 1;
        self.waiting.remove(&id);
    }

    /// What an owner says about a letter; `None` where that is none of ours, or no end of what was asked.
    pub(super) fn heard(&mut self, id: Uuid, status: &str) -> Option<(Fate, Arc<str>)> {
        let fate = match status {
            "redriven" | "discarded" => Fate::Processed,
            // Of a discard it says nothing: somebody else redrove it meanwhile.
            _ if self.verb == Verb::Discard => return None,
            _ => Fate::FailedAgain,
        };
        let group = self.waiting.remove(&id)?;
        match fate {
            Fate::Processed => self.processed += 1,
            Fate::FailedAgain => self.failed += 1,
        }
        Some((fate, group))
    }

    pub(super) fn group(&self, id: Uuid) -> Option<&Arc<str>> {
        self.waiting.get(&id)
    }

    pub(super) fn unasked(&self) -> usize {
        self.selected - self.requested - self.refused
    }

    /// Whether there is nothing more to ask, or to hear.
    pub(super) fn is_over(&self, waits: bool) -> bool {
        self.unasked() == 0 && (!waits || self.waiting.is_empty())
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// `requested 120 of 312, processed 98, failed again 2`
    pub(super) fn said(&self, waits: bool) -> String {
        let number = |number: usize| count(number as i64);
        let mut said = format!("requested {} of {}", number(self.requested), number(self.selected));
        if waits {
            let processed = match self.verb {
                Verb::Redrive => "processed",
                Verb::Discard => "discarded",
            };
            said.push_str(&format!(", {processed} {}", number(self.processed)));
            if self.verb == Verb::Redrive {
                said.push_str(&format!(", failed again {}", number(self.failed)));
            }
        }
        if self.refused > 0 {
            said.push_str(&format!(", not taken {}", number(self.refused)));
        }
        said
    }

    pub(super) fn exit(&self, waits: bool) -> Exit {
        match self {
            Self { requested: 0, .. } => Exit::Failed,
            tally if tally.failed + tally.refused + tally.unasked() > 0 => Exit::Partly,
            tally if waits && tally.waiting() > 0 => Exit::Waited,
            _ => Exit::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::bulk::selection::tests::selected;

    fn asked(verb: Verb, letters: u128) -> Tally {
        let letters: Vec<Selected> = (0..letters).map(selected).collect();
        let mut tally = Tally::new(verb, &letters);
        letters.iter().for_each(|_| tally.requested());
        tally
    }

    #[test]
    fn the_exit_says_what_is_left_to_do() {
        let mut tally = asked(Verb::Redrive, 2);
        assert_eq!((tally.exit(false), tally.exit(true)), (Exit::Done, Exit::Waited));
        assert!(tally.is_over(false) && !tally.is_over(true));
        tally.heard(Uuid::from_u128(0), "redriven");
        tally.heard(Uuid::from_u128(0), "redriven");
        assert_eq!((tally.waiting(), tally.exit(true)), (1, Exit::Waited), "a repeat is heard once");
        tally.heard(Uuid::from_u128(1), "parked");
        assert!(tally.is_over(true));
        assert_eq!(tally.exit(true), Exit::Partly);
        assert_eq!(tally.said(true), "requested 2 of 2, processed 1, failed again 1");
    }

    #[test]
    fn what_was_not_taken_is_not_done() {
        let letters: Vec<Selected> = (0..2).map(selected).collect();
        let mut tally = Tally::new(Verb::Redrive, &letters);
        tally.refused(Uuid::from_u128(0));
        assert_eq!(tally.exit(false), Exit::Failed, "nothing was asked");
        tally.requested();
        assert_eq!((tally.exit(false), tally.is_over(false)), (Exit::Partly, true));
        assert_eq!(tally.said(false), "requested 1 of 2, not taken 1");
    }

    #[test]
    fn a_discard_does_not_end_with_the_redrive_of_somebody_else_that_failed() {
        let mut tally = asked(Verb::Discard, 1);
        assert_eq!(tally.heard(Uuid::from_u128(0), "failed-again"), None);
        assert_eq!(tally.heard(Uuid::from_u128(7), "discarded"), None, "none of ours");
        assert_eq!(tally.heard(Uuid::from_u128(0), "discarded").unwrap().0, Fate::Processed);
        assert_eq!(tally.exit(true), Exit::Done);
    }
}
