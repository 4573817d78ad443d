//! Dead letters by the dozen, as an operator sees them: one thing that is wrong, tried again until it is mended.

use std::{collections::BTreeMap, time::Duration};

use cli::exit::Exit;
use e2e::system::{Order, System, record, structured, until};
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

const GROUP: &str = "inventory-service";
const LIMIT: Duration = Duration::from_secs(180);
const LETTERS: usize = 4;

/// Corrections of stock that is not there are refused; once it has come they are not.
#[tokio::test]
async fn letters_that_failed_for_one_reason_are_redriven_together_until_they_are_parked() {
    // Others may have letters that failed for the same reason.
    let mut system = System::alone().await;
    let (mended, missing) = (system.stocked(1).await, system.stocked(1).await);
    let mut letters: BTreeMap<String, &str> = BTreeMap::new();
    for sku in [&mended, &missing] {
        let adjust =
            || structured("fulfil.stock.adjust.v1", &json!({"sku": sku, "delta": -5, "reason": "counted"}));
        let records = (0..LETTERS).map(|_| record(Topic::InventoryCommands, sku, &adjust())).collect();
        for place in system.publish(records).await {
            let id = system.letter_id(GROUP, Topic::InventoryCommands, place.partition, place.offset);
            system.letter(id).await;
            letters.insert(id.to_string(), sku);
        }
    }
    let fingerprint = until("the view to have the letters", LIMIT, async || {
        let found =
            system.cli(&["dlq", "groups", "--group", GROUP, "--code", "insufficient-stock", "--json"]);
        let group: Value = serde_json::from_str(found.lines().next()?).ok()?;
        let open = group["open"].as_i64()?;
        (open >= letters.len() as i64).then(|| group["fingerprint"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    let of_reason = ["--fingerprint", fingerprint.as_str()];
    let redrive = [&["dlq", "redrive"], &of_reason[..]].concat();
    let preview = system.cli(&[&redrive[..], &["--dry-run"]].concat());
    assert!(preview.contains("; 0 would fail again\n"), "{preview}");
    let unsaid = system.cli_ends(Exit::Usage, &redrive);
    assert!(unsaid.contains("takes --yes"), "{unsaid}");

    let body = json!({"quantity": 100, "reference": Uuid::now_v7()});
    system.post(GROUP, &format!("/stock/{mended}/receive"), &body).await;
    let waits =
        [&redrive[..], &["--wait", "--yes", "--json", "--timeout", "3m", "--reason", "it has come"]].concat();
    for round in 1..=3 {
        let said = system.cli_ends(Exit::Partly, &waits);
        let objects = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let statuses: BTreeMap<String, String> = objects
            .map(|of| (of["id"].as_str().unwrap().to_owned(), of["status"].as_str().unwrap().to_owned()))
            .collect();
        for (id, sku) in &letters {
            let expected = match (*sku == mended.as_str(), round) {
                (true, 1) => Some("redriven"),
                (true, _) => None,
                (false, 3) => Some("parked"),
                (false, _) => Some("failed-again"),
            };
            assert_eq!(statuses.get(id).map(String::as_str), expected, "round {round}: {said}");
        }
        assert!(said.contains(", failed again "), "{said}");
        for (id, sku) in &letters {
            let redrives = if *sku == mended.as_str() { 1 } else { round };
            until("the view to have what was said", LIMIT, async || {
                let letter = system.get("projector", &format!("/dead-letters/{id}")).await.body;
                (letter["redrives"] == redrives).then_some(())
            })
            .await;
        }
    }
    let nothing = system.cli(&[&redrive[..], &["--wait", "--yes"]].concat());
    assert!(nothing.contains("no dead letter matches"), "{nothing}");
    assert!(nothing.contains("are parked after 3 redrives and left out"), "{nothing}");

    let discard = [&["dlq", "discard"], &of_reason[..], &["--wait", "--yes", "--timeout", "3m"]].concat();
    let given_up = system.cli(&discard);
    assert!(given_up.contains(", discarded "), "{given_up}");
    system.stock_is(&mended, (101 - 5 * LETTERS as i64, 0)).await;
    system.stock_is(&missing, (1, 0)).await;
    system.adds_up_in_the_end().await;
}

#[tokio::test]
async fn a_letter_is_mended_by_hand_and_what_was_changed_stands_in_its_history() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let order = Order::new(&sku, 1, 100);
    let mut data = order.data();
    data["lines"][0]["quantity"] = json!("1");
    let spoiled = structured("fulfil.order.create.v2", &data);
    let place = system.say(Topic::OrdersCommands, order.id, &spoiled).await;
    let id = system.letter_id("order-service", Topic::OrdersCommands, place.partition, place.offset);
    system.letter(id).await;
    let id = id.to_string();
    let edit = ["dlq", "edit", &id, "--by", "e2e", "--reason", "a typing error", "--timeout", "3m", "--set"];
    let set = |assignment: &'static str| [&edit[..], &[assignment]].concat();
    let refused = system.cli_ends(Exit::Refused, &set("data.lines[0].quantity=0"));
    assert!(refused.contains("\n  /data/lines/0/quantity "), "{refused}");
    let said = system.cli(&set("data.lines[0].quantity=1"));
    assert!(said.contains("redriven"), "{said}");
    assert_eq!(system.end(order.id).await, "completed");
    let shown: Value = serde_json::from_str(&system.cli(&["dlq", "show", &id, "--json"])).unwrap();
    let history = &shown["history"][0];
    assert_eq!((&history["status"], &history["by"]), (&json!("redriven"), &json!("e2e")));
    assert_eq!(history["reason"], r#"a typing error (edited: /data/lines/0/quantity "1" -> 1)"#);
}
