//! Sending and watching on a real broker. Its topics are shared by all tests, so each looks for its own keys.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use serde_json::{Value, json};
use shared::{
    broker::{BrokerSettings, topics::ensure_topics},
    contract::topics::Topic,
    testing,
};

use super::{fulfil, lines, program, said};

async fn broker() -> String {
    let bootstrap = testing::kafka();
    ensure_topics(&BrokerSettings::new(&bootstrap), 4, -1).await.unwrap();
    bootstrap
}

/// In a terminal of its own, whose settings are printed before and after.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_told_to_end_leaves_the_terminal_as_it_was() {
    let (broker, folder) = (broker().await, tempfile::TempDir::new().unwrap());
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let started = folder.path().join(signal.as_str());
        let program = program(&[]).get_program().to_str().unwrap().to_owned();
        let typed = format!(
            "stty rows 24 cols 80; echo was $(stty -g); sh -c 'echo $$ > {}; exec {program} topic watch --tui -b {broker}'; \
             echo ended $?; echo is $(stty -g)",
            started.display()
        );
        // What does not end is ended, and with it what is shown.
        let mut terminal = Command::new("timeout")
            .args([
                "--kill-after=5",
                "120",
                "script",
                "--quiet",
                "--return",
                "--command",
                &typed,
                "/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut shown, mut bytes) = (String::new(), [0; 4096]);
        let mut output = terminal.stdout.take().unwrap();
        let mut more = |shown: &mut String| {
            let read = output.read(&mut bytes).unwrap();
            shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
            read > 0
        };
        // The screen is another one, and is drawn.
        while !shown.contains("\x1b[?1049h") {
            assert!(more(&mut shown), "it has ended: {shown}");
        }
        let id = std::fs::read_to_string(&started).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
        while more(&mut shown) {}
        terminal.wait().unwrap();
        let after = |word: &str| shown.split(word).nth(1).and_then(|rest| rest.lines().next()).map(str::trim);
        assert_eq!(after("ended "), Some("130"), "{signal}: {shown}");
        assert!(after("was ").is_some_and(|settings| settings.len() > 20), "{shown}");
        assert_eq!(after("\nis "), after("was "), "{signal}: {shown}");
        assert!(shown.contains("\x1b[?1049l"), "{signal}: the screen is not left");
    }
}

