//! What stands in the one log of inventory-service: both families of events.

use shared::contract::{
    Malformed,
    ids::StreamName,
    message::Event,
    stock::{ReservationEvent, StockEvent},
};

#[derive(Debug, Clone, PartialEq)]
pub enum InventoryEvent {
    Reservation(ReservationEvent),
    Stock(StockEvent),
}

impl InventoryEvent {
    pub fn stream(&self) -> StreamName {
        match self {
            Self::Reservation(event) => StreamName::reservation(event.order_id()),
            Self::Stock(event) => StreamName::stock(event.sku()),
        }
    }
}

impl From<ReservationEvent> for InventoryEvent {
    fn from(event: ReservationEvent) -> Self {
        Self::Reservation(event)
    }
}

impl From<StockEvent> for InventoryEvent {
    fn from(event: StockEvent) -> Self {
        Self::Stock(event)
    }
}

impl Event for InventoryEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Reservation(event) => event.event_type(),
            Self::Stock(event) => event.event_type(),
        }
    }

    fn data(&self) -> String {
        match self {
            Self::Reservation(event) => event.data(),
            Self::Stock(event) => event.data(),
        }
    }

    fn decode(event_type: &str, data: &str) -> Option<Result<Self, Malformed>> {
        ReservationEvent::decode(event_type, data)
            .map(|event| event.map(Self::Reservation))
            .or_else(|| StockEvent::decode(event_type, data).map(|event| event.map(Self::Stock)))
    }
}
