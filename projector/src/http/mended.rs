//! A value in place of a dead letter's own: checked as `fulfil dlq edit` checks it, before anything is asked of the owner.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use shared::{
    http::Problem,
    mend::{self, REASON_CHARS_MAX},
};
use tracing::error;

use crate::view::letter::Letter;

/// More wrongs at once nobody reads.
const WRONGS_MAX: usize = 50;

/// The reason as it is kept with the letter: what is changed stands behind that of the operator.
pub(super) fn reason(
    letter: &Letter,
    value_base64: &str,
    no_validate: bool,
    reason: &str,
) -> Result<String, Problem> {
    let Ok(after) = STANDARD.decode(value_base64) else {
        return Err(Problem::invalid("/value_base64", "is not base64"));
    };
    if reason.chars().count() > REASON_CHARS_MAX {
        let detail = format!(
            "has at most {REASON_CHARS_MAX} characters beside a mended value, so that what was changed has room behind it"
        );
        return Err(Problem::invalid("/reason", detail));
    }
    let before = letter.value.as_deref().unwrap_or_default();
    if after == before {
        let detail = "is the value as it was: without it that is tried again";
        return Err(Problem::invalid("/value_base64", detail));
    }
    let reason = mend::reason(reason, &mend::changes(before, &after));
    if !no_validate {
        check(letter, after)?;
    }
    Ok(reason)
}

/// Whether the owner can read it, by the schemas of this build. What it makes of a topic that this build does not have is
/// not known here.
fn check(letter: &Letter, value: Vec<u8>) -> Result<(), Problem> {
    let Some(mut raw) = letter.raw() else { return Ok(()) };
    raw.value = Some(value.into());
    let wrongs = mend::wrongs(&raw).map_err(|error| {
        error!(%error, "a mended value could not be checked");
        Problem::internal()
    })?;
    if wrongs.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "{} could not read it, so nothing was asked for (no_validate asks for it all the same)",
        letter.group
    );
    let refused = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable-value", detail);
    let at = |problem: Problem, wrong: shared::contract::Malformed| {
        problem.at(format!("/value_base64{}", wrong.pointer), wrong.detail)
    };
    Err(wrongs.into_iter().take(WRONGS_MAX).fold(refused, at))
}
