//! A message of a type, filled from its committed sample with ids of its own.

use serde_json::{Map, Value};
use shared::contract::{
    samples::sample,
    topics::{Key, Topic},
};

use super::path::Assignment;

/// What every message of one `event send` is made from.
pub(super) struct Template {
    message_type: String,
    topic: Topic,
    data: Value,
    set: Vec<Assignment>,
    key: Option<String>,
}

/// Type, topic, key and payload; what its envelope lacks comes when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filled {
    pub(super) message_type: String,
    pub(super) topic: Topic,
    pub(super) key: Option<String>,
    pub(super) data: Value,
    /// Attributes that the envelope has already.
    pub(super) attributes: Map<String, Value>,
}

/// The field of a payload that is the key of its message.
pub(super) fn key_field(topic: Topic) -> &'static str {
    match topic.key() {
        Key::OrderId => "order_id",
        Key::Sku => "sku",
        Key::Original => "dead_letter_id",
    }
}

impl Template {
    /// `key`: the Kafka key, and the id in the payload unless that is set by itself. A type without a sample has no
    /// fields but those that are set.
    pub(super) fn new(
        message_type: &str,
        topic: Topic,
        set: &[Assignment],
        key: Option<String>,
    ) -> anyhow::Result<Self> {
        let sample: Value = serde_json::from_str(sample(message_type).unwrap_or(r#"{"data":{}}"#))?;
        let mut data = sample["data"].clone();
        if let Some(fields) = data.as_object_mut() {
            // A date of the past.
            fields.remove("deadline_at");
            fields.remove("deadline_given");
        }
        Ok(Self { message_type: message_type.to_owned(), topic, data, set: set.to_vec(), key })
    }

    /// The message of this number, from 0.
    pub(super) fn fill(&self, number: usize) -> anyhow::Result<Filled> {
        let mut data = self.data.clone();
        let set = |field: &str| self.set.iter().any(|assignment| assignment.is_for(field));
        let field = key_field(self.topic);
        match (field, &self.key) {
            ("dead_letter_id", _) => {}
            (field, Some(key)) => data[field] = key.as_str().into(),
            ("order_id", None) => data["order_id"] = super::random_id().to_string().into(),
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
        let key = self.key.clone().or_else(|| data[field].as_str().map(str::to_owned));
        let (message_type, topic) = (self.message_type.clone(), self.topic);
        Ok(Filled { message_type, topic, key, data, attributes: Map::new() })
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
        let entry = super::super::entry(name).unwrap();
        Template::new(entry.message_type, entry.topic, &set, key.map(str::to_owned)).unwrap()
    }

    #[test]
    fn every_type_can_be_sent_as_it_is() {
        for entry in entries() {
            let name = entry.message_type;
            let filled = Template::new(name, entry.topic, &[], None).unwrap().fill(0).unwrap();
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
