//! The query API over a real view: what is asked and what is answered.

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use projector::{
    commands::Commands,
    consumers::Consumers,
    http::{self, App, LAG_HEADER, Projections},
    project::Projection,
    read_model::{reads::Reads, schema},
    view::awaiting::Limits,
};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
};
use serde_json::{Value, json};
use shared::{
    broker::BrokerSettings,
    contract::{
        dead_letter::DeadLetterCommand,
        envelope::{Mode, Raw, decode},
        ids::OrderId,
        message::Message,
        topics::Topic,
    },
    http::{finish, openapi},
    log::StoreError,
    shutdown::{self, Trigger},
    telemetry::Metrics,
    testing,
};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    project::{Database, take_all},
    sagas::{Path, World, world},
};

/// A view, and the router that answers from it.
pub(crate) struct Api {
    pub(crate) database: Database,
    pub(crate) projection: Projection,
    app: App,
    router: Router,
    pub(crate) broker: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    pub(crate) stop: Trigger,
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::new_with(|app| app).await
    }

    pub(crate) async fn new_with(other: impl FnOnce(App) -> App) -> Self {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic(Topic::DeadLettersCommands.name(), 1, 1).unwrap();
        let database = Database::new().await;
        let projection = database.projection().await;
        let (stop, shutdown) = shutdown::manual();
        let app = App {
            reads: Reads::new(&database.url),
            waiters: projection.waiters.clone(),
            lag: projection.lag.clone(),
            limits: Limits { completion: Duration::from_secs(300), compensation: Duration::from_secs(300) },
            commands: Commands::new(&BrokerSettings::new(broker.bootstrap_servers())).unwrap(),
            projections: Projections::new(&database.url, &BrokerSettings::new(broker.bootstrap_servers())),
            bulk: Default::default(),
            mode: Mode::Development,
            live: projection.live.clone(),
            shutdown,
            consumers: Consumers::new(&BrokerSettings::new(broker.bootstrap_servers()), &[]),
            overviews: Default::default(),
        };
        let app = other(app);
        let router = finish(http::routes(app.clone()), &Metrics::new("projector", "test"));
        Self { database, projection, app, router, broker, stop }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Comes again where a slow machine has it told to.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let response = self.call(Request::get(path).body(Body::empty()).unwrap()).await;
            let (status, body) = json_of(response).await;
            if status != 503 || Instant::now() > deadline {
                return (status, body);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The first so many that were published there.
    pub(crate) async fn published(&self, topic: Topic, messages: usize) -> Vec<Raw> {
        let bootstrap = self.broker.bootstrap_servers();
        tokio::task::spawn_blocking(move || published(&bootstrap, topic, messages)).await.unwrap()
    }

    pub(crate) async fn get_once(&self, path: &str) -> (u16, Value) {
        json_of(self.call(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    /// The same with something else in it.
    pub(crate) fn router_with(&self, change: impl FnOnce(&mut App)) -> Router {
        let mut app = self.app.clone();
        change(&mut app);
        finish(http::routes(app), &Metrics::new("projector", "test"))
    }

    pub(crate) async fn get_from(router: &Router, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        json_of(router.clone().oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        json_of(self.call(request.body(Body::from(body.to_string())).unwrap()).await).await
    }

    pub(crate) async fn all_pages(&self, path: &str, rows: &str, id: &str) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.get(&format!("{path}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            found.extend(
                page[rows].as_array().unwrap().iter().map(|row| row[id].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }
}

async fn json_of(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 22).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

pub(crate) fn id(number: u128) -> OrderId {
    OrderId::new(Uuid::from_u128(number)).unwrap()
}

/// Each number an order down this path, and the sagas of no seed.
pub(crate) fn orders(paths: &[(u128, Path, &str)]) -> World {
    let (mut world, _) = world(1, 0);
    for (number, path, sku) in paths {
        world.order(id(*number), *path, &[sku.parse().unwrap()], 2);
    }
    world
}

#[tokio::test]
async fn an_order_is_shown_with_its_parts_and_what_it_awaits() {
    let mut api = Api::new().await;
    take_all(
        &mut api.projection,
        orders(&[(1, Path::Completed, "SKU-1"), (2, Path::Open, "SKU-2")]).in_order(),
    )
    .await;
    let (status, order) = api.get(&format!("/orders/{}", id(1))).await;
    assert_eq!(status, 200);
    let fields: Vec<&String> = order.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "amount",
            "awaiting",
            "created_at",
            "lines",
            "order_id",
            "payment",
            "reason",
            "status",
            "stock",
            "updated_at",
            "user_id",
            "versions"
        ]
    );
    assert_eq!(order["status"], "completed");
    assert_eq!(order["reason"], Value::Null);
    assert_eq!(order["amount"], json!({"minor": 500, "currency": "EUR"}));
    assert_eq!(order["lines"], json!([{"sku": "SKU-1", "quantity": 2, "unit_price_minor": 250}]));
    assert_eq!(order["versions"], json!({"order": 4, "reservation": 2, "payment": 4}));
    assert_eq!(order["awaiting"], json!([]));
    assert_eq!(order["stock"]["status"], "committed");
    assert_eq!(order["stock"]["lines"], json!([{"sku": "SKU-1", "quantity": 2}]));
    assert_eq!(order["payment"]["status"], "captured");

    let (_, open) = api.get(&format!("/orders/{}", id(2))).await;
    let awaiting = &open["awaiting"][0];
    assert_eq!(
        (&awaiting["what"], &awaiting["from"]),
        (&json!("PaymentAuthorized|PaymentDeclined"), &json!("payment-service"))
    );
    assert_eq!(awaiting["overdue"], true, "its deadline was in 2023");
    assert!(awaiting["until"].is_string());
}

#[tokio::test]
async fn every_answer_says_how_far_the_view_is_behind_and_what_is_not_there_is_a_problem() {
    let api = Api::new().await;
    let response = api.call(Request::get(format!("/orders/{}", id(1))).body(Body::empty()).unwrap()).await;
    assert!(response.headers()[LAG_HEADER].to_str().unwrap().parse::<i64>().unwrap() >= 0);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let (status, problem) = json_of(response).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")));
    for (path, pointer) in [
        ("/orders/5", "/id"),
        ("/orders?status=eaten", "/status"),
        ("/orders?limit=0", "/limit"),
        ("/orders?cursor=x", "/cursor"),
        ("/orders?since=yesterday", "/since"),
        ("/orders?stage=eaten", "/stage"),
        ("/orders?older_than=5", "/older_than"),
        ("/stock/a%20b", "/sku"),
        ("/dead-letters/5", "/id"),
        ("/dead-letters?status=eaten", "/status"),
        ("/dead-letters/groups?status=eaten", "/status"),
        ("/dead-letters/groups?fingerprint=a%00b", "/fingerprint"),
    ] {
        let (status, problem) = api.get(path).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(pointer)), "{path}: {problem}");
    }
    for path in ["/orders/00000000-0000-0000-0000-000000000001/timeline", "/stock/NONE"] {
        assert_eq!(api.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn lists_are_pages_newest_first_and_every_filter_keeps_to_them() {
    let paths: Vec<(u128, Path, &str)> = (1..=25)
        .map(|number| match number % 3 {
            0 => (number, Path::OutOfStock, "SKU-1"),
            1 => (number, Path::Open, "SKU-2"),
            _ => (number, Path::Completed, "SKU-3"),
        })
        .collect();
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&paths).in_order()).await;
    let of = |wanted: &dyn Fn(u128) -> bool| -> Vec<String> {
        (1..=25).rev().filter(|number| wanted(*number)).map(|number| id(number).to_string()).collect()
    };
    let found =
        async |filter: &str| api.all_pages(&format!("/orders?limit=4{filter}"), "orders", "order_id").await;
    assert_eq!(found("").await, of(&|_| true));
    assert_eq!(found("&status=settled").await, of(&|number| number % 3 == 0));
    assert_eq!(found("&sku=SKU-2").await, of(&|number| number % 3 == 1));
    assert_eq!(found("&sku=SKU-2&status=completed").await, of(&|_| false));
    assert_eq!(found("&user_id=user-2").await, of(&|number| number % 3 == 2));
    let (_, tenth) = api.get(&format!("/orders/{}", id(10))).await;
    let since = tenth["created_at"].as_str().unwrap();
    assert_eq!(found(&format!("&since={since}")).await, of(&|number| number >= 10));
    assert_eq!(
        found(&format!("&since={since}&sku=SKU-3")).await,
        of(&|number| number >= 10 && number % 3 == 2)
    );
    // Nothing was reserved for those that were out of stock; the open ones wait for the provider.
    assert_eq!(found("&stage=created").await, of(&|number| number % 3 == 0));
    assert_eq!(found("&stage=reserved&open=true").await, of(&|number| number % 3 == 1));
    assert_eq!(found("&stage=reserved&status=settled").await, of(&|_| false));
    assert_eq!(found("&stage=completed&sku=SKU-3").await, of(&|number| number % 3 == 2));
    assert_eq!(found("&stage=authorized").await, of(&|_| false));
    let young = "update order_view set created_at = now() where order_id = $1";
    let mut connection = schema::connection(&api.database.url, "test", schema::SERVED).await.unwrap();
    sqlx::query(young).bind(id(25).uuid()).execute(&mut connection).await.unwrap();
    assert_eq!(found("&older_than=1h").await, of(&|number| number < 25));
    assert_eq!(found("&older_than=1ms&status=completed").await, of(&|number| number % 3 == 2));
    assert_eq!(api.all_pages("/stock?limit=2", "stock", "sku").await, ["SKU-1", "SKU-2", "SKU-3"]);
}

#[tokio::test]
async fn the_timeline_tells_the_story_over_all_topics() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    let (status, timeline) = api.get(&format!("/orders/{}/timeline", id(1))).await;
    assert_eq!((status, &timeline["status"]), (200, &json!("completed")));
    let events = timeline["events"].as_array().unwrap();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "fulfil.order.created.v2",
            "fulfil.stock.reserved.v1",
            "fulfil.stock.allocated.v1",
            "fulfil.payment.requested.v1",
            "fulfil.payment.authorized.v1",
            "fulfil.order.confirmed.v1",
            "fulfil.stock.committed.v1",
            "fulfil.stock.shipped.v1",
            "fulfil.payment.capture-requested.v1",
            "fulfil.payment.captured.v1",
            "fulfil.order.progressed.v1",
            "fulfil.order.completed.v1",
        ]
    );
    let reserved = &events[1];
    assert_eq!(
        (&reserved["service"], &reserved["topic"]),
        (&json!("inventory-service"), &json!("inventory.events"))
    );
    assert_eq!((&reserved["cause"], &reserved["latency_ms"]), (&events[0]["event_id"], &json!(7)));
    assert_eq!(reserved["data"]["amount"]["minor"], 500);
    assert_eq!((&reserved["sequence"], &reserved["deliveries"]), (&json!(1), &json!(1)));
    assert_eq!(timeline["awaiting"], json!([]));
}

#[tokio::test]
async fn a_question_with_a_token_waits_until_the_view_has_it() {
    let mut api = Api::new().await;
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let path = format!("/orders/{}?after=order-{}:4&wait=20", id(1), id(1));
    let router = api.router.clone();
    let asked = Instant::now();
    let waiting = tokio::spawn(async move {
        json_of(router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()).await
    });
    for chunk in messages.chunks(3) {
        take_all(&mut api.projection, chunk.to_vec()).await;
    }
    let (status, order) = waiting.await.unwrap();
    assert_eq!((status, &order["versions"]["order"]), (200, &json!(4)));
    assert!(asked.elapsed() < Duration::from_secs(20));
    let (status, levels) = api.get("/stock/SKU-1?after=stock-SKU-1:3").await;
    assert_eq!((status, &levels["on_hand"], &levels["reserved"]), (200, &json!(998), &json!(0)));
}

#[tokio::test]
async fn what_another_replica_commits_is_seen_by_who_waits_here() {
    let api = Api::new().await;
    let messages = orders(&[(1, Path::Open, "SKU-1")]).in_order();
    let path = format!("/orders/{}?after=payment-{}:1&wait=20", id(1), id(1));
    let mut other = api.database.projection().await;
    let ((status, order), ()) = tokio::join!(api.get(&path), take_all(&mut other, messages));
    assert_eq!((status, &order["payment"]["status"]), (200, &json!("requested")));
}

#[tokio::test]
async fn questions_to_a_server_that_fell_silent_give_their_turns_back() {
    let api = Api::new().await;
    let silent = || {
        let app = api.app.clone();
        tokio::spawn(async move {
            app.read(|reading| async move {
                let _reading = reading;
                std::future::pending::<Result<(), StoreError>>().await
            })
            .await
        })
    };
    // More than there are turns.
    let questions: Vec<_> = (0..12).map(|_| silent()).collect();
    for question in questions {
        let answer = tokio::time::timeout(Duration::from_secs(60), question).await.unwrap().unwrap();
        assert_eq!(answer.unwrap_err().status, 503);
    }
    assert_eq!(api.get("/orders").await.0, 200);
}

#[tokio::test]
async fn a_token_that_the_view_does_not_reach_is_answered_202_and_one_of_another_stream_400() {
    let mut api = Api::new().await;
    let (status, behind) = api.get(&format!("/orders/{}?after=order-{}:1&wait=0", id(9), id(9))).await;
    assert_eq!((status, &behind["lag"]["version"]), (202, &json!(0)), "{behind}");
    take_all(&mut api.projection, orders(&[(1, Path::Open, "SKU-1")]).in_order()).await;
    let (status, behind) = api.get(&format!("/orders/{}?after=order-{}:2&wait=0", id(1), id(1))).await;
    assert_eq!((status, &behind["lag"]["version"]), (202, &json!(1)));
    assert_eq!(behind["lag"]["wanted"], format!("order-{}:2", id(1)));
    assert!(behind["lag"]["view_lag_ms"].is_i64());
    for path in [
        format!("/orders/{}?after=order-{}:2", id(1), id(2)),
        format!("/orders/{}?after=stock-SKU-1:2", id(1)),
        "/stock/SKU-1?after=stock-SKU-2:1".to_owned(),
        format!("/orders/{}?after=nonsense", id(1)),
        format!("/orders/{}?after=order-{}:1&wait=600", id(1), id(1)),
    ] {
        assert_eq!(api.get(&path).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_whole_and_its_commands_go_to_its_owner_under_its_key() {
    let mut api = Api::new().await;
    // The projector's own letter, as its relay would publish it.
    let letter_id = Uuid::from_u128(7);
    let header = |name: &'static str, value: &str| {
        (name.into(), Some(bytes::Bytes::copy_from_slice(value.as_bytes())))
    };
    let letter = shared::contract::envelope::Outgoing {
        topic: Topic::DeadLetters,
        key: bytes::Bytes::from_static(b"the key"),
        value: Some(bytes::Bytes::from_static(b"{\xff")),
        headers: vec![
            header("dlq.id", &letter_id.to_string()),
            header("__dlq.errors.group", "order-service"),
            header("__dlq.errors.topic", "orders.commands"),
            header("__dlq.errors.partition", "1"),
            header("__dlq.errors.offset", "17"),
            header("dlq.stage", "decode"),
            header("dlq.code", "invalid-json"),
            header("dlq.failed-at", "2026-11-24T10:02:11.034Z"),
            header("original", "kept"),
        ],
    };
    take_all(&mut api.projection, crate::sagas::place([letter])).await;
    let (_, list) = api.get("/dead-letters?group=order-service&code=invalid-json&status=dead").await;
    assert_eq!(list["dead_letters"][0]["id"], json!(letter_id));
    assert_eq!(list["dead_letters"][0]["key"], "the key");
    assert_eq!(api.get("/dead-letters?status=redriven").await.1["dead_letters"], json!([]));
    let (status, whole) = api.get(&format!("/dead-letters/{letter_id}")).await;
    assert_eq!(status, 200);
    assert_eq!((&whole["value"], &whole["value_base64"]), (&Value::Null, &json!(STANDARD.encode(b"{\xff"))));
    assert_eq!(
        whole["headers"],
        json!([{"name": "original", "value": "kept", "value_base64": STANDARD.encode("kept")}])
    );

    let mended = STANDARD.encode("{}");
    let mut why = json!({"value_base64": mended, "by": "me", "reason": "typo"});
    let redrive = format!("/dead-letters/{letter_id}/redrive");
    let (status, refused) = api.post(&redrive, &why).await;
    assert_eq!((status, &refused["code"]), (422, &json!("unreadable-value")), "{refused}");
    assert_eq!(refused["errors"][0]["pointer"], "/value_base64");
    why["no_validate"] = json!(true);
    let (status, asked) = api.post(&format!("/dead-letters/{letter_id}/redrive"), &why).await;
    assert_eq!((status, &asked["group"]), (202, &json!("order-service")), "{asked}");
    let sent = api.published(Topic::DeadLettersCommands, 1).await.remove(0);
    assert_eq!(sent.key.as_deref(), Some(b"the key".as_slice()));
    let envelope = decode(&sent, Mode::Production).unwrap();
    let command = Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap();
    let Message::DeadLetterCommand(DeadLetterCommand::Redrive(redrive)) = command else {
        panic!("{command:?}")
    };
    assert_eq!((redrive.dead_letter_id, redrive.group.as_str()), (letter_id, "order-service"));
    assert_eq!(redrive.value_base64, Some(mended));
    let kept = r#"typo (edited: text "\u{fffd}" -> "}")"#.replace(r"\u{fffd}", "\u{fffd}");
    assert_eq!((&redrive.reason, &asked["reason"]), (&kept, &json!(kept)));
    assert_eq!(envelope.id.to_string(), asked["command_id"].as_str().unwrap());

    let discard = format!("/dead-letters/{letter_id}/discard");
    assert_eq!(api.post(&discard, &json!({"by": "me", "reason": "old"})).await.0, 202);
    assert_eq!(api.post(&discard, &json!({"by": "me", "reason": " "})).await.0, 422);
    assert_eq!(api.post(&discard, &json!({"by": "me"})).await.0, 400);
    let nobody = format!("/dead-letters/{}/discard", Uuid::from_u128(8));
    assert_eq!(api.post(&nobody, &json!({"by": "me", "reason": "old"})).await.0, 404);
}

#[tokio::test]
async fn a_mended_value_is_read_before_anything_is_asked_and_what_was_changed_is_kept() {
    let mut api = Api::new().await;
    let value = |quantity: Value| {
        let data = json!({"sku": "A", "quantity": quantity});
        json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "fulfil.stock.receive.v1", "data": data})
            .to_string()
    };
    let header = |name: &'static str, value: &str| {
        (name.into(), Some(bytes::Bytes::copy_from_slice(value.as_bytes())))
    };
    let letter = shared::contract::envelope::Outgoing {
        topic: Topic::DeadLetters,
        key: bytes::Bytes::from_static(b"A"),
        value: Some(value(json!("2")).into()),
        headers: vec![
            header("dlq.id", &Uuid::from_u128(7).to_string()),
            header("__dlq.errors.group", "inventory-service"),
            header("__dlq.errors.topic", "inventory.commands"),
            header("__dlq.errors.partition", "1"),
            header("__dlq.errors.offset", "17"),
            header("dlq.stage", "validate"),
            header("dlq.code", "invalid-data"),
            header("dlq.failed-at", "2026-11-24T10:02:11.034Z"),
        ],
    };
    take_all(&mut api.projection, crate::sagas::place([letter])).await;
    let redrive = format!("/dead-letters/{}/redrive", Uuid::from_u128(7));
    let mend = |value: &str, reason: &str| json!({"value_base64": STANDARD.encode(value), "by": "me", "reason": reason});
    let good = value(json!(2));
    for (body, code, place) in [
        (mend(&value(json!(0)), "typo"), "unreadable-value", "/value_base64/data/quantity"),
        (mend(&good.replace("\"A\"", "\"B\""), "typo"), "unreadable-value", "/value_base64/data/sku"),
        (mend(&good.replace("receive", "lose"), "typo"), "unreadable-value", "/value_base64/type"),
        (mend("not json at all", "typo"), "unreadable-value", "/value_base64"),
        (mend(&value(json!("2")), "typo"), "invalid", "/value_base64"),
        (mend(&good, &"x".repeat(401)), "invalid", "/reason"),
        (json!({"value_base64": "?", "by": "me", "reason": "typo"}), "invalid", "/value_base64"),
    ] {
        let (status, refused) = api.post(&redrive, &body).await;
        assert_eq!((status, &refused["code"]), (422, &json!(code)), "{refused}");
        assert_eq!(refused["errors"][0]["pointer"], place, "{refused}");
    }
    let two = value(json!(0)).replace("\"A\"", "\"a b\"");
    let (_, refused) = api.post(&redrive, &mend(&two, "typo")).await;
    assert_eq!(refused["errors"].as_array().unwrap().len(), 2, "{refused}");

    let (status, asked) = api.post(&redrive, &mend(&good, "typo")).await;
    assert_eq!(status, 202, "{asked}");
    // Nothing of what was refused is there.
    let sent = api.published(Topic::DeadLettersCommands, 1).await.remove(0);
    let envelope = decode(&sent, Mode::Production).unwrap();
    let command = Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap();
    let Message::DeadLetterCommand(DeadLetterCommand::Redrive(redrive)) = command else {
        panic!("{command:?}")
    };
    assert_eq!(redrive.reason, r#"typo (edited: /data/quantity "2" -> 2)"#);
    assert_eq!(redrive.value_base64, Some(STANDARD.encode(good)));
    assert_eq!(envelope.id.to_string(), asked["command_id"].as_str().unwrap());
}

fn published(bootstrap: &str, topic: Topic, messages: usize) -> Vec<Raw> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic.name()]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut found = Vec::new();
    while found.len() < messages {
        assert!(Instant::now() < deadline, "only {} were published", found.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        found.push(Raw {
            topic,
            partition: 0,
            offset: message.offset(),
            key: message.key().map(bytes::Bytes::copy_from_slice),
            value: message.payload().map(bytes::Bytes::copy_from_slice),
            headers: shared::contract::envelope::Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        });
    }
    found
}

