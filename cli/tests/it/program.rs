//! What needs no server.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use serde_json::{Value, json};
use shared::contract::{catalogue::entries, message::Message};

use super::{fulfil, fulfil_of, lines, program, said};

const NOBODY: &str = "127.0.0.1:1";

#[test]
fn every_type_is_listed_one_object_a_line() {
    let listed = fulfil(&["event", "types", "--json"]);
    let types: Vec<Value> = lines(&listed).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(types.len(), entries().len());
    for (listed, entry) in types.iter().zip(entries()) {
        assert_eq!(listed["type"], entry.message_type);
        assert_eq!(listed["topic"], entry.topic.name());
        assert_eq!(listed["newest"], entry.newest);
    }
}

#[test]
fn in_a_pipe_there_is_no_colour_and_no_head() {
    let listed = fulfil(&["event", "types"]);
    assert_eq!(lines(&listed)[0], "fulfil.order.create.v1\torders.commands\told, still read");
    assert!(!listed.stdout.contains(&0x1b));
}

#[test]
fn an_example_of_every_type_is_valid_and_a_broken_one_is_not() {
    for entry in entries() {
        let example = lines(&fulfil(&["event", "new", entry.message_type])).concat();
        let validated = fulfil_of(&example, &["event", "validate"]);
        assert_eq!(validated.status.code(), Some(0), "{example}: {:?}", lines(&validated));
        assert_eq!(said(&validated), "1 valid, 0 not\n");
        let mut broken: Value = serde_json::from_str(&example).unwrap();
        assert_eq!(broken["type"], entry.message_type);
        for id in ["order_id", "sku", "dead_letter_id"] {
            broken["data"].as_object_mut().unwrap().remove(id);
        }
        let refused = fulfil_of(&broken.to_string(), &["event", "validate"]);
        assert_eq!(refused.status.code(), Some(4), "{broken}");
    }
}

