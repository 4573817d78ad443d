//! The contract's topics and messages, and which service sends and receives them, as an AsyncAPI 3.0 document. It is committed as
//! `shared/asyncapi.json`.

mod message;
#[cfg(test)]
mod tests;

use inventory_service::Inventory;
use order_service::Orders;
use payment_service::Payments;
use projector::intake;
use serde_json::{Map, Value, json};
use shared::{
    contract::{
        catalogue::{Entry, entries},
        envelope::CONTENT_TYPE,
        topics::{Key, PARTITIONS_DEFAULT, Topic},
    },
    decider::Decider,
};

use message::{LETTER, LETTER_CHANGE};

const BINDING_VERSION: &str = "0.5.0";

/// Who sends to a topic and who receives from it.
struct Application {
    name: &'static str,
    sends: Vec<Topic>,
    receives: Vec<Topic>,
}

pub(super) fn document() -> Value {
    let entries = entries();
    let (messages, schemas) = message::components(&entries);
    let channels: Map<String, Value> =
        Topic::ALL.into_iter().map(|topic| (topic.name().to_owned(), channel(topic, &entries))).collect();
    let operations: Map<String, Value> =
        applications().iter().flat_map(|application| operations(application, &entries)).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "fulfil",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Order fulfilment by choreography. Each service sends the events of its own log and reacts to \
                            those of the others; messages are CloudEvents 1.0 in structured JSON.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn applications() -> [Application; 5] {
    [
        Application {
            // Whoever asks for something: the program, a shop, an operator.
            name: "edge",
            sends: Topic::ALL.into_iter().filter(|topic| topic.is_commands()).collect(),
            receives: vec![],
        },
        service::<Orders>(),
        service::<Inventory>(),
        service::<Payments>(),
        Application {
            name: intake::GROUP,
            sends: vec![Topic::DeadLetters, Topic::DeadLettersCommands],
            receives: intake::READS.to_vec(),
        },
    ]
}

fn service<D: Decider>() -> Application {
    Application {
        name: D::NAME,
        sends: [D::WRITES, &[Topic::DeadLetters]].concat(),
        receives: [D::READS, &[Topic::DeadLettersCommands]].concat(),
    }
}

fn channel(topic: Topic, entries: &[Entry]) -> Value {
    let names = entries.iter().filter(|entry| entry.topic == topic).map(|entry| entry.message_type);
    let letters = [LETTER, LETTER_CHANGE].into_iter().filter(|_| topic == Topic::DeadLetters);
    let messages: Map<String, Value> = names
        .chain(letters)
        .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/messages/{name}")})))
        .collect();
    let retention_ms = topic.retention().map_or(-1, |retention| retention.as_millis() as i64);
    json!({
        "address": topic.name(),
        "description": match topic.key() {
            Key::OrderId => "Keyed by order id.",
            Key::Sku => "Keyed by sku.",
            Key::Original => "Keyed as the message that died was.",
        },
        "messages": messages,
        "bindings": {"kafka": {
            "partitions": PARTITIONS_DEFAULT,
            "topicConfiguration": {
                "cleanup.policy": ["delete"],
                "retention.ms": retention_ms,
                "max.message.bytes": topic.message_bytes_max(),
            },
            "bindingVersion": BINDING_VERSION,
        }},
    })
}

fn operations(application: &Application, entries: &[Entry]) -> Vec<(String, Value)> {
    let name = application.name;
    let tags = json!([{"name": name}]);
    // Only what is written today; older versions are received.
    let newest = |topic: Topic| -> Vec<Value> {
        let of_topic = entries.iter().filter(|entry| entry.topic == topic && entry.newest);
        of_topic.map(|entry| json!({"$ref": in_channel(topic, entry.message_type)})).collect()
    };
    let channel = |topic: Topic| json!({"$ref": format!("#/channels/{topic}")});
    let sends = application.sends.iter().map(|topic| {
        let mut operation = json!({"action": "send", "channel": channel(*topic), "tags": tags});
        if *topic != Topic::DeadLetters {
            operation["messages"] = newest(*topic).into();
        }
        (format!("{name}.sends.{topic}"), operation)
    });
    let receives = application.receives.iter().map(|topic| {
        let group = json!({"kafka": {
            "groupId": {"type": "string", "const": name},
            "bindingVersion": BINDING_VERSION,
        }});
        let operation =
            json!({"action": "receive", "channel": channel(*topic), "tags": tags, "bindings": group});
        (format!("{name}.receives.{topic}"), operation)
    });
    sends.chain(receives).collect()
}

fn in_channel(topic: Topic, message: &str) -> String {
    format!("#/channels/{topic}/messages/{message}")
}