fn own_sku() -> String {
    format!("SKU-{}", uuid::Uuid::now_v7().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_printed_with_its_place_and_found_there() {
    let (broker, sku) = (broker().await, own_sku());
    let set = format!("sku={sku}");
    let sent = fulfil(&[
        "event",
        "send",
        "stock.receive",
        "--set",
        &set,
        "-H",
        "shop=web",
        "-n",
        "300",
        "--duplicate",
        "2",
        "--shuffle",
        "--json",
        "-b",
        &broker,
    ]);
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let sent: Vec<Value> = lines(&sent).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sent.len(), 600);
    let mut places: Vec<i64> = sent.iter().map(|sent| sent["offset"].as_i64().unwrap()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 600, "one key is one partition, and each message has its own place there");

    let found = fulfil(&[
        "topic",
        "watch",
        "inventory.commands",
        "-o",
        "start",
        "-e",
        "--where",
        &set,
        "--json",
        "-b",
        &broker,
    ]);
    assert_eq!(found.status.code(), Some(0), "{}", said(&found));
    let found: Vec<Value> = lines(&found).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 600);
    let first = &found[0];
    assert_eq!(first["type"], "fulfil.stock.receive.v1");
    assert_eq!((first["key"].as_str(), first["headers"]["shop"].as_str()), (Some(sku.as_str()), Some("web")));
    assert_eq!(first["data"]["sku"], sku.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_when_where_whose_and_what() {
    let (broker, sku) = (broker().await, own_sku());
    fulfil(&[
        "event",
        "send",
        "stock.receive",
        "--key",
        &sku,
        "--set",
        "quantity=7",
        "--set",
        "reference=r",
        "-b",
        &broker,
    ]);
    let watched = fulfil(&[
        "topic",
        "watch",
        "inventory.commands",
        "-o",
        "@-10m",
        "-e",
        "--where",
        &format!("key={sku}"),
        "-b",
        &broker,
    ]);
    let lines = lines(&watched);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (_, said) = lines[0].split_once("stock.receive").unwrap();
    assert_eq!(said.trim(), format!("7 × {sku}  “r”"));
    assert!(lines[0].contains("inventory.commands["), "{}", lines[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_or_topic_that_is_not_there_is_not_found() {
    let broker = broker().await;
    let ended = fulfil(&["topic", "watch", "orders.events", "-p", "999", "-e", "-b", &broker]);
    assert_eq!(ended.status.code(), Some(3), "{}", said(&ended));
    assert!(said(&ended).contains("orders.events has no partition 999"), "{}", said(&ended));
    let ended = fulfil(&["topic", "watch", "orders.vanished", "-b", &broker]);
    assert_eq!(ended.status.code(), Some(2));
    let ended = fulfil(&["event", "send", "stock.receive", "-p", "999", "--json", "-b", &broker]);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
}

/// What stands in a row, and what it is about.
fn of_lag(row: &Value) -> (&Value, &Value, &Value) {
    (&row["topic"], &row["partition"], &row["messages"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_behind_by_what_it_has_not_committed_for_as_long_as_the_first_of_it_waits() {
    let (broker, sku) = (broker().await, own_sku());
    let (begun, set) = (Instant::now(), format!("sku={sku}"));
    let sent = fulfil(&["event", "send", "stock.receive", "--set", &set, "-n", "5", "--json", "-b", &broker]);
    let sent: Vec<Value> = lines(&sent).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = |index: usize| {
        (sent[index]["partition"].as_i64().unwrap() as i32, sent[index]["offset"].as_i64().unwrap())
    };
    let (group, topic) = (format!("lag-{sku}"), Topic::InventoryCommands.name());
    let commit = |partition: i32, next: i64| {
        let consumer: BaseConsumer = BrokerSettings::new(&broker).reader(&group).create().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(next)).unwrap();
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
    };
    let lag = |more: &[&str]| -> Vec<Value> {
        let shown = fulfil(&[&["topic", "lag", "--json", "-b", &broker], more].concat());
        assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
        lines(&shown).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ((partition, offset), (_, last)) = (place(2), place(4));
    commit(partition, offset);
    let shown = lag(&["--group", &group]);
    let [total, row] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(of_lag(row), (&json!(topic), &json!(partition), &total["messages"]));
    assert_eq!((&total["topic"], &total["group"]), (&Value::Null, &json!(group)));
    // Other tests write there, too.
    assert!(total["messages"].as_i64().unwrap() > last - offset, "{total}");
    assert_eq!(row["end"].as_i64().unwrap() - offset, row["messages"].as_i64().unwrap());
    let (seconds, elapsed) = (total["seconds"].as_f64().unwrap(), begun.elapsed().as_secs_f64());
    assert!(0.0 < seconds && seconds <= elapsed + 1.0, "{seconds} s of {elapsed} s");
    // Among all groups, totals first.
    let all = lag(&[]);
    let of_partitions = all.iter().position(|row| row["topic"].is_string()).unwrap();
    assert!(all[of_partitions..].iter().all(|row| row["topic"].is_string()));
    assert!(all[..of_partitions].iter().any(|row| row["group"] == json!(group)));

    commit(partition, row["end"].as_i64().unwrap() + 1_000);
    let level = &lag(&["--group", &group])[0];
    assert_eq!((&level["messages"], &level["seconds"]), (&json!(0), &json!(0.0)));
    let nobody = fulfil(&["topic", "lag", "--group", "nobody", "-b", &broker]);
    assert_eq!(nobody.status.code(), Some(3), "{}", said(&nobody));
}
