//! Many dead letters at once, over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::contract::{
    dead_letter::{DeadLetterCommand, header},
    envelope::{Mode, Raw, decode},
    message::Message,
    topics::Topic,
};
use uuid::Uuid;

use crate::{
    http::Api,
    letter_groups::{filled, record},
    project::take_all,
    sagas::place,
};

const BULK: &str = "/dead-letters/bulk";

fn asked(verb: &str) -> Value {
    json!({"verb": verb, "fingerprint": "f1", "group": "order-service", "by": "me", "reason": "mended"})
}

/// Waits for the newest run to be so.
async fn run_is(api: &Api, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, body) = api.get(BULK).await;
        if is(&body["run"]) {
            return body["run"].clone();
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_preview_says_what_would_be_done_and_does_nothing() {
    let api = filled().await;
    let preview = format!("{BULK}/preview");
    let (status, seen) = api.post(&preview, &asked("redrive")).await;
    assert_eq!(status, 200, "{seen}");
    // Of five letters one was redriven and one is parked.
    let said = "3 messages of 2 orders; 3 would fail again; 1 more is parked after 3 redrives and left out";
    assert_eq!((&seen["said"], &seen["parked"]), (&json!(said), &json!(1)));
    assert_eq!(
        (&seen["reasons"][0]["messages"], &seen["reasons"][0]["code"]),
        (&json!(3), &json!("invalid-json"))
    );
    let (_, seen) = api.post(&preview, &asked("discard")).await;
    let said = "4 messages of 3 orders would be given up";
    assert_eq!((&seen["said"], &seen["parked"]), (&json!(said), &json!(0)));
    assert_eq!(api.get(BULK).await.1, json!({"run": null}));
}

#[tokio::test]
async fn what_died_first_is_redriven_first_and_what_becomes_of_all_is_counted() {
    let mut api = filled().await;
    assert_eq!(api.post(BULK, &asked("redrive")).await.0, 202);
    let sent = api.published(Topic::DeadLettersCommands, 3).await;
    let ids: Vec<Uuid> = sent
        .iter()
        .map(|raw| {
            let envelope = decode(raw, Mode::Production).unwrap();
            match Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap() {
                Message::DeadLetterCommand(DeadLetterCommand::Redrive(redrive)) => {
                    assert_eq!(
                        (&*redrive.group, &*redrive.by, &*redrive.reason),
                        ("order-service", "me", "mended")
                    );
                    redrive.dead_letter_id
                }
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(ids, [1, 2, 4].map(Uuid::from_u128));
    assert_eq!(sent[0].key.as_deref(), Some(b"k1".as_slice()));
    let run = run_is(&api, |run| run["over"] == true).await;
    assert_eq!((&run["letters"], &run["requested"]), (&json!(3), &json!(3)));
    assert_eq!((&run["processed"], &run["failed_again"]), (&json!(0), &json!(0)), "{run}");

    let said = |id, key, status: &'static str, redrives| {
        record(id, key, &[(header::STATUS, status), (header::REDRIVES, redrives), (header::BY, "me")])
    };
    let records =
        [said(1, "k1", "redriven", "1"), said(2, "k1", "failed-again", "1"), said(4, "k3", "parked", "3")];
    // Behind the letters.
    let behind = place(records).into_iter().map(|raw| Raw { offset: raw.offset + 100, ..raw });
    take_all(&mut api.projection, behind.collect()).await;
    let run = run_is(&api, |run| run["processed"] == 1).await;
    assert_eq!(run["failed_again"], 2, "{run}");
}

#[tokio::test]
async fn one_run_asks_at_a_time_at_its_rate_until_it_is_stopped() {
    let api = filled().await;
    let mut slow = asked("discard");
    slow["per_second"] = json!(1);
    assert_eq!(api.post(BULK, &slow).await.0, 202);
    let (status, problem) = api.post(BULK, &asked("redrive")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("bulk-running")));
    assert_eq!(api.post(&format!("{BULK}/stop"), &json!({})).await.0, 202);
    let run = run_is(&api, |run| run["over"] == true).await;
    assert!(run["requested"].as_i64().unwrap() < 4 && run["stopped"].is_string(), "{run}");
    assert_eq!(api.post(BULK, &asked("redrive")).await.0, 202, "the next may begin");
}

#[tokio::test]
async fn what_names_no_letters_is_refused() {
    let api = filled().await;
    let all = json!({"verb": "redrive", "by": "me", "reason": "it"});
    assert_eq!(api.post(BULK, &all).await.0, 422);
    let nobody = json!({"verb": "redrive", "fingerprint": "none", "by": "me", "reason": "it"});
    assert_eq!(api.post(BULK, &nobody).await.0, 404);
    let mut fast = asked("redrive");
    fast["per_second"] = json!(1_001);
    assert_eq!(api.post(BULK, &fast).await.0, 422);
    let mut nameless = asked("redrive");
    nameless["by"] = json!(" ");
    assert_eq!(api.post(BULK, &nameless).await.0, 422);
}
