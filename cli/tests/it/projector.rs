//! What the projector answers, as `projector/src/http` writes it, and what is made of it.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

use super::{fulfil, lines, said};

const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";

/// A projector that gives these answers in turn; in the end it tells what it was asked.
fn answering(answers: Vec<(u16, Value)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let answer = |(status, body): (u16, Value)| {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            let body = body.to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} \r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
            head[0].trim_start_matches("GET ").trim_end_matches(" HTTP/1.1").to_owned()
        };
        answers.into_iter().map(answer).collect()
    });
    (url, asked)
}

fn order(id: &str) -> Value {
    json!({"order_id": id, "user_id": "u", "status": "created", "lines": []})
}

#[test]
fn all_stock_is_listed_however_many_pages_it_has() {
    let level = |sku: &str| json!({"sku": sku, "on_hand": 3, "reserved": 1});
    let (url, asked) = answering(vec![
        (200, json!({"stock": [level("A"), level("B")], "next": "B"})),
        (200, json!({"stock": [level("C")], "next": null})),
    ]);
    let listed = fulfil(&["stock", "list", "--projector", &url]);
    assert_eq!(lines(&listed), ["A\t3\t1\t2\t", "B\t3\t1\t2\t", "C\t3\t1\t2\t"], "{}", said(&listed));
    assert_eq!(asked.join().unwrap(), ["/stock?limit=500", "/stock?limit=500&cursor=B"]);
}

#[test]
fn orders_are_listed_up_to_the_number_that_is_asked_for() {
    let (url, asked) = answering(vec![
        (200, json!({"orders": [order("a"), order("b")], "next": "x"})),
        (200, json!({"orders": [order("c")], "next": "y"})),
    ]);
    let listed = fulfil(&["order", "list", "-n", "3", "--user", "u", "--projector", &url]);
    assert_eq!(lines(&listed).len(), 3, "{}", said(&listed));
    assert_eq!(asked.join().unwrap(), ["/orders?user_id=u&limit=3", "/orders?user_id=u&limit=1&cursor=x"]);
}

