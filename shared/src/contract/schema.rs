//! Payloads by their JSON Schema: it finds all that is wrong at once, where the code ends at the first.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::Value;

use super::{
    Malformed,
    catalogue::{Entry, entries},
    message::Message,
};

/// The schema of a type as it is published.
pub fn document(entry: &Entry) -> Value {
    let mut schema = entry.schema.as_value().clone();
    schema["$id"] = format!("urn:fulfil:schema:{}", entry.schema_name()).into();
    schema["title"] = entry.message_type.into();
    schema
}

/// Checks payloads; a schema is compiled once.
#[derive(Default)]
pub struct Checker {
    compiled: HashMap<&'static str, jsonschema::Validator>,
}

impl Checker {
    /// All that is wrong with a payload, each with its place in it. The schema says where; the code has the last word, as
    /// it knows sums and dates. Fails where no version of the contract has the type.
    pub fn wrongs(&mut self, message_type: &str, data: &Value) -> anyhow::Result<Vec<Malformed>> {
        let of_schema = |error: jsonschema::ValidationError<'_>| {
            Malformed::at("invalid-data", error.instance_path().to_string(), error.to_string())
        };
        let mut wrongs: Vec<Malformed> =
            self.validator(message_type)?.iter_errors(data).map(of_schema).collect();
        if wrongs.is_empty()
            && let Some(Err(malformed)) = Message::decode(message_type, &data.to_string())
        {
            wrongs.push(malformed);
        }
        Ok(wrongs)
    }

    fn validator(&mut self, message_type: &str) -> anyhow::Result<&jsonschema::Validator> {
        let entry = entries().into_iter().find(|entry| entry.message_type == message_type);
        let entry = entry.with_context(|| format!("the contract has no type {message_type}"))?;
        let name = entry.message_type;
        if !self.compiled.contains_key(name) {
            let validator = jsonschema::options().should_validate_formats(true).build(&document(&entry))?;
            self.compiled.insert(name, validator);
        }
        Ok(&self.compiled[name])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(message_type: &str, data: Value) -> Vec<(String, String)> {
        let wrongs = Checker::default().wrongs(message_type, &data).unwrap();
        wrongs.into_iter().map(|wrong| (wrong.pointer, wrong.detail)).collect()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrongs = of("fulfil.stock.receive.v1", json!({"sku": "a b", "quantity": 0}));
        let mut places: Vec<&str> = wrongs.iter().map(|(pointer, _)| pointer.as_str()).collect();
        places.sort_unstable();
        assert_eq!(places, ["/quantity", "/sku"]);
        assert!(of("fulfil.stock.receive.v1", json!({"sku": "A", "quantity": 1})).is_empty());
    }

    #[test]
    fn what_only_the_code_knows_is_said_too() {
        let order = json!({
            "order_id": "0198f3c2-5a10-7c31-9d44-0a4be1c25f09", "user_id": "u",
            "lines": [{"sku": "A", "quantity": 1, "unit_price_minor": 5}],
            "amount": {"minor": 4, "currency": "EUR"},
        });
        let wrongs = of("fulfil.order.create.v2", order);
        assert_eq!(wrongs, [("/amount/minor".into(), "the amount is not the sum of the lines".into())]);
    }

    #[test]
    fn every_schema_can_be_checked_by() {
        for entry in entries() {
            assert!(
                Checker::default().wrongs(entry.message_type, &json!(null)).is_ok(),
                "{}",
                entry.message_type
            );
        }
        assert!(Checker::default().wrongs("fulfil.order.lost.v1", &json!({})).is_err());
    }
}
