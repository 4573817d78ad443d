//! Mixed traffic, drawn from a seed, and the journal of what the clients were told.
//!
//! A wave is some orders with all that happens to orders: one sku that most want, more than there is, amounts that the
//! provider declines, answers late or fails to capture, cancels before, between and after, repeats, neighbours swapped,
//! and messages that nobody can read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use cli::{
    audit::{Answer, Asked, Told},
    event::{BAD_KINDS, Bad},
    kafka::{Record, publish},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shared::{
    broker::BrokerSettings,
    contract::{
        dead_letter::dead_letter_id,
        ids::{OrderId, named},
        topics::Topic,
    },
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Mix, Order, Seen, System, mix::CONTRADICTED, record, structured, until};

const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const STOCK_LIMIT: Duration = Duration::from_secs(120);
const SKUS: usize = 10;
const STOCK: i64 = 400_000;
/// A message that was spoiled on purpose says so.
const PLANTED: &str = "planted";
const SILENT_DEADLINE: TimeDelta = TimeDelta::milliseconds(700);

/// What somebody was told about an order, or a delivery of stock.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// 2xx, or acknowledged by the broker: must be there, and must end.
    pub accepted: BTreeSet<Uuid>,
    /// 4xx: must not be there.
    pub refused: BTreeSet<Uuid>,
    /// No answer, or 5xx: once or not at all.
    pub unknown: BTreeSet<Uuid>,
    /// The same and what was said of deliveries of stock, for the audit.
    pub told: Vec<Told>,
}

/// Where traffic goes to. Cheap to clone; every call to it ends by itself.
#[derive(Clone)]
pub struct Edge {
    broker: BrokerSettings,
    orders: String,
    inventory: String,
    payments: String,
    client: Client,
}

pub struct Load {
    pub mix: Mix,
    pub journal: Journal,
    /// Messages given to the broker or over HTTP.
    pub said: u64,
    /// What was on a topic before is others'.
    pub(super) begun_ms: i64,
    rng: StdRng,
    skus: Vec<String>,
    last: Vec<Uuid>,
    /// Orders over HTTP that got no answer, by their id, and the key they were asked for by.
    unanswered: BTreeMap<Uuid, (Uuid, Order)>,
    /// Orders about whose payment the provider said no and has taken the money: it will say so later.
    pub(super) contradicted: Vec<Uuid>,
}

#[derive(Debug, Default)]
pub struct Wave {
    /// Over HTTP, each with its idempotency key.
    orders: Vec<(Uuid, Order)>,
    cancels: Vec<Uuid>,
    records: Vec<Record>,
    /// Orders whose creation is among the records.
    published: Vec<Uuid>,
    /// Deliveries of stock over HTTP.
    receipts: Vec<String>,
    callbacks: Vec<Uuid>,
}

impl Edge {
    /// The first replica of each service, wherever it is started again.
    pub fn of(system: &System) -> Self {
        let client = Client::builder().no_proxy().timeout(CLIENT_TIMEOUT).build();
        let client = client.unwrap_or_else(|error| panic!("no HTTP client: {error}"));
        let [orders, inventory, payments] = ["order-service", "inventory-service", "payment-service"]
            .map(|name| system.service(name).http.clone());
        Self { broker: system.broker.clone(), orders, inventory, payments, client }
    }

    async fn post(&self, url: String, body: &Value) -> Option<StatusCode> {
        Some(self.client.post(url).json(body).send().await.ok()?.status())
    }

    /// What the sender takes away from it.
    async fn ask(asked: Asked, request: RequestBuilder) -> Told {
        let unknown = |asked| Told { asked, answer: Answer::Unknown, token: None };
        let Ok(response) = request.send().await else { return unknown(asked) };
        let status = response.status();
        if status.is_client_error() {
            return Told { asked, answer: Answer::Refused, token: None };
        }
        // Cut off in the middle of a 202 is as good as no answer.
        let Ok(body) = response.json::<Value>().await else { return unknown(asked) };
        if !status.is_success() {
            return unknown(asked);
        }
        let token = serde_json::from_value(body["token"].clone()).ok();
        Told { asked, answer: Answer::Ok, token }
    }
}

