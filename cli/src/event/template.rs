//! A message of a type, filled from its committed sample with ids of its own.

use serde_json::Value;
use shared::contract::{
    catalogue::Entry,
    samples::sample,
    topics::{Key, Topic},
};

use super::path::Assignment;

/// What every message of one `event send` is made from.
pub(super) struct Template {
    entry: Entry,
    data: Value,
    set: Vec<Assignment>,
    key: Option<String>,
}

/// Type, topic, key and payload; the envelope comes when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filled {
    pub(super) message_type: String,
    pub(super) topic: Topic,
    pub(super) key: Option<String>,
    pub(super) data: Value,
}

impl Template {
    /// `key`: the Kafka key, and the id in the payload unless that is set by itself.
    pub(super) fn new(entry: Entry, set: &[Assignment], key: Option<String>) -> anyhow::Result<Self> {
        let sample: Value = serde_json::from_str(sample(entry.message_type).unwrap_or("{}"))?;
        let mut data = sample["data"].clone();
        if let Some(fields) = data.as_object_mut() {
            // A date of the past.
            fields.remove("deadline_at");
            fields.remove("deadline_given");
        }
        Ok(Self { entry, data, set: set.to_vec(), key })
    }

    /// The message of this number, from 0.
    pub(super) fn fill(&self, number: usize) -> anyhow::Result<Filled> {
        let mut data = self.data.clone();
        let set = |field: &str| self.set.iter().any(|assignment| assignment.is_for(field));
        let id_field = match self.entry.topic.key() {
            Key::OrderId => Some("order_id"),
            Key::Sku => Some("sku"),
            Key::Original => None,
        };
        match (id_field, &self.key) {
            (Some(field), Some(key)) => data[field] = key.as_str().into(),
            (Some("order_id"), None) => data["order_id"] = super::random_id().to_string().into(),
            _ => {}
        }
        if data["reference"].is_string() {
            // What makes a repeat harmless must not make every message one.
            data["reference"] = format!("cli-{}", super::random_id()).into();
        }
        for assignment in &self.set {
            assignment.apply(&mut data, number);
        }
        if data["amount"].is_object()
            && !set("amount")
            && let Some(sum) = sum_of_lines(&data["lines"])
        {
            data["amount"]["minor"] = sum.into();
        }
        let key = match (&self.key, id_field) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(field)) => data[field].as_str().map(str::to_owned),
            (None, None) => data["dead_letter_id"].as_str().map(str::to_owned),
        };
        Ok(Filled { message_type: self.entry.message_type.to_owned(), topic: self.entry.topic, key, data })
    }
}

/// `None` where the lines have no prices, as those of a reservation.
fn sum_of_lines(lines: &Value) -> Option<i64> {
    lines.as_array()?.iter().try_fold(0_i64, |sum, line| {
        sum.checked_add(line["unit_price_minor"].as_i64()?.checked_mul(line["quantity"].as_i64()?)?)
    })
}

#[cfg(test)]
mod tests {
    use shared::contract::{catalogue::entries, message::Message};

    use super::*;

    fn template(name: &str, set: &[&str], key: Option<&str>) -> Template {
        let set: Vec<Assignment> = set.iter().map(|text| text.parse().unwrap()).collect();
        Template::new(super::super::entry(name).unwrap(), &set, key.map(str::to_owned)).unwrap()
    }

    #[test]
    fn every_type_can_be_sent_as_it_is() {
        for entry in entries() {
            let name = entry.message_type;
            let filled = Template::new(entry, &[], None).unwrap().fill(0).unwrap();
            let message = Message::decode(name, &filled.data.to_string()).unwrap();
            let message = message.unwrap_or_else(|malformed| panic!("{name}: {malformed}"));
            assert!(message.key().is_none_or(|key| Some(key) == filled.key), "{name}");
        }
    }

    #[test]
    fn each_message_has_an_order_of_its_own_and_the_amount_follows_the_lines() {
        let template = template("order.create", &["lines[0].quantity=3", "user_id=u{n}"], None);
        let (first, second) = (template.fill(0).unwrap(), template.fill(1).unwrap());
        assert_ne!(first.key, second.key);
        assert_eq!(first.data["amount"]["minor"], 3 * 1999);
        assert_eq!(second.data["user_id"], "u2");
    }

    #[test]
    fn a_key_is_the_id_in_the_payload_too_unless_that_is_set() {
        let key = "0198f3c2-5a10-7c31-9d44-0a4be1c25f09";
        assert_eq!(template("order.cancel", &[], Some(key)).fill(0).unwrap().data["order_id"], key);
        let other = template("stock.receive", &["sku=B"], Some("A")).fill(0).unwrap();
        assert_eq!((other.key.as_deref(), other.data["sku"].as_str()), (Some("A"), Some("B")));
    }
}
