//! The way of an order as a collector of spans is told it.

mod collector;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};

use e2e::system::{Order, System, record, structured, until};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

use collector::{Collector, Drawn};

const LIMIT: Duration = Duration::from_secs(180);
const GROUPS: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
/// As OTLP numbers them.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;
/// Of a caller that draws its own span elsewhere.
const CALLER: &str = "00f067aa0ba902b7";

fn new_trace() -> String {
    Uuid::now_v7().simple().to_string()
}

fn traceparent(trace_id: &str) -> String {
    format!("00-{trace_id}-{CALLER}-01")
}

async fn post(url: String, trace_id: &str, body: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(&url).header("traceparent", traceparent(trace_id)).json(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED, "{url}");
    response.json().await.unwrap()
}

/// Events about an order as they stand on the topics: by id what each says of itself.
fn events(system: &System, order: Uuid) -> HashMap<String, Value> {
    let topics = [Topic::OrdersEvents, Topic::InventoryEvents, Topic::InventoryStock, Topic::PaymentsEvents];
    let raws = topics.iter().flat_map(|topic| system.seen.on(*topic));
    let events = raws.filter_map(|raw| serde_json::from_slice::<Value>(raw.value.as_deref()?).ok());
    let of_order = events.filter(|event| event["correlationid"] == order.to_string());
    of_order.map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect()
}

fn group_of(event: &Value) -> &str {
    event["source"].as_str().unwrap().trim_start_matches("/fulfil/")
}

/// The span of what a group did with a message.
fn of<'s>(spans: &'s [Drawn], group: &str, message: &str) -> Vec<&'s Drawn> {
    let is_it = |span: &&Drawn| {
        [span.says("messaging.message.id"), span.says("fulfil.command_id")].contains(&message)
    };
    spans.iter().filter(|span| span.service == group).filter(is_it).collect()
}

/// Once the view has drawn everything, which is the last to hear of an event, and both calls are: a span of a call is told apart
/// from the batch that its answer is decided in.
async fn whole(collector: &Collector, system: &System, trace_id: &str, order: Uuid) -> Vec<Drawn> {
    until("all spans of the order", LIMIT, async || {
        let (spans, events) = (collector.of_trace(trace_id), events(system, order));
        let are_drawn = events.keys().all(|id| !of(&spans, "projector", id).is_empty());
        let has_ended = events.values().any(|event| event["type"] == "fulfil.order.completed.v1");
        // Both receipts were heard, and the stock moved.
        let has_all = events.len() >= 12
            && events.values().all(|event| {
                heard_by(event["type"].as_str().unwrap())
                    .iter()
                    .all(|group| !of(&spans, group, event["id"].as_str().unwrap()).is_empty())
            });
        let has_calls = spans.iter().filter(|span| span.kind == CLIENT).count() == 2;
        (has_ended && are_drawn && has_all && has_calls).then_some(spans)
    })
    .await
}

/// Who reacts on the way to a completed order.
fn heard_by(message_type: &str) -> &'static [&'static str] {
    match message_type {
        "fulfil.order.created.v2" => &["inventory-service"],
        "fulfil.stock.reserved.v1" => &["payment-service"],
        "fulfil.payment.authorized.v1" => &["order-service"],
        "fulfil.order.confirmed.v1" => &["inventory-service", "payment-service"],
        "fulfil.stock.committed.v1" | "fulfil.payment.captured.v1" => &["order-service"],
        _ => &[],
    }
}

/// One system: each of these would need one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_an_order_is_one_trace_and_what_is_done_again_is_linked_to_it() {
    let collector = Collector::start();
    let environment = BTreeMap::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.url.clone()),
        ("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "100".to_owned()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT".to_owned(), "1000".to_owned()),
    ]);
    let Some(system) = System::of_its_own("-traces", environment).await else { return };
    let sku = system.stocked(10).await;
    an_order(&collector, &system, &sku).await;
    a_duplicate(&collector, &system, &sku).await;
    a_redrive(&collector, &system, &sku).await;

    // Without a collector spans are lost, and nothing else.
    let lines = |group: &str| {
        let log = fs::read_to_string(&system.service(group).log).unwrap();
        log.matches("spans are lost").count() as u64
    };
    let before = GROUPS.map(&lines);
    drop(collector);
    let gone = Instant::now();
    let order = Order::new(&sku, 1, 100);
    system.publish(vec![order.create()]).await;
    assert_eq!(system.end(order.id).await, "completed");
    system.shown(order.id, "completed").await;
    for (group, before) in GROUPS.into_iter().zip(before) {
        let since = || lines(group) - before;
        until(&format!("{group} to say that spans are lost"), LIMIT, async || (since() > 0).then_some(()))
            .await;
        assert!(since() <= 1 + gone.elapsed().as_secs() / 60, "{group} says it once a minute");
    }
}

