//! A valid event that no state allows: put aside, its key held, mended, and then everything behind it in order.

use std::time::Duration;

use e2e::system::{Order, System, record, structured, until};
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

const GROUP: &str = "order-service";

#[tokio::test]
async fn an_impossible_event_holds_its_key_until_it_is_redriven_and_its_followers_go_on_in_order() {
    let mut system = System::shared().await;
    let sku = system.stocked(10).await;
    // The provider is silent at first: time for the event that cannot be.
    let order = Order::new(&sku, 1, 1_014);
    system.publish(vec![order.create()]).await;
    system.happens(order.id, "fulfil.payment.requested.v1").await;
    let impossible = structured("fulfil.stock.committed.v1", &json!({"order_id": order.id}));
    let place = system.say(Topic::InventoryEvents, order.id, &impossible).await;
    let letter = system.letter_id(GROUP, Topic::InventoryEvents, place.partition, place.offset);
    let dead = system.letter(letter).await;
    assert_eq!(dead.value.as_deref(), Some(impossible.to_string().as_bytes()));
    assert_eq!(dead.headers.text("dlq.stage"), Some("decide"));

    // The yes of the provider waits behind it, while other orders flow.
    system.happens(order.id, "fulfil.payment.authorized.v1").await;
    until("the follower to be held", Duration::from_secs(180), async || {
        (system.held(GROUP, order.id).await >= 1).then_some(())
    })
    .await;
    // Only order-service's database knows it, and the page names it.
    let followers = format!("/dead-letters/{letter}/followers");
    let told = until("the view to have the letter", Duration::from_secs(180), async || {
        let told = system.get("projector", &followers).await;
        (told.status == 200).then_some(told)
    })
    .await;
    let shown: Value =
        serde_json::from_str(&system.cli(&["dlq", "show", &letter.to_string(), "--json"])).unwrap();
    let waiting = shown["waiting"].as_array().unwrap();
    assert_eq!(told.body["messages"], json!(waiting.len()), "{shown}");
    let places = |list: &Value| -> Vec<[Value; 3]> {
        let list = list.as_array().unwrap().iter();
        list.map(|of| ["topic", "partition", "offset"].map(|name| of[name].clone())).collect()
    };
    assert_eq!(places(&told.body["first"]), places(&shown["waiting"]));
    assert_eq!(told.body["first"][0]["message_type"], "fulfil.payment.authorized.v1");
    let html = screen(&system, &format!("/dead-letters/{letter}")).await;
    assert!(html.contains("<li>payment authorized "), "{html}");

    the_order_names_what_it_waits_behind(&system, order.id, letter).await;

    let other = Order::new(&sku, 1, 100);
    system.publish(vec![other.create()]).await;
    assert_eq!(system.end(other.id).await, "completed");
    assert!(!system.seen.has(order.id, "fulfil.order.confirmed.v1"), "nothing of this key was processed");

    // Mended into an event that the order may hear.
    let lines = json!([{"sku": sku, "quantity": 1}]);
    let data = json!({"order_id": order.id, "lines": lines, "amount": {"minor": 1_014, "currency": "EUR"}});
    let mended = structured("fulfil.stock.reserved.v1", &data);
    system.redrive(order.id, letter, GROUP, Some(&mended)).await;
    system.letter_is(letter, "redriven").await;
    assert_eq!(system.end(order.id).await, "completed");
    assert_eq!(system.held(GROUP, order.id).await, 0);
    until("the order to name no letter any more", Duration::from_secs(180), async || {
        let told = system.get("projector", &format!("/orders/{}/timeline", order.id)).await.body;
        (told["status"] == "completed" && told["dead_letters"] == json!([])).then_some(())
    })
    .await;
    assert!(!screen(&system, &format!("/orders/{}", order.id)).await.contains("held behind"));
    let story = system.seen.story(order.id);
    let of_order: Vec<&str> = story
        .iter()
        .filter(|told| told.topic == Topic::OrdersEvents)
        .map(|told| told.message_type.trim_start_matches("fulfil.order."))
        .collect();
    assert_eq!(of_order, ["created.v2", "confirmed.v1", "progressed.v1", "completed.v1"]);
    system.stock_is(&sku, (8, 0)).await;
    system.adds_up().await;
}