#[tokio::test]
async fn the_committed_openapi_document_is_what_is_served() {
    let api = Api::new().await;
    let served = api.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    let document = openapi::text(&http::described().into_openapi());
    assert_eq!(to_bytes(served.into_body(), 1 << 20).await.unwrap(), document);
    testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &document);
}

#[tokio::test]
async fn an_order_that_the_asker_has_is_not_sent_again_until_it_changes() {
    let mut api = Api::new().await;
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let (first, rest) = messages.split_at(messages.len() - 2);
    take_all(&mut api.projection, first.to_vec()).await;
    let order = id(1);
    let paths =
        [format!("/orders/{order}"), format!("/orders/{order}/timeline"), "/orders?limit=5".to_owned()];
    let mut tags = Vec::new();
    for path in &paths {
        let response = api.call(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        tags.push(response.headers()["etag"].clone());
    }
    for (path, tag) in paths.iter().zip(&tags) {
        let again = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        let again = api.call(again).await;
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, tag));
        assert!(again.headers().contains_key(LAG_HEADER), "it is asked for this too");
        assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
    }
    take_all(&mut api.projection, rest.to_vec()).await;
    for (path, tag) in paths.iter().zip(&tags) {
        let changed = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        assert_eq!(api.call(changed).await.status().as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_of_a_second_view_is_refused_with_the_reason() {
    let api = Api::new().await;
    let asked = async |verb: &str| {
        let (status, body) = api.post(&format!("/projections/{verb}"), &json!({})).await;
        (status, body["code"].as_str().or(body["wanted"].as_str()).unwrap_or_default().to_owned())
    };
    let refused = (409, "projection-state".to_owned());
    for verb in ["switch", "rollback", "verify", "drop"] {
        assert_eq!(asked(verb).await, refused, "{verb}: there is none");
    }
    assert_eq!(api.get("/projections").await.1["second"], Value::Null);
    assert_eq!(asked("rebuild").await, (202, "follow".to_owned()));
    // Nobody fills it here.
    for verb in ["rebuild", "switch", "rollback", "verify"] {
        assert_eq!(asked(verb).await, refused, "{verb}: it is being filled");
    }
    assert_eq!(asked("drop").await.0, 202);
    assert_eq!(asked("drop").await, refused);
}
