//! The lines of a file that `event send -f` reads: messages, pauses between them, and how their orders shall end. No I/O.

use std::{collections::HashMap, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::contract::{ids::OrderId, topics::Topic};

use super::{
    schema,
    template::{Filled, key_field},
};
use crate::{
    exit::{Exit, ended},
    order::Status,
};

/// Of a line, and not sent.
const EXPECT: &str = "expect";
const ORDER_ID: &str = "order_id";

/// What is sent, and what is expected of it.
#[derive(Debug, Default)]
pub(super) struct Scenario {
    pub(super) messages: Vec<Filled>,
    /// Before the message of this number, in their order.
    pub(super) pauses: Vec<(usize, Duration)>,
    /// What the lines say themselves, by the number of the message.
    expected: HashMap<usize, Vec<Status>>,
    /// The orders that lines call by a name.
    names: HashMap<OrderId, String>,
}

/// An order that shall come to one of these states.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) order_id: OrderId,
    /// As the file calls it.
    pub(super) name: Option<String>,
    pub(super) statuses: Vec<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseLine {
    pause: String,
}

impl Scenario {
    /// Messages that no file wrote.
    pub(super) fn of(messages: Vec<Filled>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Each line a message, or `{"pause":"2s"}`. `typed` says what a type is and where it goes; `name` is the type of bare
    /// payloads. An `order_id` such as `{a}` is a new order, the same in all lines.
    pub(super) fn read(
        text: &str,
        name: Option<&str>,
        typed: impl Fn(&str) -> anyhow::Result<(String, Topic)>,
        new_id: impl Fn() -> OrderId,
    ) -> anyhow::Result<Self> {
        let (mut scenario, mut ids) = (Self::default(), HashMap::new());
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (number, line) in lines {
            let read = scenario.line(line, name, &typed, |name| *ids.entry(name).or_insert_with(&new_id));
            read.map_err(|error| ended(Exit::Usage, format!("line {}: {error:#}", number + 1)))?;
        }
        scenario.names = ids.into_iter().map(|(name, id)| (id, name)).collect();
        Ok(scenario)
    }

    fn line(
        &mut self,
        line: &str,
        name: Option<&str>,
        typed: impl Fn(&str) -> anyhow::Result<(String, Topic)>,
        mut id_of: impl FnMut(String) -> OrderId,
    ) -> anyhow::Result<()> {
        if let Ok(PauseLine { pause }) = serde_json::from_str(line) {
            let pause =
                super::duration_arg(&pause).map_err(|why| anyhow::anyhow!("pause {pause:?} {why}"))?;
            self.pauses.push((self.messages.len(), pause));
            return Ok(());
        }
        let schema::Line { name, mut data, mut attributes } = schema::of_line(line, name)?;
        let (message_type, topic) = typed(&name)?;
        if let Some(name) = data[ORDER_ID].as_str().and_then(placeholder) {
            data[ORDER_ID] = id_of(name.to_owned()).to_string().into();
        }
        if let Some(statuses) = expect(&mut attributes)? {
            if order_of(&data).is_none() {
                anyhow::bail!("expect is about an order, and this {name} has no valid order_id");
            }
            self.expected.insert(self.messages.len(), statuses);
        }
        let key = data[key_field(topic)].as_str().map(str::to_owned);
        self.messages.push(Filled { message_type, topic, key, data, attributes });
        Ok(())
    }

    /// Every order that something is expected of, once: what its last line says, else `all`.
    pub(super) fn expected(&self, all: &[Status]) -> Vec<Expected> {
        let (mut expected, mut places) = (Vec::<Expected>::new(), HashMap::new());
        for (number, message) in self.messages.iter().enumerate() {
            let Some(order_id) = order_of(&message.data) else { continue };
            let own = self.expected.get(&number);
            match (places.get(&order_id), own) {
                (Some(&place), Some(own)) => {
                    let known: &mut Expected = &mut expected[place];
                    known.statuses.clone_from(own);
                }
                (Some(_), None) => {}
                (None, own) => {
                    places.insert(order_id, expected.len());
                    let name = self.names.get(&order_id).cloned();
                    let statuses = own.map_or_else(|| all.to_vec(), Clone::clone);
                    expected.push(Expected { order_id, name, statuses });
                }
            }
        }
        expected.retain(|expected| !expected.statuses.is_empty());
        expected
    }
}

fn order_of(data: &Value) -> Option<OrderId> {
    data[ORDER_ID].as_str()?.parse().ok()
}

/// `{name}`, which no id can be.
fn placeholder(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}').filter(|name| !name.is_empty())
}

/// Takes it out of what is sent.
fn expect(attributes: &mut Map<String, Value>) -> anyhow::Result<Option<Vec<Status>>> {
    let Some(value) = attributes.remove(EXPECT) else { return Ok(None) };
    let Value::String(text) = &value else { anyhow::bail!("expect is not a text such as \"settled\"") };
    let known =
        || Status::value_variants().iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ");
    let one = |text: &str| {
        Status::from_str(text.trim(), false)
            .map_err(|_| anyhow::anyhow!("expect: {text:?} is none of {}", known()))
    };
    text.split(',').map(one).collect::<anyhow::Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f09";

    fn read(text: &str) -> anyhow::Result<Scenario> {
        let typed = |name: &str| {
            let entry = super::super::entry(name)?;
            Ok((entry.message_type.to_owned(), entry.topic))
        };
        Scenario::read(text, None, typed, || OrderId::new(super::super::random_id()).unwrap())
    }

    fn cancel(order: &str, rest: &str) -> String {
        format!("{{\"type\":\"order.cancel\",\"data\":{{\"order_id\":\"{order}\"}}{rest}}}\n")
    }

    #[test]
    fn a_name_is_one_new_order_in_all_lines() {
        let text = cancel("{a}", "") + &cancel("{b}", "") + &cancel("{a}", "") + &cancel(ORDER, "");
        let Scenario { messages, .. } = read(&text).unwrap();
        let ids: Vec<&str> =
            messages.iter().map(|message| message.data[ORDER_ID].as_str().unwrap()).collect();
        assert!(ids[0] == ids[2] && ids[0] != ids[1] && ids[3] == ORDER, "{ids:?}");
        for message in &messages {
            assert!(order_of(&message.data).is_some());
            assert_eq!(message.key.as_deref(), message.data[ORDER_ID].as_str());
        }
        let other = read(&text).unwrap();
        assert_ne!(other.messages[0].key, messages[0].key, "and another one the next time");
    }

    #[test]
    fn what_a_line_expects_counts_before_what_is_expected_of_all() {
        let text = cancel("{a}", "")
            + &cancel("{b}", ",\"expect\":\"completed,settled\"")
            + &cancel("{b}", "")
            + "{\"type\":\"stock.receive\",\"data\":{\"sku\":\"A\",\"quantity\":1}}\n";
        let scenario = read(&text).unwrap();
        assert!(scenario.messages.iter().all(|message| message.attributes.is_empty()), "it is not sent");
        let of = |all: &[Status]| -> Vec<(Option<String>, Vec<Status>)> {
            scenario.expected(all).into_iter().map(|expected| (expected.name, expected.statuses)).collect()
        };
        let own = (Some("b".to_owned()), vec![Status::Completed, Status::Settled]);
        assert_eq!(of(&[]), std::slice::from_ref(&own));
        assert_eq!(of(&[Status::Cancelled]), [(Some("a".to_owned()), vec![Status::Cancelled]), own]);
        let later = text + &cancel("{b}", ",\"expect\":\"settled\"");
        assert_eq!(read(&later).unwrap().expected(&[])[0].statuses, [Status::Settled], "the last line says");
    }

    #[test]
    fn a_pause_stands_before_the_next_message() {
        let scenario = read(&(cancel("{a}", "") + "{\"pause\":\"2s\"}\n\n" + &cancel("{a}", ""))).unwrap();
        assert_eq!(scenario.pauses, [(1, Duration::from_secs(2))]);
        assert_eq!(scenario.messages.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (line, said) in [
            (cancel("{a}", ",\"expect\":\"shipped\""), "line 2: expect: \"shipped\" is none of created, "),
            (cancel("{a}", ",\"expect\":1"), "line 2: expect is not a text"),
            (
                cancel("x", ",\"expect\":\"settled\""),
                "line 2: expect is about an order, and this order.cancel",
            ),
            ("{\"pause\":\"soon\"}".to_owned(), "line 2: pause \"soon\" is not a time such as 30s"),
            ("{\"pause\":2}".to_owned(), "line 2: has no type and data"),
            ("hello".to_owned(), "line 2: "),
            (
                "{\"type\":\"order.vanished\",\"data\":{}}".to_owned(),
                "line 2: there is no type order.vanished",
            ),
        ] {
            let error = read(&(cancel("{a}", "") + &line)).unwrap_err();
            assert_eq!(crate::exit::of(&error), Exit::Usage, "{line}");
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }
}
