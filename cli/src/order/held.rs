//! Dead letters of an order as its timeline names them, and what waits behind one of them.

use serde_json::Value;
use shared::contract::Timestamp;

use super::show;
use crate::output::{Output, Tone, ago, short};

/// Each with what is to be done about it.
pub(super) fn show_letters(letters: &Value, now: Timestamp, output: Output) {
    for of in letters.as_array().into_iter().flatten() {
        output.line(&output.paint(Tone::Bad, &letter(of, now)));
        let id = short(of["id"].as_str().unwrap_or("?"));
        output.note(&format!("fulfil dlq show {id}, then fulfil dlq redrive {id} --reason '…'"));
    }
}

pub(super) fn show_awaiting(awaiting: &Value, letters: &Value, now: Timestamp, output: Output) {
    for awaited in awaiting.as_array().into_iter().flatten() {
        let behind = held_behind(awaited, letters).unwrap_or_default();
        let line = format!("awaiting {}{behind}", show::awaiting(awaited, now));
        output.line(&output.paint(Tone::Warn, &line));
    }
}

/// `dead letter 3f9d2c41 of order-service, dead, 3 s ago: contradiction: …`
fn letter(letter: &Value, now: Timestamp) -> String {
    let text = |field: &str| letter[field].as_str().unwrap_or("?");
    let since = text("failed_at").parse::<Timestamp>().map(|time| ago(time, now)).unwrap_or_default();
    let (status, code, message) = (text("status"), text("code"), text("message"));
    format!("{}, {status}, {since}: {code}: {message}", named(letter))
}

/// `, held behind dead letter 3f9d2c41 of order-service: contradiction`
fn held_behind(awaited: &Value, letters: &Value) -> Option<String> {
    let id = awaited["held_behind"].as_str()?;
    let letter = letters.as_array()?.iter().find(|letter| letter["id"] == id)?;
    Some(format!(", held behind {}: {}", named(letter), letter["code"].as_str().unwrap_or("?")))
}

fn named(letter: &Value) -> String {
    let text = |field: &str| letter[field].as_str().unwrap_or("?");
    format!("dead letter {} of {}", short(text("id")), text("group"))
}