impl Load {
    pub fn new(seed: u64, mix: Mix) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let run: u32 = rng.random();
        // Another run of the same seed in the same system has skus of its own.
        let tail = Uuid::now_v7().simple().to_string();
        let skus = (0..SKUS).map(|number| format!("L{run:08X}-{}-{number}", &tail[26..])).collect();
        Self {
            mix,
            journal: Journal::default(),
            said: 0,
            begun_ms: Utc::now().timestamp_millis(),
            rng,
            skus,
            last: Vec::new(),
            unanswered: BTreeMap::new(),
            contradicted: Vec::new(),
        }
    }

    /// What the stock must be received of before the first wave.
    pub async fn stock(&self, edge: &Edge) {
        for sku in &self.skus {
            let url = format!("{}/stock/{sku}/receive", edge.inventory);
            // By one reference it is received once, however often it is said.
            let body = json!({"quantity": STOCK, "reference": Uuid::now_v7()});
            until(&format!("stock of {sku}"), STOCK_LIMIT, async || {
                (edge.post(url.clone(), &body).await == Some(StatusCode::ACCEPTED)).then_some(())
            })
            .await;
        }
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.rng.random_range(0..1_000) < per_mille
    }

    pub fn wave(&mut self, orders: usize) -> Wave {
        let mut wave = Wave::default();
        let mut about = Vec::new();
        for _ in 0..orders {
            let (mut order, data) = self.order();
            let cancelled = self.happens(self.mix.cancelled_per_mille);
            if self.happens(self.mix.over_http_per_mille) {
                let key = std::mem::take(&mut order.id);
                order.id = named(&["order", &order.user, &key.to_string()]);
                wave.orders.push((key, order.clone()));
            } else {
                wave.published.push(order.id);
                let creation = structured("fulfil.order.create.v2", &data);
                let creation = record(Topic::OrdersCommands, order.id, &creation);
                // A cancel can be there before what it cancels.
                if cancelled && self.rng.random() {
                    wave.records.push(cancel(order.id));
                }
                wave.records.push(creation);
            }
            if cancelled {
                if self.rng.random() {
                    wave.cancels.push(order.id);
                } else {
                    about.push(cancel(order.id));
                }
            }
            self.last.push(order.id);
            if order.price_minor % 100 == CONTRADICTED {
                self.contradicted.push(order.id);
            }
        }
        wave.records.extend(about);
        self.spoil(&mut wave.records);
        let keep = self.last.len().saturating_sub(100);
        self.last.drain(..keep);
        wave.receipts.extend(self.skus.choose(&mut self.rng).cloned());
        wave.callbacks.extend(self.last.choose_multiple(&mut self.rng, 3).copied());
        wave
    }

    fn order(&mut self) -> (Order, Value) {
        let hot = self.happens(self.mix.hot_per_mille);
        let sku = if hot { 0 } else { self.rng.random_range(1..SKUS) };
        let quantity = if self.happens(self.mix.too_many_per_mille) { 2 * STOCK } else { 1 };
        let draw = self.rng.random_range(0..1_000);
        let mut until = 0;
        let mood = self.mix.moods.iter().find(|(_, per_mille)| {
            until += per_mille;
            draw < until
        });
        let price = 1_000 + mood.map_or(0, |(digits, _)| *digits);
        let order = Order::new(&self.skus[sku], quantity, price);
        let mut data = order.data();
        if price % 100 == 14 && self.rng.random() {
            data["deadline_at"] = json!(Utc::now() + SILENT_DEADLINE);
        }
        (order, data)
    }

    /// Repeats, swaps and poison.
    fn spoil(&mut self, records: &mut Vec<Record>) {
        for index in (0..records.len()).rev() {
            if self.happens(self.mix.repeated_per_mille) {
                let to = self.rng.random_range(index..=records.len());
                records.insert(to, records[index].clone());
            }
            if index > 0 && self.happens(self.mix.swapped_per_mille) {
                records.swap(index - 1, index);
            }
            if self.happens(self.mix.poison_per_mille) {
                let poison = self.poison();
                records.insert(index, poison);
            }
        }
    }

    fn poison(&mut self) -> Record {
        let (order, data) = self.order();
        let everybody = self.rng.random();
        let (topic, message_type) = if everybody {
            (Topic::OrdersEvents, "fulfil.order.created.v2")
        } else {
            (Topic::OrdersCommands, "fulfil.order.create.v2")
        };
        let mut poison = record(topic, order.id, &structured(message_type, &data));
        // The largest would fill the disk of a long run. Some kinds spoil what these messages do not have.
        let spoils = |kind: &&Bad| {
            let mut spoiled = poison.clone();
            kind.spoil(&mut spoiled);
            kind.name != "too-large" && spoiled != poison
        };
        let kinds: Vec<&Bad> = BAD_KINDS.iter().filter(spoils).collect();
        if let Some(kind) = kinds.choose(&mut self.rng) {
            kind.spoil(&mut poison);
            poison.headers.push((PLANTED.into(), Some(Bytes::from_static(kind.name.as_bytes()))));
        }
        poison
    }

    /// Says all of a wave at once, and notes the answers.
    pub async fn say(&mut self, edge: &Edge, wave: Wave) {
        let mut calls = JoinSet::new();
        self.said += (wave.orders.len() + wave.cancels.len() + wave.records.len()) as u64;
        for (key, order) in wave.orders {
            let edge = edge.clone();
            self.unanswered.insert(order.id, (key, order.clone()));
            calls.spawn(async move { vec![create(&edge, key, &order).await] });
        }
        let (broker, records, published) = (edge.broker.clone(), wave.records, wave.published);
        calls.spawn(async move { publish_all(broker, records, published).await });
        while let Some(told) = calls.join_next().await {
            self.note(told.unwrap_or_else(|panic| panic!("{panic}")));
        }
        let mut told = JoinSet::new();
        for sku in wave.receipts {
            let edge = edge.clone();
            told.spawn(async move { receive(&edge, &sku).await });
        }
        for order in wave.cancels {
            let edge = edge.clone();
            told.spawn(async move { cancelled(&edge, order).await });
        }
        let mut calls = JoinSet::new();
        for order in wave.callbacks {
            let edge = edge.clone();
            calls.spawn(async move {
                let body = json!({"payment_id": order});
                edge.post(format!("{}/provider/callbacks", edge.payments), &body).await
            });
        }
        // What they are answered is in the invariants of money.
        calls.join_all().await;
        let told = told.join_all().await;
        self.journal.told.extend(told);
    }

    /// Asks once more for every order that got no answer: by its key it is the same order.
    ///
    /// # Panics
    /// Where it is refused or another one.
    pub async fn ask_again(&mut self, edge: &Edge) {
        for (id, (key, order)) in std::mem::take(&mut self.unanswered) {
            let told = until(&format!("an answer to order {id}"), ANSWER_LIMIT, async || {
                let told = create(edge, key, &order).await;
                (told.answer != Answer::Unknown).then_some(told)
            })
            .await;
            let stream = told.token.as_ref().map(|token| token.stream.as_str().to_owned());
            assert_eq!(
                (told.answer, stream),
                (Answer::Ok, Some(format!("order-{id}"))),
                "asked by key {key}"
            );
            self.note(vec![told]);
        }
    }

    fn note(&mut self, told: Vec<Told>) {
        for told in told {
            if let Asked::Order { order_id } = &told.asked {
                let orders = match told.answer {
                    Answer::Ok => &mut self.journal.accepted,
                    Answer::Refused => &mut self.journal.refused,
                    Answer::Unknown => &mut self.journal.unknown,
                };
                orders.insert(order_id.uuid());
                if told.answer != Answer::Unknown {
                    self.unanswered.remove(&order_id.uuid());
                }
            }
            self.journal.told.push(told);
        }
    }
}

