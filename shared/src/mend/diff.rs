//! What was changed: field by field where both values are JSON, else the piece of text that differs.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// Of a value in the stored form.
const VALUE_CHARS_MAX: usize = 60;
/// Of the names of the fields in it.
const POINTER_CHARS_MAX: usize = 80;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// A JSON pointer; empty for the value as a whole.
    pub pointer: String,
    /// None where there was nothing.
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Never empty where the bytes differ.
pub fn changes(before: &[u8], after: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    if let (Ok(before), Ok(after)) = (serde_json::from_slice(before), serde_json::from_slice(after)) {
        compare(String::new(), Some(&before), Some(&after), &mut changes);
    }
    if changes.is_empty() {
        // No JSON, or the same fields otherwise: a repeated name, another space.
        changes.push(of_text(&String::from_utf8_lossy(before), &String::from_utf8_lossy(after)));
    }
    changes
}

fn compare(pointer: String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let place = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                compare(place, old.get(name), new.get(name), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(format!("{pointer}/{index}"), old.get(index), new.get(index), changes);
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(Change { pointer, before: before.cloned(), after: after.cloned() }),
    }
}

/// Without what both begin and end with.
fn of_text(before: &str, after: &str) -> Change {
    let (old, new): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let begin = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let text = |chars: &[char]| {
        let text: String = chars[..chars.len() - end].iter().collect();
        (!text.is_empty()).then_some(Value::String(text))
    };
    Change { pointer: String::new(), before: text(old), after: text(new) }
}

/// `(edited: /data/quantity "2" -> 2; and 3 more)`, in at most so many characters, of which there are at least a hundred.
pub fn compact(changes: &[Change], chars_max: usize) -> String {
    let more = |shown: usize| match changes.len() - shown {
        0 => String::new(),
        1 if shown == 0 => "one place".to_owned(),
        left if shown == 0 => format!("{left} places"),
        left => format!("; and {left} more"),
    };
    let mut text = String::new();
    for (shown, change) in changes.iter().enumerate() {
        let separator = if shown == 0 { "" } else { "; " };
        let longer = format!("{text}{separator}{}", said(change));
        let whole = format!("(edited: {longer}{})", more(shown + 1));
        if whole.chars().count() > chars_max {
            return format!("(edited: {text}{})", more(shown));
        }
        text = longer;
    }
    format!("(edited: {text})")
}

fn said(change: &Change) -> String {
    let value = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "nothing".to_owned(), |value| cut(&value.to_string(), VALUE_CHARS_MAX))
    };
    let place = if change.pointer.is_empty() { "text" } else { &change.pointer };
    format!("{} {} -> {}", cut(place, POINTER_CHARS_MAX), value(&change.before), value(&change.after))
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.chars().count() > chars_max {
        true => text.chars().take(chars_max - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(before: &str, after: &str) -> String {
        compact(&changes(before.as_bytes(), after.as_bytes()), 500)
    }

    #[test]
    fn a_change_is_said_with_its_place() {
        let before = r#"{"data":{"lines":[{"sku":"A","quantity":"2"}],"old":1},"a/b":1}"#;
        let after = r#"{"data":{"lines":[{"sku":"A","quantity":2},{"sku":"B"}]},"a/b":2}"#;
        let expected = r#"(edited: /a~1b 1 -> 2; /data/lines/0/quantity "2" -> 2; /data/lines/1 nothing -> {"sku":"B"}; /data/old 1 -> nothing)"#;
        assert_eq!(of(before, after), expected);
    }

    #[test]
    fn of_what_is_no_json_the_piece_that_differs_is_said() {
        assert_eq!(of(r#"{"a":1"#, r#"{"a":1}"#), r#"(edited: text nothing -> "}")"#);
        assert_eq!(of("hello you", "hello to you"), r#"(edited: text nothing -> "to ")"#);
        assert_eq!(of(r#"{"a":1,"a":2}"#, r#"{"a":2}"#), r#"(edited: text "1,\"a\":" -> nothing)"#);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let after: serde_json::Map<String, Value> =
            (0..50).map(|n| (format!("field-{n:02}"), json!("x".repeat(200)))).collect();
        let changes = changes(b"{}", Value::from(after).to_string().as_bytes());
        for chars_max in [111, 250, 511] {
            let text = compact(&changes, chars_max);
            assert!(text.chars().count() <= chars_max, "{text}");
            assert!(text.ends_with(" more)"), "{text}");
        }
        assert_eq!(compact(&changes, 50), "(edited: 50 places)");
        let long = Change {
            pointer: format!("/{}", "é".repeat(2_000)),
            before: None,
            after: Some(json!("é".repeat(2_000))),
        };
        assert_eq!(compact(&[long], 100), "(edited: one place)");
    }
}