#[test]
fn an_order_is_found_by_the_start_of_its_id_on_any_page() {
    let (url, asked) = answering(vec![
        (200, json!({"orders": [order("0298f3c2-5a10-7c31-9d44-0a4be1c25f01")], "next": "x"})),
        (200, json!({"orders": [order(ORDER)], "next": null})),
        (200, order(ORDER)),
    ]);
    let shown = fulfil(&["order", "get", "0198", "--json", "--projector", &url]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert_eq!(asked.join().unwrap()[2], format!("/orders/{ORDER}"));
}

#[test]
fn what_the_view_does_not_have_yet_is_no_data() {
    for arguments in [
        &["order", "get", ORDER, "--after", "order-1:3"][..],
        &["order", "get", ORDER, "--after", "order-1:3", "--json"],
        &["stock", "get", "SKU-1", "--after", "stock-SKU-1:3"],
        &["stock", "get", "SKU-1", "--after", "stock-SKU-1:3", "--json"],
    ] {
        let lag = json!({"wanted": arguments[4], "version": 2, "view_lag_ms": 1_200});
        let (url, _) = answering(vec![(202, json!({"lag": lag}))]);
        let ended = fulfil(&[arguments, &["--projector", &url]].concat());
        assert_eq!(ended.status.code(), Some(6), "{arguments:?}: {}", said(&ended));
        assert_eq!(lines(&ended), [""; 0], "{arguments:?}");
        let text = format!(
            "fulfil: the view does not have {} yet: it is at version 2 there, and 1.2 s behind the topics\n",
            arguments[4]
        );
        assert_eq!(said(&ended), text);
    }
}

#[test]
fn the_story_of_an_order_is_told_line_by_line() {
    let event = json!({
        "type": "fulfil.order.confirmed.v1", "topic": "orders.events", "service": "order-service",
        "time": "2026-11-24T10:00:00Z", "latency_ms": 12, "data": {"order_id": ORDER},
    });
    let awaited = json!({"what": "StockCommitted", "from": "inventory-service", "until": null});
    let story = |letters: Value, awaited: Value| {
        let status = "confirmed";
        (200, json!({"status": status, "events": [event], "dead_letters": letters, "awaiting": [awaited]}))
    };
    let (url, _) = answering(vec![story(json!([]), awaited.clone())]);
    let told = fulfil(&["order", "timeline", ORDER, "--projector", &url]);
    let told = lines(&told);
    assert!(told[0].contains("\torder-service\torder.confirmed\t12 ms"), "{told:?}");
    assert_eq!(told[1], "awaiting StockCommitted from inventory-service");

    // What it waits behind is named, and what is to be done about that.
    let id = "3f9d2c41-0d5c-5c0e-9a55-f0f111ed0001";
    let letter = json!({
        "id": id, "group": "inventory-service", "code": "contradiction", "message": "no state allows it",
        "status": "dead", "failed_at": "2026-11-24T10:00:01Z", "holds": true,
    });
    let held =
        json!({"what": "StockCommitted", "from": "inventory-service", "until": null, "held_behind": id});
    let (url, _) = answering(vec![story(json!([letter]), held)]);
    let ended = fulfil(&["order", "timeline", ORDER, "--projector", &url]);
    let told = lines(&ended);
    assert!(told[1].starts_with("dead letter 3f9d2c41 of inventory-service, dead, "), "{told:?}");
    assert!(told[1].ends_with(": contradiction: no state allows it"), "{told:?}");
    let behind = ", held behind dead letter 3f9d2c41 of inventory-service: contradiction";
    assert_eq!(told[2], format!("awaiting StockCommitted from inventory-service{behind}"));
    assert!(said(&ended).contains("fulfil dlq redrive 3f9d2c41 --reason"), "{}", said(&ended));

    let (url, _) = answering(vec![(200, json!({"status": null, "events": [event], "awaiting": []}))]);
    let told = fulfil(&["order", "timeline", ORDER, "--projector", &url]);
    assert_eq!(lines(&told)[1], "order-service has not told of this order");
}

#[test]
fn dead_letters_are_listed_by_what_is_wrong_and_those_that_are_done_with_are_left_out() {
    let group = |fingerprint: &str, open: i64| {
        let statuses =
            json!({"dead": open, "failed-again": 0, "parked": 0, "redriven": 2 - open, "discarded": 0});
        json!({
            "fingerprint": fingerprint, "group": "order-service", "code": "invalid-json", "message": "no JSON",
            "newest_id": ORDER, "letters": 2, "open": open, "statuses": statuses, "keys": 1,
            "first_failed_at": "2026-11-24T10:00:00Z", "last_failed_at": "2026-11-24T10:00:00Z",
            "trend": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        })
    };
    let answer = json!({"groups": [group("f1", 2), group("f2", 0)]});
    let (url, asked) = answering(vec![(200, answer.clone()), (200, answer)]);
    let listed = fulfil(&["dlq", "groups", "--group", "order-service", "--projector", &url]);
    let listed = lines(&listed);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let cells: Vec<&str> = listed[0].split('\t').collect();
    assert_eq!(
        cells[..8],
        ["f1", "order-service", "invalid-json", "2", "2", "0", "1", "0,0,0,0,0,0,0,0,0,0,1,1"]
    );
    let all = lines(&fulfil(&["dlq", "groups", "--all", "--json", "--projector", &url]));
    let second: Value = serde_json::from_str(&all[1]).unwrap();
    assert_eq!(second, group("f2", 0));
    assert_eq!(asked.join().unwrap()[0], "/dead-letters/groups?group=order-service");
}

#[test]
fn orders_that_are_not_what_their_topics_say_are_told_with_the_view() {
    let drift = json!([{"order_id": ORDER, "found_at": "2026-11-24T10:00:00.000Z", "what": "user_id differ from the topics"}]);
    let view = |drift: &Value| {
        let served =
            json!({"begun_at": "2026-11-24T09:00:00.000Z", "build": null, "lag_ms": 20, "drift": drift});
        json!({"served": served, "second": null})
    };
    let (url, _) = answering(vec![(200, view(&drift)), (200, view(&drift)), (200, view(&json!([])))]);
    let status = ["projection", "status", "--projector", &url];
    let told = fulfil(&status);
    assert_eq!(told.status.code(), Some(0), "{}", said(&told));
    assert!(lines(&told)[0].contains("orders that are not what their topics say: 1"), "{:?}", lines(&told));
    assert!(
        said(&told).contains(&format!("order {ORDER}: user_id differ from the topics")),
        "{}",
        said(&told)
    );
    let object: Value =
        serde_json::from_str(&lines(&fulfil(&[&status[..], &["--json"]].concat()))[0]).unwrap();
    assert_eq!(object["served"]["drift"], drift);
    let well = fulfil(&status);
    assert!(lines(&well)[0].contains("serves, 20 ms behind\t"), "{:?}", lines(&well));
    assert_eq!(said(&well), "");
}

#[test]
fn how_the_whole_does_and_what_was_sold_are_told_as_the_screens_show_them() {
    let overview = json!({
        "open": 1, "overdue": 0, "dead_letters": 2,
        "parts": [{"created": 3, "p95_ms": 1_500.0}, {"created": 4, "p95_ms": null}],
        "funnel": {"created": 7, "reserved": 6, "authorized": 5, "confirmed": 5, "completed": 4},
        "lost": [{"reason": "out_of_stock", "orders": 1}],
        "attention": [{"kind": "overdue", "what": "order 1 is created", "why": "it waits", "address": "/orders/1"}],
    });
    let (url, asked) = answering(vec![(200, overview)]);
    let told = lines(&fulfil(&["overview", "--projector", &url]));
    for line in ["created in the last hour\t7", "dead letters that wait\t2", "lost: out of stock\t1"] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
    }
    assert_eq!(told.last().unwrap(), &format!("overdue  order 1 is created: it waits  {url}/orders/1"));
    assert_eq!(asked.join().unwrap(), ["/overview"]);

    let sale = json!({"sku": null, "hour": "2026-11-24T10:00:00.000Z", "orders": 2, "quantity": 3, "amount": {"minor": 1_999, "currency": "EUR"}});
    let (url, asked) = answering(vec![(200, json!({"sales": [sale], "next": null}))]);
    let told = fulfil(&["sales", "--sku", "SKU-1", "--projector", &url]);
    assert_eq!(lines(&told), ["2026-11-24T10:00:00.000Z\t2\t3\t19.99 EUR"], "{}", said(&told));
    assert_eq!(asked.join().unwrap(), ["/sales?by=hour&sku=SKU-1&limit=50"]);
}

#[test]
fn an_answer_of_another_form_is_no_empty_list() {
    let (url, _) = answering(vec![(200, json!({"items": []}))]);
    let listed = fulfil(&["stock", "list", "--projector", &url]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(said(&listed).contains("something else than expected"), "{}", said(&listed));
}
