//! What a message says, in a few words. Works on the JSON, so that old and foreign versions are shown as well.

use serde_json::Value;
use shared::contract::dead_letter::header;

use super::Sighting;

const OTHER_CHARS_MAX: usize = 100;

pub fn brief(sighting: &Sighting) -> String {
    let data = &sighting.data;
    let text = |field: &str| data[field].as_str().unwrap_or_default();
    let Some(message_type) = sighting.message_type() else { return not_a_message(sighting) };
    match super::label(message_type) {
        "order.create" | "order.created" => {
            join([lines(data), money(&data["amount"]), text("user_id").to_owned()])
        }
        "order.cancel" => join([text("by").to_owned(), quoted(text("reason"))]),
        "order.progressed" => text("step").replace('_', " "),
        "order.cancelled" => join([text("reason").replace('_', " "), quoted(text("note"))]),
        "order.cancellation-rejected" => format!("it is {}", text("reason")),
        "stock.reserved" => join([lines(data), money(&data["amount"])]),
        "stock.released" if data["lines"].as_array().is_some_and(Vec::is_empty) => {
            "nothing was held".to_owned()
        }
        "stock.released" | "stock.restocked" => lines(data),
        "stock.rejected" => shortages(data),
        "stock.receive" => {
            join([format!("{} × {}", data["quantity"], text("sku")), quoted(text("reference"))])
        }
        "stock.adjust" => {
            join([format!("{} {}", signed(&data["delta"]), text("sku")), quoted(text("reason"))])
        }
        "stock.received" | "stock.adjusted" | "stock.allocated" | "stock.deallocated" | "stock.shipped" => {
            let levels = format!("{} on hand, {} reserved", data["on_hand"], data["reserved"]);
            join([format!("{} {}", signed(&data["delta"]), text("sku")), levels])
        }
        "payment.requested" => money(&data["amount"]),
        "payment.declined" | "payment.capture-failed" => text("code").replace('_', " "),
        "payment.reversal-requested" => format!("awaits {}", text("awaits")),
        "payment.outcome-unknown" => format!("{}, attempt {}", text("operation"), data["attempt"]),
        "dead-letter.redrive" | "dead-letter.discard" => {
            let letter = crate::output::short(text("dead_letter_id"));
            let edited = if data["value_base64"].is_string() { "edited" } else { "" };
            join([format!("{} {letter}", text("group")), edited.to_owned(), quoted(text("reason"))])
        }
        "order.confirmed"
        | "order.completed"
        | "order.settled"
        | "stock.committed"
        | "payment.authorized"
        | "payment.capture-requested"
        | "payment.captured"
        | "payment.voided"
        | "payment.refunded"
        | "payment.abandoned" => String::new(),
        _ => cut(&data.to_string()),
    }
}

/// `39.98 EUR`; empty where it is no amount.
pub fn money(amount: &Value) -> String {
    match (amount["minor"].as_i64(), amount["currency"].as_str()) {
        (Some(minor), Some(currency)) => format!("{}.{:02} {currency}", minor / 100, minor % 100),
        _ => String::new(),
    }
}

fn not_a_message(sighting: &Sighting) -> String {
    if let Some(status) = sighting.letter_status() {
        let part = |name| sighting.header(name).unwrap_or_default();
        let letter = crate::output::short(part(header::ID));
        return join([format!("{letter} {status} by {}", part(header::BY)), quoted(part(header::REASON))]);
    }
    let part = |name| sighting.header(name).unwrap_or("?");
    if sighting.header(header::ID).is_some() {
        return format!(
            "{} of {} {}[{}]@{}: {}",
            crate::output::short(part(header::ID)),
            part(header::GROUP),
            part(header::TOPIC),
            part(header::PARTITION),
            part(header::OFFSET),
            part(header::MESSAGE),
        );
    }
    let value = sighting.raw.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    match &sighting.envelope {
        Err(malformed) => join([malformed.to_string(), cut(&value)]),
        Ok(_) => cut(&value),
    }
}

fn lines(data: &Value) -> String {
    let Some(lines) = data["lines"].as_array() else {
        // The first version has one line.
        return format!("{} × {}", data["quantity"], data["product_id"].as_str().unwrap_or("?"));
    };
    let shown: Vec<String> = lines
        .iter()
        .take(3)
        .map(|line| format!("{} × {}", line["quantity"], line["sku"].as_str().unwrap_or("?")))
        .collect();
    let more = lines.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn shortages(data: &Value) -> String {
    let shortages = data["shortages"].as_array().into_iter().flatten().map(|shortage| {
        let sku = shortage["sku"].as_str().unwrap_or("?");
        format!("{} × {sku} wanted, {} there", shortage["requested"], shortage["available"])
    });
    shortages.collect::<Vec<_>>().join("; ")
}

fn signed(number: &Value) -> String {
    match number.as_i64() {
        Some(number) => format!("{number:+}"),
        None => number.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("“{}”", cut(text)) }
}

fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// One line, with nothing in it that would move a terminal's cursor.
fn cut(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '·' } else { c });
    let mut cut: String = clean.take(OTHER_CHARS_MAX).collect();
    if text.chars().count() > OTHER_CHARS_MAX {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use shared::contract::{catalogue::entries, samples::sample};

    use super::*;
    use crate::sighting::tests::seen;

    #[test]
    fn every_message_of_the_contract_is_said_in_words_not_in_json() {
        for entry in entries() {
            let said = brief(&seen(entry.topic, "k", sample(entry.message_type).unwrap()));
            assert!(
                !said.contains(['{', '?']) && said.chars().count() <= 110,
                "{}: {said}",
                entry.message_type
            );
        }
        let created = seen(entries()[4].topic, "k", sample("fulfil.order.created.v2").unwrap());
        assert_eq!(brief(&created), "2 × SKU-1  39.98 EUR  u1");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let said = brief(&seen(shared::contract::topics::Topic::OrdersCommands, "k", "\u{1b}[2Jhello\n"));
        assert!(!said.chars().any(char::is_control), "{said}");
    }
}
