//! What a log line names of the message that it is about.

use tracing::field::{DisplayValue, display};
use uuid::Uuid;

use crate::contract::{
    envelope::{Mode, Raw, decode},
    ids::OrderId,
    topics::Key,
};

/// As far as it can be read. Only ids: what a message says is in no line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    order_id: Option<OrderId>,
    event_id: Option<Uuid>,
    correlation_id: Option<Uuid>,
}

impl About {
    /// Reads the message once more: for lines about a message that did not go well, of which there are few.
    pub fn of(raw: &Raw) -> Self {
        let key = raw.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let order_id = key.filter(|_| raw.topic.key() == Key::OrderId).and_then(|key| key.parse().ok());
        let (event_id, correlation_id) = match decode(raw, Mode::Development) {
            Ok(envelope) => (Some(envelope.id), envelope.correlation_id),
            // Its headers may be whole. A text that is no id is somebody's, and not for a log.
            Err(_) => {
                let header = |name| raw.headers.text(name).and_then(|text| Uuid::try_parse(text).ok());
                (header("ce_id"), header("ce_correlationid"))
            }
        };
        Self { order_id, event_id, correlation_id }
    }

    pub fn order_id(&self) -> Option<DisplayValue<OrderId>> {
        self.order_id.map(display)
    }

    pub fn event_id(&self) -> Option<DisplayValue<Uuid>> {
        self.event_id.map(display)
    }

    pub fn correlation_id(&self) -> Option<DisplayValue<Uuid>> {
        self.correlation_id.map(display)
    }
}