#[test]
fn a_schema_is_the_committed_one() {
    let schema = fulfil(&["event", "schema", "order.created", "--json"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/schemas/order.created.v2.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(committed).unwrap()).unwrap();
    assert_eq!(schema, committed);
}

#[test]
fn the_asyncapi_document_is_the_committed_one() {
    let document = fulfil(&["event", "schema", "--asyncapi"]);
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/asyncapi.json");
    assert_eq!(document.stdout, std::fs::read(committed).unwrap());
}

#[test]
fn the_ends_have_the_codes_of_the_contract() {
    for (arguments, code) in [
        (&["event", "types"][..], 0),
        (&["event", "types", "--nonsense"], 2),
        (&["nonsense"], 2),
        (&["event", "schema", "order.vanished"], 3),
        (&["event", "schema"], 2),
        (&["event", "send", "stock.receive", "--set", "quantity=0", "-b", NOBODY], 4),
        (&["order", "get", "zz"], 2),
        (&["order", "get", "0198f3c2-5a10-7c31-9d44-0a4be1c25f01", "--projector", "http://127.0.0.1:1"], 7),
        (&["topic", "list", "-b", NOBODY, "-X", "partitioner=random"], 78),
        (&["topic", "list", "-b", NOBODY, "-X", "nonsense"], 2),
        (&["topic", "watch", "--tui", "-b", NOBODY], 2),
        (&["dev", "up", "--dir", "/dev/null/none", "--env", "DATABASE_URL=postgres://elsewhere"], 2),
    ] {
        let ended = fulfil(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", said(&ended));
        assert!(code == 0 || ended.stdout.is_empty(), "what went wrong is not data: {arguments:?}");
        assert!(code == 0 || !ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_not_there_names_the_address_and_the_next_step() {
    let ended = fulfil(&["stock", "list", "--projector", "http://127.0.0.1:1"]);
    assert_eq!(
        said(&ended),
        "fulfil: http://127.0.0.1:1 is not there: is the system up? fulfil dev status\n"
    );
}

#[test]
fn a_variable_of_somebody_else_may_be_anything() {
    let mut command = program(&["event", "send", "order.create", "--dry-run"]);
    command.env("SOMEBODYS", OsStr::from_bytes(b"\xff"));
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
}

#[test]
fn a_dry_run_sends_nothing_and_shows_all() {
    let shown =
        fulfil(&["event", "send", "order.create", "-n", "3", "--duplicate", "2", "--dry-run", "-b", NOBODY]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    let events = lines(&shown);
    assert_eq!(events.len(), 6);
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(
        (event["specversion"].as_str(), event["type"].as_str()),
        (Some("1.0"), Some("fulfil.order.create.v2"))
    );
}

#[test]
fn the_example_of_a_scenario_is_one() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/scenario.jsonl");
    let shown = fulfil(&["event", "send", "-f", example, "--dry-run", "--json"]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    let events: Vec<Value> = lines(&shown).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(|event| event.get("expect").is_none() && event.get("pause").is_none()));
    assert_eq!(events[3]["data"]["order_id"], events[4]["data"]["order_id"]);
}

#[test]
fn what_is_expected_of_nothing_or_shuffled_around_a_pause_is_a_mistake() {
    for (input, arguments, problem) in [
        ("", &["stock.receive", "--expect", "settled"][..], "none of these messages is about one"),
        ("{\"pause\":\"2s\"}", &["-f", "-", "--shuffle"], "nothing to --shuffle"),
        (
            "{\"type\":\"order.cancel\",\"data\":{},\"expect\":\"settled\"}",
            &["-f", "-"],
            "line 1: expect is about",
        ),
        ("", &["order.create", "--expect", "shipped"], "shipped"),
        ("", &["order.create", "--bad", "--expect", "completed"], "--bad"),
        (
            "{\"type\":\"order.cancel\",\"data\":{\"order_id\":\"{a}\",\"by\":\"customer\"},\"expect\":\"settled\"}",
            &["-f", "-", "--bad"],
            "--bad spoils the messages",
        ),
    ] {
        let ended = fulfil_of(input, &[&["event", "send", "-b", NOBODY][..], arguments].concat());
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", said(&ended));
        assert!(said(&ended).contains(problem), "{}", said(&ended));
    }
}

#[test]
fn a_line_goes_under_the_key_of_its_topic() {
    for entry in entries() {
        let example = lines(&fulfil(&["event", "new", entry.message_type])).concat();
        let shown = fulfil_of(&example, &["event", "send", "-f", "-", "--dry-run"]);
        assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
        let event: Value = serde_json::from_str(&lines(&shown)[0]).unwrap();
        let message = Message::decode(entry.message_type, &event["data"].to_string()).unwrap().unwrap();
        assert!(message.key().is_none_or(|key| event["partitionkey"] == key), "{event}");
    }
}

#[test]
fn an_event_that_is_sent_again_is_the_same_event() {
    let first = fulfil(&["event", "send", "order.create", "--dry-run"]);
    let first = lines(&first).concat();
    let again = fulfil_of(&first, &["event", "send", "-f", "-", "--dry-run"]);
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&lines(&again)[0]), json(&first));

    let old = first.replace(r#""specversion":"1.0""#, r#""specversion":"0.3""#);
    let refused = fulfil_of(&old, &["event", "send", "-f", "-", "--dry-run"]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let forced = fulfil_of(&old, &["event", "send", "-f", "-", "--dry-run", "--no-validate"]);
    assert_eq!(json(&lines(&forced)[0]), json(&old));
}

#[test]
fn what_is_not_in_the_contract_can_be_sent_where_its_topic_is_named() {
    let name = "fulfil.order.later.v9";
    let send = &["event", "send", "--dry-run", "--no-validate"][..];
    let on_topic = [send, &["-t", "orders.events"]].concat();
    let shown = fulfil(&[&on_topic[..], &[name, "-k", "7", "--set", "x=1"]].concat());
    let event: Value = serde_json::from_str(&lines(&shown)[0]).unwrap();
    assert_eq!(event["data"], json!({"order_id": "7", "x": 1}));
    assert_eq!((&event["type"], &event["partitionkey"]), (&json!(name), &json!("7")));

    let line = json!({"type": name, "data": {"order_id": "8"}}).to_string();
    let shown = fulfil_of(&line, &[&on_topic[..], &["-f", "-"]].concat());
    let event: Value = serde_json::from_str(&lines(&shown)[0]).unwrap();
    assert_eq!((&event["type"], &event["partitionkey"]), (&json!(name), &json!("8")));

    for refused in
        [fulfil(&[send, &[name]].concat()), fulfil(&["event", "send", name, "-t", "orders.events"])]
    {
        assert_eq!(refused.status.code(), Some(3));
        assert_eq!(
            said(&refused),
            format!("fulfil: there is no type {name}. All of them: fulfil event types\n")
        );
    }
}

#[test]
fn a_folder_where_nothing_was_started_is_not_made() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new");
    let dir_text = dir.to_str().unwrap();
    for (arguments, code) in [
        (&["dev", "status", "--dir", dir_text][..], 3),
        (&["dev", "restart", "kafka", "--dir", dir_text], 3),
        (&["dev", "promote", "--dir", dir_text], 3),
        (&["dev", "down", "--dir", dir_text], 0),
        (&["dev", "down", "--wipe", "--dir", dir_text], 0),
    ] {
        let ended = fulfil(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", said(&ended));
        assert!(
            said(&ended).contains(&format!("nothing was ever started in {dir_text}")),
            "{}",
            said(&ended)
        );
        assert!(!dir.exists(), "{arguments:?}");
    }
}

#[test]
fn what_runs_is_listed_for_other_programs_too() {
    let dir = tempfile::tempdir().unwrap();
    let state = json!({
        "kafka": {
            "bootstrap": "127.0.0.1:1", "cluster_id": "x",
            "nodes": [{"name": "kafka", "port": 1, "controller_port": 2, "process": null}],
        },
        "postgres": {"name": "postgres", "host": "127.0.0.1", "port": 3, "process": null},
        "provider": null, "services": [], "environment": {},
    });
    std::fs::write(dir.path().join("state.json"), state.to_string()).unwrap();
    let listed = fulfil(&["dev", "status", "--dir", dir.path().to_str().unwrap()]);
    assert_eq!(listed.status.code(), Some(3), "nothing of it runs");
    let logs = dir.path().canonicalize().unwrap().join("logs");
    let server = |name: &str, port: u16| {
        format!("{name}\t\t-\tstopped\t127.0.0.1:{port}\t{}", logs.join(format!("{name}.log")).display())
    };
    assert_eq!(lines(&listed), [server("kafka", 1), server("postgres", 3)]);
}

#[test]
fn examples_come_before_the_options_in_help_and_manual() {
    let folder = tempfile::TempDir::new().unwrap();
    let written = fulfil(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    for name in ["fulfil", "fulfil-order", "fulfil-order-create", "fulfil-event-send", "fulfil-dev-up"] {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{page}");
    }
    let page = std::fs::read_to_string(folder.path().join("fulfil-event-send.1")).unwrap();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}: {page}"));
    assert!(
        at(".SH EXAMPLES") < at("fulfil event send order.create") && at(".SH EXAMPLES") < at(".SH OPTIONS")
    );
    assert!(at(".SH OPTIONS") < at("Exit codes"));
    let top = fulfil(&["man"]);
    assert!(lines(&top).contains(&".SH SUBCOMMANDS".to_owned()), "{:?}", lines(&top));

    for arguments in [&["event", "send", "--help"][..], &["load", "run", "-h"]] {
        let help = lines(&fulfil(arguments)).join("\n");
        let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text}: {help}"));
        assert!(at("Examples:") < at("Usage:") && at("Usage:") < at("Options:"), "{help}");
        assert_eq!(help.matches("Examples:").count(), 1, "{help}");
    }
}

/// Those without commands below them, as their pages of the manual show.
fn leaves(folder: &Path) -> Vec<(String, Vec<String>)> {
    let mut leaves = Vec::new();
    for page in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
        if text.contains("\n.SH SUBCOMMANDS\n") {
            continue;
        }
        let (_, synopsis) = text.split_once("\n.SH SYNOPSIS\n").unwrap();
        let name = synopsis.split("\\fB").nth(1).unwrap().split("\\fR").next().unwrap().to_owned();
        let examples = text.split("\n.SH EXAMPLES\n").nth(1).unwrap_or_default();
        let examples = examples.split("\n.SH ").next().unwrap().replace("\\-", "-").replace("\\*(Aq", "'");
        let typed = examples.lines().map(str::trim_start).filter(|line| line.starts_with("fulfil "));
        leaves.push((name, typed.map(str::to_owned).collect()));
    }
    leaves
}

/// As a shell takes it; what stands behind two spaces is said about it.
fn words(line: &str) -> Vec<String> {
    let line = line.split_once("  ").map_or(line, |(typed, _)| typed);
    let line = line.split_once(" > ").map_or(line, |(typed, _)| typed);
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words
}

#[test]
fn every_command_shows_an_example_of_itself_that_is_understood() {
    let folder = tempfile::TempDir::new().unwrap();
    assert_eq!(fulfil(&["man", folder.path().to_str().unwrap()]).status.code(), Some(0));
    let leaves = leaves(folder.path());
    assert!(leaves.len() > 40, "{leaves:?}");
    for (name, examples) in leaves {
        assert!(examples.iter().any(|example| example.starts_with(&name)), "{name}: {examples:?}");
        for typed in examples.iter().flat_map(|example| example.split(" | ")) {
            let words = words(typed);
            if words[0] != "fulfil" {
                continue;
            }
            // What comes before it is looked at first.
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).chain(["--help"]).collect();
            let helped = fulfil(&arguments);
            assert_eq!(helped.status.code(), Some(0), "{typed}: {}", said(&helped));
        }
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = fulfil(&["completions", shell]);
        let text = String::from_utf8(completions.stdout).unwrap();
        assert!(text.contains("timeline") && text.contains("redrive"), "{shell}");
    }
}

#[test]
fn a_load_says_what_is_wrong_before_anything_is_sent() {
    for (arguments, code, named) in [
        (&["--mix", "lost=1"][..], 2, "lost"),
        (&["--lines", "3", "--skus", "2"], 2, "3 lines"),
        (&["--hot-share", "1.5"], 2, "1.5"),
        (&["--rate", "1e-300"], 2, "1e-300"),
        (&["--rate", "1000000/s", "--duration", "1h"], 2, "10000000 at most"),
        (&["--orders", "1", "--duration", "1s"], 2, "--duration"),
        (&["--orders", "1", "--inventory-service", "http://127.0.0.1:1"], 7, "127.0.0.1:1"),
    ] {
        let output = fulfil(&[&["load", "run"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(named), "{arguments:?}: {}", said(&output));
    }
}
