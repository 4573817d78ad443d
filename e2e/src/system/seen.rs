//! All that was ever published, followed by a thread of its own from the topics' beginning.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use cli::kafka::{From, Reader};
use serde_json::Value;
use shared::{
    broker::BrokerSettings,
    contract::{envelope::Raw, topics::Topic},
};
use uuid::Uuid;

const POLL: Duration = Duration::from_millis(200);

/// An event or command as a reader without our code sees it.
#[derive(Clone, Debug)]
pub struct Told {
    pub topic: Topic,
    pub message_type: String,
    pub data: Value,
    pub position: Option<i64>,
    /// When it was published, by the machine's clock, in milliseconds.
    pub at_ms: i64,
}

#[derive(Default)]
pub struct Seen {
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    raws: Vec<Arc<Raw>>,
    /// Events that carry a position, once each, by their order or sku, in the order in which they appeared.
    stories: HashMap<String, Vec<Told>>,
    ids: HashSet<String>,
    /// Orders in the order in which they ended.
    ended: Vec<Uuid>,
}

impl Seen {
    pub(super) fn follow(broker: BrokerSettings) -> anyhow::Result<Arc<Self>> {
        let mut reader = Reader::open(&broker, &Topic::ALL, None, From::Start)?;
        let seen = Arc::new(Self::default());
        let follower = Arc::clone(&seen);
        thread::spawn(move || {
            loop {
                match reader.next(POLL) {
                    Ok(Some(raw)) => follower.lock().take(raw),
                    Ok(None) => {}
                    Err(error) => return eprintln!("the follower of the topics ended: {error:#}"),
                }
            }
        });
        Ok(seen)
    }

    /// Every event of ours about an order.
    pub fn story(&self, order: Uuid) -> Vec<Told> {
        self.about(&order.to_string())
    }

    /// Every event of ours with this order id or sku.
    pub fn about(&self, key: &str) -> Vec<Told> {
        self.lock().stories.get(key).cloned().unwrap_or_default()
    }

    pub fn has(&self, order: Uuid, message_type: &str) -> bool {
        let log = self.lock();
        log.stories
            .get(&order.to_string())
            .is_some_and(|story| story.iter().any(|told| told.message_type == message_type))
    }

    /// How an order ended, if it has.
    pub fn end(&self, order: Uuid) -> Option<&'static str> {
        let log = self.lock();
        let story = log.stories.get(&order.to_string())?;
        story.iter().find_map(|told| match told.message_type.as_str() {
            "fulfil.order.completed.v1" => Some("completed"),
            "fulfil.order.settled.v1" => Some("settled"),
            _ => None,
        })
    }

    /// The orders that ended after so many had.
    pub fn ended_after(&self, count: usize) -> Vec<Uuid> {
        self.lock().ended.get(count..).unwrap_or_default().to_vec()
    }

    /// Messages on all topics, repeats included.
    pub fn count(&self) -> usize {
        self.lock().raws.len()
    }

    /// On hand and reserved, as the stock topic said last.
    pub fn levels(&self, sku: &str) -> (i64, i64) {
        let log = self.lock();
        let last = log
            .stories
            .get(sku)
            .and_then(|story| story.iter().rfind(|told| told.topic == Topic::InventoryStock));
        let level = |name: &str| last.and_then(|told| told.data[name].as_i64()).unwrap_or(0);
        (level("on_hand"), level("reserved"))
    }

    pub fn on(&self, topic: Topic) -> Vec<Arc<Raw>> {
        self.lock().raws.iter().filter(|raw| raw.topic == topic).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn take(&mut self, raw: Raw) {
        if let Some((id, told)) = told(&raw)
            && told.position.is_some()
            && self.ids.insert(id)
        {
            // An event of a stock names its order as well, but is not a part of the order's story.
            if is_end(&told.message_type)
                && let Some(order) = told.data["order_id"].as_str().and_then(|id| id.parse().ok())
            {
                self.ended.push(order);
            }
            let field = if raw.topic == Topic::InventoryStock { "sku" } else { "order_id" };
            if let Some(key) = told.data[field].as_str() {
                self.stories.entry(key.to_owned()).or_default().push(told);
            }
        }
        self.raws.push(Arc::new(raw));
    }
}

fn is_end(message_type: &str) -> bool {
    matches!(message_type, "fulfil.order.completed.v1" | "fulfil.order.settled.v1")
}

fn told(raw: &Raw) -> Option<(String, Told)> {
    let value: Value = serde_json::from_slice(raw.value.as_deref()?).ok()?;
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let position = text("position").and_then(|position| position.parse().ok());
    let (message_type, data) = (text("type")?, value["data"].clone());
    let told = Told { topic: raw.topic, message_type, data, position, at_ms: raw.timestamp_ms };
    Some((text("id")?, told))
}
