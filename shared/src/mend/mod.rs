//! A value that somebody puts in place of a dead letter's own: whether its owner could read it, and what was changed. What an
//! operator is told of it is the same wherever he asks, so nothing here knows of a terminal or of HTTP.

pub mod diff;
pub mod readable;

use crate::contract::limits::TEXT_CHARS_MAX;

pub use diff::{Change, changes};
pub use readable::wrongs;

/// Of the reason of whoever mends it, so that what was changed has room beside it.
pub const REASON_CHARS_MAX: usize = 400;

/// The reason as it is kept with the letter: what was changed stands behind it. It has 1 to [`REASON_CHARS_MAX`] characters.
pub fn reason(reason: &str, changes: &[Change]) -> String {
    let room = TEXT_CHARS_MAX.saturating_sub(reason.chars().count() + 1);
    format!("{reason} {}", diff::compact(changes, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_has_room_behind_the_longest_reason() {
        let changes = changes(br#"{"quantity":"1"}"#, br#"{"quantity":1}"#);
        assert_eq!(reason("a typo", &changes), r#"a typo (edited: /quantity "1" -> 1)"#);
        let longest = reason(&"é".repeat(REASON_CHARS_MAX), &changes);
        assert!(longest.chars().count() <= TEXT_CHARS_MAX && longest.ends_with(r#"/quantity "1" -> 1)"#));
    }
}
