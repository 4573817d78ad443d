//! A dead letter as the screen of its order names it.

use shared::contract::{Timestamp, brief::cut};

use super::text;
use crate::view::letter::LetterRow;

pub(super) struct Died {
    pub id: String,
    pub short: String,
    pub group: String,
    pub code: String,
    pub message: String,
    pub status: String,
    pub since: String,
    pub holds: bool,
    /// The same in the shell.
    pub redrive: String,
}

impl Died {
    pub(super) fn of(row: &LetterRow, now: Timestamp) -> Option<Self> {
        let letter = row.letter.as_ref()?;
        Some(Self {
            id: row.id.to_string(),
            short: text::short(&row.id),
            group: letter.group.clone(),
            code: text::words(&letter.code),
            message: cut(&letter.message),
            status: text::words(row.status()),
            since: text::from_now(letter.failed_at, now),
            holds: letter.holds(),
            redrive: format!("fulfil dlq redrive {} --reason '…'", row.id),
        })
    }
}
