//! What an edge can say to the system, and what it is answered.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cli::kafka::{Delivered, Record, publish};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

use super::{System, until};

/// The longest way, over two silences of the provider, on a busy machine.
const END_LIMIT: Duration = Duration::from_secs(180);

/// One line of goods.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: Uuid,
    pub user: String,
    pub sku: String,
    pub quantity: i64,
    pub price_minor: i64,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Value,
}

impl Order {
    pub fn new(sku: &str, quantity: i64, price_minor: i64) -> Self {
        Self { id: Uuid::now_v7(), user: "u1".to_owned(), sku: sku.to_owned(), quantity, price_minor }
    }

    pub fn amount_minor(&self) -> i64 {
        self.quantity * self.price_minor
    }

    /// The payload of `fulfil.order.create.v2`.
    pub fn data(&self) -> Value {
        json!({
            "order_id": self.id, "user_id": self.user,
            "lines": [{"sku": self.sku, "quantity": self.quantity, "unit_price_minor": self.price_minor}],
            "amount": {"minor": self.amount_minor(), "currency": "EUR"},
        })
    }

    pub fn create(&self) -> Record {
        record(Topic::OrdersCommands, self.id, &structured("fulfil.order.create.v2", &self.data()))
    }
}

/// A CloudEvent in the value, without headers, as `kcat -P` would send it.
pub fn structured(message_type: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": Uuid::now_v7(), "source": "/e2e", "type": message_type, "data": data})
}

pub fn record(topic: Topic, key: impl ToString, value: &Value) -> Record {
    Record {
        topic,
        partition: None,
        key: Some(Bytes::from(key.to_string())),
        value: Some(Bytes::from(value.to_string())),
        headers: Vec::new(),
    }
}

impl System {
    /// Publishes all, in this order per key, and says where each ended.
    pub async fn publish(&self, records: Vec<Record>) -> Vec<Delivered> {
        let deadline = Instant::now() + END_LIMIT;
        let results = loop {
            let (broker, records) = (self.broker.clone(), records.clone());
            let published = tokio::task::spawn_blocking(move || publish(&broker, &records, None)).await;
            match published.unwrap_or_else(|panic| panic!("{panic}")) {
                Ok(results) => break results,
                // Nothing was sent: the broker did not say in time where its partitions are.
                Err(error) => assert!(Instant::now() < deadline, "nothing was published: {error:#}"),
            }
        };
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|error| panic!("not delivered: {error}")))
            .collect()
    }

    /// One message that is JSON.
    pub async fn say(&self, topic: Topic, key: impl ToString, value: &Value) -> Delivered {
        self.publish(vec![record(topic, key, value)]).await[0]
    }

    pub async fn post(&self, service: &str, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, &format!("{}{path}", self.service(service).http), Some(body)).await
    }

    pub async fn get(&self, service: &str, path: &str) -> Answer {
        self.call(Method::GET, &format!("{}{path}", self.service(service).http), None).await
    }

    async fn call(&self, method: Method, url: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let location =
            response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status();
        let text = response.text().await.unwrap_or_else(|error| panic!("{url}: {error}"));
        Answer { status, location, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// A counter of a process, summed over its labels.
    pub async fn metric(&self, service: &str, replica: u16, name: &str) -> f64 {
        let found = self.status.service(service, replica);
        let admin = &found.unwrap_or_else(|| panic!("there is no {service} (replica {replica})")).admin;
        let answer = self.call(Method::GET, &format!("{admin}/metrics"), None).await;
        let Value::String(text) = answer.body else { panic!("{admin}/metrics is JSON") };
        let is_of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        text.lines().filter(is_of_it).filter_map(value).sum()
    }

    /// A sku that no other test knows, with so many on hand.
    pub async fn stocked(&self, quantity: i64) -> String {
        let sku = format!("E2E-{}", &Uuid::now_v7().simple().to_string()[20..]);
        let body = json!({"quantity": quantity, "reference": Uuid::now_v7()});
        let answer = self.post("inventory-service", &format!("/stock/{sku}/receive"), &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.body["on_hand"], quantity);
        sku
    }

    /// Waits until so many of a sku are on hand and reserved: the events of the stock reach their topic by themselves,
    /// sooner or later than the order's.
    pub async fn stock_is(&self, sku: &str, levels: (i64, i64)) {
        let is_so = async || (self.seen.levels(sku) == levels).then_some(());
        until(&format!("the stock of {sku} to be {levels:?}"), END_LIMIT, is_so).await;
    }

    /// What the provider has in its books about an order.
    pub async fn books(&self, order: Uuid) -> Option<Value> {
        let answer = self.call(Method::GET, &format!("{}/payments/{order}", self.provider()), None).await;
        answer.status.is_success().then_some(answer.body)
    }

    /// Captured and merely authorized, in minor units.
    pub async fn money(&self, order: Uuid) -> (i64, i64) {
        let books = self.books(order).await.unwrap_or_default();
        let minor = |name: &str| books[name].as_i64().unwrap_or(0);
        (minor("captured_minor"), minor("authorized_minor"))
    }

    /// `completed` or `settled`.
    pub async fn end(&self, order: Uuid) -> &'static str {
        until(&format!("the end of order {order}"), END_LIMIT, async || self.seen.end(order)).await
    }

    /// Waits until the view says so.
    pub async fn shown(&self, order: Uuid, status: &str) {
        let path = format!("/orders/{order}");
        until(&format!("the view to show order {order} as {status}"), END_LIMIT, async || {
            (self.get("projector", &path).await.body["status"] == status).then_some(())
        })
        .await;
    }

    /// Waits until the view answers.
    pub async fn shows_something(&self) {
        let answers = async || {
            let view = self.get("projector", "/orders?limit=1").await;
            view.status.is_success().then_some(())
        };
        until("the view to answer", END_LIMIT, answers).await;
    }

    /// How many orders of a sku the view shows in each status.
    pub async fn view_of(&self, sku: &str) -> BTreeMap<String, usize> {
        let (mut counts, mut cursor) = (BTreeMap::new(), String::new());
        loop {
            let page = self.get("projector", &format!("/orders?sku={sku}&limit=500{cursor}")).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            for order in page.body["orders"].as_array().into_iter().flatten() {
                *counts.entry(order["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return counts,
            }
        }
    }

    pub async fn happens(&self, order: Uuid, message_type: &str) {
        let what = format!("{message_type} of order {order}");
        until(&what, END_LIMIT, async || self.seen.has(order, message_type).then_some(())).await;
    }

    /// Why an order was cancelled.
    pub fn reason(&self, order: Uuid) -> Option<String> {
        let story = self.seen.story(order);
        let cancelled = story.iter().find(|told| told.message_type == "fulfil.order.cancelled.v1")?;
        cancelled.data["reason"].as_str().map(str::to_owned)
    }
}
