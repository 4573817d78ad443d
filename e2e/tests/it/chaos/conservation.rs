//! What must be true at every moment, followed through the logs while they are written: positions without a hole,
//! stock within its bounds and the sum of its movements, an order that ends once, no money captured twice.

use std::collections::{HashMap, HashSet};

use shared::{
    contract::{ids::OrderId, message::Message, order::OrderEvent, payment::PaymentEvent, stock::StockEvent},
    log,
};
use sqlx::{Connection, PgConnection};

const PAGE: i64 = 5_000;

#[derive(Default)]
pub(crate) struct Conservation {
    positions: HashMap<String, i64>,
    versions: HashMap<String, i64>,
    levels: HashMap<String, (i64, i64)>,
    ended: HashSet<OrderId>,
    captured: HashSet<OrderId>,
    pub(crate) events: u64,
    pub(crate) looks: u64,
}

impl Conservation {
    /// Reads what is new in a log. An error is the database's, which may be away; a violation is told.
    pub(crate) async fn look(&mut self, service: &str, url: &str) -> anyhow::Result<Vec<String>> {
        let mut connection = PgConnection::connect(url).await?;
        let mut found = Vec::new();
        loop {
            let after = self.positions.get(service).copied().unwrap_or(0);
            let page = log::tail(&mut connection, after, PAGE).await?;
            for event in &page {
                let position = self.positions.entry(service.to_owned()).or_default();
                *position += 1;
                if event.position != *position {
                    found.push(format!("{service}: position {} where {position} is due", event.position));
                    *position = event.position;
                }
                let version = self.versions.entry(event.stream.to_string()).or_default();
                *version += 1;
                if event.version != *version {
                    found.push(format!("{}: version {} where {version} is due", event.stream, event.version));
                }
                if let Some(Ok(message)) = Message::decode(&event.event_type, &event.data) {
                    found.extend(self.take(&message));
                }
            }
            self.events += page.len() as u64;
            if (page.len() as i64) < PAGE {
                self.looks += 1;
                return Ok(found);
            }
        }
    }

    fn take(&mut self, message: &Message) -> Option<String> {
        match message {
            Message::Stock(event) => self.stock(event),
            Message::Order(event @ (OrderEvent::Completed(_) | OrderEvent::Settled(_))) => {
                let order = event.order_id();
                (!self.ended.insert(order)).then(|| format!("order {order} ends twice"))
            }
            Message::Payment(PaymentEvent::Captured(event)) => (!self.captured.insert(event.order_id))
                .then(|| format!("payment {} is captured twice", event.order_id)),
            _ => None,
        }
    }

    fn stock(&mut self, event: &StockEvent) -> Option<String> {
        let (on_hand, reserved) = event.levels();
        let before = self.levels.insert(event.sku().to_string(), (on_hand, reserved)).unwrap_or_default();
        let (more_on_hand, more_reserved) = event.deltas();
        let is_sum = (before.0 + more_on_hand, before.1 + more_reserved) == (on_hand, reserved);
        let is_possible = (0..=on_hand).contains(&reserved);
        (!is_sum || !is_possible).then(|| {
            format!("{}: {before:?} and {:?} make {:?}", event.sku(), event.deltas(), event.levels())
        })
    }
}
