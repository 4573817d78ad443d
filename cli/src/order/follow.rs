//! Following an order on its topic until it is where somebody wants it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use shared::contract::{
    ids::OrderId,
    message::Message,
    order::{OrderCancelled, OrderEvent},
    topics::Topic,
};
use tokio::sync::mpsc;

use crate::{
    exit::{Exit, ended},
    kafka::{From, Heard, Reader},
    place::Place,
    sighting::Sighting,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Status {
    Created,
    Confirmed,
    Completed,
    Cancelled,
    Settled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirmed => "confirmed",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Settled => "settled",
        }
    }

    /// Whether an order in this state can still come to that one.
    fn can_become(self, wanted: Self) -> bool {
        match self {
            Self::Created => true,
            Self::Confirmed => wanted != Self::Created,
            Self::Cancelled => wanted == Self::Settled,
            Self::Completed | Self::Settled => false,
        }
    }
}

/// What is known of one order.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub status: Option<Status>,
    /// Every state it was in, in order.
    pub passed: Vec<Status>,
    pub cancelled: Option<OrderCancelled>,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Reached(Known),
    /// It ended, or went where the wanted states cannot be reached any more.
    Otherwise(Known),
    Waited(Known),
}

/// Orders as heard on `orders.events` since it was opened.
pub struct Following {
    heard: mpsc::Receiver<Heard>,
    orders: HashMap<OrderId, Known>,
}

impl Following {
    /// From the end of the topic as it is now: open it before the order is created.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        let broker = place.broker.clone();
        let open = move || Reader::open(&broker, &[Topic::OrdersEvents], None, From::End);
        let reader = tokio::task::spawn_blocking(open).await??;
        Ok(Self { heard: reader.follow(), orders: HashMap::new() })
    }

    /// Waits until the order was in one of these states.
    pub async fn until(
        &mut self,
        order: OrderId,
        wanted: &[Status],
        timeout: Duration,
    ) -> anyhow::Result<Outcome> {
        let deadline = Instant::now() + timeout;
        loop {
            let known = self.orders.get(&order).cloned().unwrap_or_default();
            if known.passed.iter().any(|status| wanted.contains(status)) {
                return Ok(Outcome::Reached(known));
            }
            if known.status.is_some_and(|status| !wanted.iter().any(|wanted| status.can_become(*wanted))) {
                return Ok(Outcome::Otherwise(known));
            }
            match tokio::time::timeout_at(deadline.into(), self.heard.recv()).await {
                Err(_) => return Ok(Outcome::Waited(known)),
                Ok(Some(Heard::Message(raw))) => self.take(&Sighting::of(raw)),
                Ok(Some(Heard::CaughtUp)) => {}
                Ok(Some(Heard::Failed(error))) => return Err(ended(Exit::Failed, error)),
                Ok(None) => return Err(ended(Exit::Failed, "the reader of orders.events stopped")),
            }
        }
    }

    fn take(&mut self, sighting: &Sighting) {
        let Ok(envelope) = &sighting.envelope else { return };
        // A foreign event decides nothing.
        if envelope.position.is_none() {
            return;
        }
        let message = Message::decode(&envelope.message_type, &envelope.data);
        let Some(Ok(Message::Order(event))) = message else { return };
        let known = self.orders.entry(event.order_id()).or_default();
        known.take(event);
    }
}

impl Known {
    fn take(&mut self, event: OrderEvent) {
        let status = match event {
            OrderEvent::Created(_) => Status::Created,
            OrderEvent::Confirmed(_) => Status::Confirmed,
            OrderEvent::Completed(_) => Status::Completed,
            OrderEvent::Cancelled(cancelled) => {
                self.cancelled = Some(cancelled);
                Status::Cancelled
            }
            OrderEvent::Settled(_) => Status::Settled,
            OrderEvent::Progressed(_) | OrderEvent::CancellationRejected(_) => return,
        };
        // A duplicate changes nothing.
        if !self.passed.contains(&status) {
            self.passed.push(status);
            self.status = Some(status);
        }
    }

    /// `out of stock`, for an order that was cancelled.
    pub fn reason(&self) -> Option<String> {
        let reason = serde_json::to_value(self.cancelled.as_ref()?.reason).ok()?;
        Some(reason.as_str()?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_cancelled_can_only_settle() {
        assert!(Status::Created.can_become(Status::Completed));
        assert!(Status::Cancelled.can_become(Status::Settled));
        assert!(!Status::Cancelled.can_become(Status::Completed));
        assert!(!Status::Completed.can_become(Status::Settled));
    }
}
