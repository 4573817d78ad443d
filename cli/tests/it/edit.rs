//! Mending a letter, on a real broker: what is checked, shown and sent.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cli::kafka::{Record, publish};
use serde_json::{Value, json};
use shared::{
    broker::{BrokerSettings, topics::ensure_topics},
    contract::{dead_letter::header, topics::Topic},
    testing,
};
use uuid::Uuid;

use super::{lines, program, said};

/// A letter of a StockReceive whose quantity is a text, under a key that no other test has.
struct Letter {
    broker: String,
    id: String,
    sku: String,
}

impl Letter {
    async fn new() -> Self {
        let broker = testing::kafka();
        ensure_topics(&BrokerSettings::new(&broker), 4, -1).await.unwrap();
        // A partition that was made a moment ago may have no leader yet.
        let (begun, is_led) = (Instant::now(), || {
            program(&["topic", "list", "-b", &broker]).output().unwrap().status.success()
        });
        while !is_led() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the topics have no leaders");
        }
        let (id, sku) = (
            Uuid::from_u128(Uuid::now_v7().as_u128().rotate_left(64)).to_string(),
            format!("SKU-{}", Uuid::now_v7().simple()),
        );
        let letter = Self { broker, id, sku };
        letter.say(
            Some(letter.value().to_string()),
            &[
                (header::GROUP, "inventory-service"),
                (header::TOPIC, "inventory.commands"),
                (header::PARTITION, "0"),
                (header::OFFSET, "1"),
                (header::STAGE, "validate"),
                (header::CODE, "invalid-data"),
            ],
        );
        letter
    }

    fn value(&self) -> Value {
        let data = json!({"sku": self.sku, "quantity": "2"});
        json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "fulfil.stock.receive.v1", "data": data})
    }

    fn say(&self, value: Option<String>, headers: &[(&'static str, &str)]) {
        let all = [headers, &[(header::ID, self.id.as_str())]].concat();
        let own = |(name, text): &(&'static str, &str)| {
            ((*name).into(), Some(Bytes::copy_from_slice(text.as_bytes())))
        };
        let record = Record {
            topic: Topic::DeadLetters,
            partition: None,
            key: Some(Bytes::from(self.sku.clone())),
            value: value.map(Bytes::from),
            headers: all.iter().map(own).collect(),
        };
        let sent = publish(&BrokerSettings::new(&self.broker), &[record], None).unwrap();
        assert!(sent[0].is_ok(), "{sent:?}");
    }

    fn edit(&self, editor: Option<&str>, arguments: &[&str]) -> Output {
        let mut command =
            program(&["dlq", "edit", &self.id, "--by", "me", "--timeout", "0s", "-b", &self.broker]);
        command.args(arguments).env_remove("VISUAL").env_remove("EDITOR");
        if let Some(editor) = editor {
            command.env("EDITOR", "false").env("VISUAL", editor);
        }
        command.output().unwrap()
    }

    /// The commands that were sent about it.
    fn commands(&self) -> Vec<Value> {
        let filter = format!("key={}", self.sku);
        let watch =
            ["topic", "watch", "dead-letters.commands", "-o", "start", "-e", "--where", &filter, "--json"];
        let watched = program(&watch).args(["-b", &self.broker]).output().unwrap();
        lines(&watched)
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"].take())
            .collect()
    }
}

const REASON: [&str; 2] = ["--reason", "a typing error"];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_editor_is_shown_sent_and_kept_with_the_reason() {
    let letter = Letter::new().await;
    let edited = letter.edit(Some(r#"sed -i s/\"2\"/3/"#), &REASON);
    assert_eq!(edited.status.code(), Some(0), "{}", said(&edited));
    assert!(said(&edited).contains("- /data/quantity \"2\"\n+ /data/quantity 3\n"), "{}", said(&edited));
    let commands = letter.commands();
    assert_eq!(commands.len(), 1, "{commands:?}");
    let command = &commands[0];
    assert_eq!((&command["dead_letter_id"], &command["by"]), (&json!(letter.id), &json!("me")));
    assert_eq!(command["reason"], r#"a typing error (edited: /data/quantity "2" -> 3)"#);
    let value = STANDARD.decode(command["value_base64"].as_str().unwrap()).unwrap();
    let mut expected = letter.value();
    expected["data"]["quantity"] = json!(3);
    assert_eq!(serde_json::from_slice::<Value>(&value).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_service_could_read_is_refused_with_its_place_unless_it_is_forced() {
    let letter = Letter::new().await;
    let set = |value: &'static str| [&REASON[..], &["--set", value]].concat();
    for (value, place) in [
        ("data.quantity=0", "/data/quantity "),
        ("data.sku=other", "/data/sku the message key is not the sku in data"),
        ("type=fulfil.order.lost.v1", "/type is not a type of the contract"),
        (r#"specversion="0.3""#, "/specversion is not 1.0"),
    ] {
        let arguments = set(value);
        let with_number = [&arguments[..], &["--set", "data.quantity=2"]].concat();
        let arguments = if value.starts_with("data.q") { arguments } else { with_number };
        let refused = letter.edit(None, &arguments);
        assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
        assert!(said(&refused).contains(place), "{value}: {}", said(&refused));
    }
    assert_eq!(letter.commands(), [Value::Null; 0]);
    let forced = letter.edit(None, &[&set("data.quantity=0")[..], &["--no-validate"]].concat());
    assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
    assert_eq!(letter.commands().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redrive_mends_is_checked_and_kept_as_well() {
    let letter = Letter::new().await;
    let redrive = |arguments: &[&str]| {
        let redrive =
            ["dlq", "redrive", &letter.id, "--by", "me", "--timeout", "0s", "-b", &letter.broker, "--set"];
        program(&[&redrive[..], arguments].concat()).args(REASON).output().unwrap()
    };
    let refused = redrive(&["data.quantity=0"]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains("\n  /data/quantity "), "{}", said(&refused));
    let unchanged = redrive(&["data.quantity=\"2\"", "--no-validate"]);
    assert!(said(&unchanged).contains("nothing was changed"), "{}", said(&unchanged));
    assert_eq!(letter.commands(), [Value::Null; 0]);
    for (arguments, kept) in [
        (&["data.quantity=2"][..], r#"a typing error (edited: /data/quantity "2" -> 2)"#),
        (&["data.quantity=0", "--no-validate"], r#"a typing error (edited: /data/quantity "2" -> 0)"#),
    ] {
        let sent = redrive(arguments);
        assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
        assert_eq!(letter.commands().last().unwrap()["reason"], kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_where_nothing_was_changed_or_the_editor_did_not_end_well() {
    let letter = Letter::new().await;
    for (editor, code, text) in [
        (Some("true"), 4, "nothing was changed"),
        (Some("exit 3;"), 1, "so nothing was sent"),
        (None, 2, "neither VISUAL nor EDITOR"),
    ] {
        let ended = letter.edit(editor, &REASON);
        assert_eq!(ended.status.code(), Some(code), "{editor:?}: {}", said(&ended));
        assert!(said(&ended).contains(text), "{editor:?}: {}", said(&ended));
    }
    assert_eq!(letter.edit(Some("true"), &[]).status.code(), Some(2), "a reason must be given");
    let long = "x".repeat(401);
    assert_eq!(letter.edit(Some("true"), &["--reason", &long]).status.code(), Some(2));

    let dry =
        letter.edit(None, &[&REASON[..], &["--set", "data.quantity=2", "--dry-run", "--json"]].concat());
    let shown: Value = serde_json::from_str(&lines(&dry)[0]).unwrap();
    assert_eq!(shown["changes"], json!([{"pointer": "/data/quantity", "before": "2", "after": 2}]));
    assert_eq!(letter.commands(), [Value::Null; 0]);

    letter.say(None, &[(header::STATUS, "redriven")]);
    let late = letter.edit(None, &[&REASON[..], &["--set", "data.quantity=2"]].concat());
    assert_eq!(late.status.code(), Some(4));
    assert!(said(&late).contains("is redriven already"), "{}", said(&late));
}