async fn an_order(collector: &Collector, system: &System, sku: &str) {
    let trace_id = new_trace();
    let lines = json!([{"sku": sku, "quantity": 1, "unit_price_minor": 100}]);
    let body = json!({"user_id": "u1", "currency": "EUR", "lines": lines});
    let url = format!("{}/orders", system.service("order-service").http);
    let created = post(url, &trace_id, &body).await;
    let order: Uuid = created["order_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(system.end(order).await, "completed");
    let spans = whole(collector, system, &trace_id, order).await;

    let groups: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(groups, BTreeSet::from(GROUPS));
    let ids: HashMap<&str, &Drawn> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    assert_eq!(ids.len(), spans.len(), "no span is drawn twice");
    for span in &spans {
        assert!(span.parent == CALLER || ids.contains_key(span.parent.as_str()), "no parent: {span:?}");
        assert!(span.began_ns <= span.ended_ns && span.links.is_empty() && span.failed.is_none(), "{span:?}");
    }
    let roots: Vec<_> = spans.iter().filter(|span| span.parent == CALLER).collect();
    let [request] = roots[..] else { panic!("one request: {roots:?}") };
    assert_eq!((request.kind, request.name.as_str()), (SERVER, "POST /orders"));
    assert_eq!(request.says("http.response.status_code"), "202");

    let events = events(system, order);
    for (id, event) in &events {
        let cause = event["causationid"].as_str().unwrap();
        let parents = of(&spans, group_of(event), cause);
        let [parent] = parents[..] else { panic!("one span is the cause of {event}: {parents:?}") };
        let message_type = event["type"].as_str().unwrap();
        for group in heard_by(message_type).iter().chain(&["projector"]) {
            let drawn = of(&spans, group, id);
            let [span] = drawn[..] else { panic!("{group} drew one span of {event}: {drawn:?}") };
            assert_eq!(span.parent, parent.span_id, "{group} heard {event}");
            assert_eq!(span.kind, CONSUMER);
            let topic = span.says("messaging.destination.name");
            assert_eq!(span.name, format!("process {topic}"));
            assert_eq!(span.says("messaging.consumer.group.name"), *group);
            assert_eq!(span.says("fulfil.message_type"), message_type);
            assert_eq!(span.says("fulfil.outcome"), "done");
            assert!(!span.says("messaging.kafka.offset").is_empty());
            if topic != Topic::InventoryStock.name() {
                assert_eq!(span.says("fulfil.order_id"), order.to_string());
            }
        }
        let made: usize = parent.says("fulfil.events").parse().unwrap();
        // The answer to a call made the others, one each.
        let answers = spans.iter().filter(|span| span.kind == CLIENT && span.parent == parent.span_id);
        let of_cause = |other: &&Value| other["causationid"] == cause && group_of(other) == group_of(event);
        assert_eq!(made + answers.count(), events.values().filter(of_cause).count(), "{parent:?}");
    }
    let mut calls: Vec<_> = spans.iter().filter(|span| span.kind == CLIENT).collect();
    calls.sort_by_key(|span| span.began_ns);
    let names: Vec<_> = calls.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
    assert_eq!(names, [("payment-service", "authorize"), ("payment-service", "capture")]);
    assert_eq!(ids[calls[0].parent.as_str()].says("fulfil.message_type"), "fulfil.stock.reserved.v1");
    assert_eq!(ids[calls[1].parent.as_str()].says("fulfil.message_type"), "fulfil.order.confirmed.v1");
    // The request, what it decided, the calls, and a message for each that heard one.
    let heard: usize = events.values().map(|event| 1 + heard_by(event["type"].as_str().unwrap()).len()).sum();
    assert_eq!(spans.len(), 4 + heard, "{spans:#?}");
}

async fn a_duplicate(collector: &Collector, system: &System, sku: &str) {
    let (trace_id, order) = (new_trace(), Order::new(sku, 1, 100));
    let mut command = structured("fulfil.order.create.v2", &order.data());
    command["traceparent"] = traceparent(&trace_id).into();
    let id = command["id"].as_str().unwrap().to_owned();
    let record = record(Topic::OrdersCommands, order.id, &command);
    system.publish(vec![record.clone(), record]).await;
    let linked = until("the duplicate", LIMIT, async || {
        let all = collector.drawn();
        let of_message = of(&all, "order-service", &id);
        (of_message.len() == 2).then(|| of_message.into_iter().cloned().collect::<Vec<_>>())
    })
    .await;
    let first = linked.iter().find(|span| span.trace_id == trace_id).unwrap();
    let again = linked.iter().find(|span| span.trace_id != trace_id).unwrap();
    assert_eq!((first.parent.as_str(), first.says("fulfil.outcome")), (CALLER, "done"));
    assert_eq!((again.parent.as_str(), again.says("fulfil.outcome")), ("", "duplicate"));
    assert_eq!(again.links, [(trace_id.clone(), first.span_id.clone())]);
    assert_eq!(system.end(order.id).await, "completed");
    let spans = whole(collector, system, &trace_id, order.id).await;
    assert!(spans.iter().all(|span| span.parent != again.span_id), "{spans:?}");
}

async fn a_redrive(collector: &Collector, system: &System, sku: &str) {
    let group = "inventory-service";
    let (trace_id, asked_in) = (new_trace(), new_trace());
    let data = json!({"sku": sku, "delta": -50, "reason": "counted"});
    let mut command = structured("fulfil.stock.adjust.v1", &data);
    command["traceparent"] = traceparent(&trace_id).into();
    let id = command["id"].as_str().unwrap().to_owned();
    let place = system.say(Topic::InventoryCommands, sku, &command).await;
    let letter = system.letter_id(group, Topic::InventoryCommands, place.partition, place.offset);
    system.letter(letter).await;
    let body = json!({"quantity": 100, "reference": Uuid::now_v7()});
    system.post(group, &format!("/stock/{sku}/receive"), &body).await;
    let projector = &system.service("projector").http;
    let path = format!("/dead-letters/{letter}");
    until("the view to have the letter", LIMIT, async || {
        system.get("projector", &path).await.status.is_success().then_some(())
    })
    .await;
    let why = json!({"by": "e2e", "reason": "it has come"});
    post(format!("{projector}{path}/redrive"), &asked_in, &why).await;
    system.letter_is(letter, "redriven").await;

    let spans = until("the redrive", LIMIT, async || {
        let (of_message, of_redrive) = (collector.of_trace(&trace_id), collector.of_trace(&asked_in));
        (of_message.len() == 2 && of_redrive.len() == 3).then_some((of_message, of_redrive))
    })
    .await;
    let (of_message, of_redrive) = spans;
    let [died] = of(&of_message, group, &id)[..] else { panic!("{of_message:?}") };
    assert_eq!(died.parent, CALLER);
    assert_eq!(died.failed.as_deref(), Some("insufficient-stock"));
    assert_eq!(died.says("fulfil.outcome"), "dead-lettered");
    // What it made in the end is a child of what was done with it, and the redrive is not.
    let adjusted = of_message.iter().find(|span| span.service == "projector").unwrap();
    assert_eq!(adjusted.says("fulfil.message_type"), "fulfil.stock.adjusted.v1");
    assert_eq!(adjusted.parent, died.span_id);

    let request = of_redrive.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!((request.service.as_str(), request.parent.as_str()), ("projector", CALLER));
    let asked = of_redrive.iter().find(|span| span.parent == request.span_id).unwrap();
    assert_eq!(asked.name, "process dead-letters.commands");
    let again = of_redrive.iter().find(|span| span.parent == asked.span_id).unwrap();
    assert_eq!((again.says("messaging.message.id"), again.says("fulfil.outcome")), (id.as_str(), "redriven"));
    assert_eq!((again.says("fulfil.events"), &again.failed), ("1", &None));
    assert_eq!(again.links, [(trace_id, died.span_id.clone())]);
}
