//! What a message says, in a few words. Works on the JSON, so that old and foreign versions are told as well.

use serde_json::Value;

use super::catalogue::label;

const OTHER_CHARS_MAX: usize = 100;

/// Empty where the type says it all.
pub fn brief(message_type: &str, data: &Value) -> String {
    let text = |field: &str| data[field].as_str().unwrap_or_default();
    match label(message_type) {
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

/// Empty where there is nothing.
pub fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("“{}”", cut(text)) }
}

/// Those that are not empty.
pub fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// One line, with nothing in it that would move a terminal's cursor.
pub fn cut(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '·' } else { c });
    let mut cut: String = clean.take(OTHER_CHARS_MAX).collect();
    if text.chars().count() > OTHER_CHARS_MAX {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::{
        super::{catalogue::entries, samples::sample},
        *,
    };

    #[test]
    fn every_message_of_the_contract_is_said_in_words_not_in_json() {
        let said = |message_type: &str| {
            let event: Value = serde_json::from_str(sample(message_type).unwrap()).unwrap();
            brief(message_type, &event["data"])
        };
        let orders = |name: &str| !name.starts_with("fulfil.dead-letter.");
        for name in entries().into_iter().map(|entry| entry.message_type).filter(|name| orders(name)) {
            let said = said(name);
            assert!(!said.contains(['{', '?']) && said.chars().count() <= 110, "{name}: {said}");
        }
        assert_eq!(said("fulfil.order.created.v2"), "2 × SKU-1  39.98 EUR  u1");
    }
}