/// Where somebody asks why it does not go on: the timeline, the command line and the screen, from which it can be redriven.
async fn the_order_names_what_it_waits_behind(system: &System, order: Uuid, letter: Uuid) {
    let told = until("the view to await the confirmation", Duration::from_secs(180), async || {
        let told = system.get("projector", &format!("/orders/{order}/timeline")).await.body;
        (told["awaiting"][0]["what"] == "OrderConfirmed").then_some(told)
    })
    .await;
    assert_eq!(told["awaiting"][0]["held_behind"], json!(letter), "{told}");
    let named = &told["dead_letters"][0];
    let expected = (&json!(letter), &json!(GROUP), &json!("contradiction"), &json!(true));
    assert_eq!((&named["id"], &named["group"], &named["code"], &named["holds"]), expected, "{told}");

    let short = &letter.to_string()[..8];
    let said = system.cli(&["order", "timeline", &order.to_string()]);
    let behind = format!(", held behind dead letter {short} of {GROUP}: contradiction");
    assert!(
        said.lines().any(|line| line.starts_with("awaiting OrderConfirmed") && line.ends_with(&behind)),
        "{said}"
    );
    assert!(said.contains(&format!("fulfil dlq redrive {short} ")), "{said}");

    let html = screen(system, &format!("/orders/{order}")).await;
    let behind = format!("held behind <a href=\"/dead-letters/{letter}\">dead letter {short}</a> of {GROUP}");
    assert!(html.contains(&behind), "{html}");
    assert!(html.contains(&format!("data-post=\"/dead-letters/{letter}/redrive\"")), "{html}");
}

async fn screen(system: &System, address: &str) -> String {
    let url = format!("{}{address}", system.service("projector").http);
    let answer = reqwest::Client::new().get(url).header("accept", "text/html").send().await.unwrap();
    answer.text().await.unwrap()
}

/// Half of the orders were created by a repeat and cancelled meanwhile; the others begin with the redrive.
#[tokio::test]
async fn redriving_every_letter_twice_and_in_reverse_does_everything_once() {
    const LETTERS: usize = 8;
    let mut system = System::shared().await;
    let sku = system.stocked(100).await;
    let orders: Vec<Order> = (0..LETTERS).map(|_| Order::new(&sku, 1, 100)).collect();
    let mut letters = Vec::new();
    for order in &orders {
        let mut spoiled = order.create();
        spoiled.value = spoiled.value.map(|value| value.slice(..value.len() - 1));
        let place = system.publish(vec![spoiled]).await[0];
        letters.push(system.letter_id(GROUP, Topic::OrdersCommands, place.partition, place.offset));
    }
    for letter in &letters {
        system.letter(*letter).await;
    }
    let (cancelled, begun) = orders.split_at(LETTERS / 2);
    for order in cancelled {
        let cancel =
            structured("fulfil.order.cancel.v1", &json!({"order_id": order.id, "reason": "no more"}));
        system.publish(vec![order.create(), record(Topic::OrdersCommands, order.id, &cancel)]).await;
    }
    let mended: Vec<_> =
        orders.iter().map(|order| structured("fulfil.order.create.v2", &order.data())).collect();
    let there = (0..LETTERS).chain((0..LETTERS).rev()).chain(0..LETTERS);
    for number in there {
        system.redrive(orders[number].id, letters[number], GROUP, Some(&mended[number])).await;
    }
    for letter in &letters {
        system.letter_is(*letter, "redriven").await;
    }
    for order in begun {
        assert_eq!(system.end(order.id).await, "completed");
    }
    for order in cancelled {
        // The cancel can come too late for an order that is paid at once.
        system.end(order.id).await;
    }
    let last = Order::new(&sku, 1, 100);
    system.publish(vec![last.create()]).await;
    assert_eq!(system.end(last.id).await, "completed");
    for order in &orders {
        let story = system.seen.story(order.id);
        let created = story.iter().filter(|told| told.message_type == "fulfil.order.created.v2").count();
        assert_eq!(created, 1, "{story:?}");
        assert_eq!(system.held(GROUP, order.id).await, 0);
    }
    system.adds_up().await;
}