async fn create(edge: &Edge, key: Uuid, order: &Order) -> Told {
    let body = json!({"user_id": order.user, "lines": order.data()["lines"], "currency": "EUR"});
    let request = edge.client.post(format!("{}/orders", edge.orders)).json(&body);
    Edge::ask(asked(order.id), request.header("Idempotency-Key", key.to_string())).await
}

async fn cancelled(edge: &Edge, order: Uuid) -> Told {
    let body = json!({"reason": "changed my mind"});
    let request = edge.client.post(format!("{}/orders/{order}/cancel", edge.orders)).json(&body);
    Edge::ask(Asked::Cancel { order_id: order_id(order) }, request).await
}

async fn receive(edge: &Edge, sku: &str) -> Told {
    let reference = Uuid::now_v7().to_string();
    let body = json!({"quantity": 1, "reference": reference});
    let request = edge.client.post(format!("{}/stock/{sku}/receive", edge.inventory)).json(&body);
    let sku = sku.parse().unwrap_or_else(|error| panic!("{sku}: {error}"));
    Edge::ask(Asked::Stock { sku, reference }, request).await
}

fn asked(order: Uuid) -> Asked {
    Asked::Order { order_id: order_id(order) }
}

fn order_id(order: Uuid) -> OrderId {
    OrderId::new(order).unwrap_or_else(|| panic!("{order} is no order"))
}

async fn publish_all(broker: BrokerSettings, records: Vec<Record>, published: Vec<Uuid>) -> Vec<Told> {
    let told = |order, answer| Told { asked: asked(order), answer, token: None };
    let keys: Vec<Option<Bytes>> = records.iter().map(|record| record.key.clone()).collect();
    let sent = tokio::task::spawn_blocking(move || publish(&broker, &records, None)).await;
    let Ok(Ok(results)) = sent else {
        return published.into_iter().map(|order| told(order, Answer::Unknown)).collect();
    };
    let failed = keys.iter().zip(&results).filter(|(_, result)| result.is_err());
    let lost: BTreeSet<&Option<Bytes>> = failed.map(|(key, _)| key).collect();
    let answer = |order: Uuid| match lost.contains(&Some(Bytes::from(order.to_string()))) {
        true => told(order, Answer::Unknown),
        false => told(order, Answer::Ok),
    };
    published.into_iter().map(answer).collect()
}

fn cancel(order: Uuid) -> Record {
    let data = json!({"order_id": order, "reason": "changed my mind"});
    record(Topic::OrdersCommands, order, &structured("fulfil.order.cancel.v1", &data))
}

/// The dead letters that the planted messages on the topics must have become, one for each group that reads them, and
/// what each is of.
pub fn planted_letters(seen: &Seen) -> BTreeMap<Uuid, String> {
    const ADOPTED: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
    let mut letters = BTreeMap::new();
    for (topic, groups) in [(Topic::OrdersCommands, &ADOPTED[..1]), (Topic::OrdersEvents, &ADOPTED[..])] {
        for raw in seen.on(topic).iter() {
            let Some(kind) = raw.headers.text(PLANTED) else { continue };
            for group in groups {
                let id = dead_letter_id(group, topic.name(), raw.partition, raw.offset);
                letters.insert(id, format!("{kind} on {topic}[{}]@{} of {group}", raw.partition, raw.offset));
            }
        }
    }
    letters
}
