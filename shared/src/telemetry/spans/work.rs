//! What spans are drawn of.

use std::time::SystemTime;

use uuid::Uuid;

use super::{
    ids::{Caller, Origin},
    message::Message,
};

pub enum Work {
    /// A message was processed, and where it waited, since when.
    Processed { message: Message, fate: Fate, since: Option<SystemTime> },
    /// A dead letter was tried again.
    Redriven(Box<Redriven>),
    /// A command that came over HTTP was decided.
    Asked {
        id: Uuid,
        traceparent: Option<String>,
        /// Of its own stream: an order id or a sku.
        key: String,
        fate: Fate,
    },
    /// A request was answered.
    Served(Served),
    /// A call to the world outside came back.
    Called(Called),
}

pub struct Redriven {
    /// The command that asked for it.
    pub by: Message,
    /// As it was known when it died.
    pub died: Message,
    pub again: Message,
    pub fate: Fate,
}

pub enum Fate {
    /// How many events it made, and whether anything at all: tasks count as well.
    Done {
        events: usize,
        is_cause: bool,
    },
    Duplicate,
    /// Turned down, and answered so.
    Refused {
        code: String,
    },
    /// A dead letter.
    Dead {
        code: String,
    },
}

pub struct Served {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) caller: Option<Caller>,
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

pub struct Called {
    pub(super) cause: Cause,
    pub(super) name: &'static str,
    pub(super) order_id: Uuid,
    pub(super) attempt: i32,
    /// Why there is no answer.
    pub(super) error: Option<&'static str>,
}

/// What a call is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    pub(super) origin: Origin,
    pub(super) parent: opentelemetry::trace::SpanId,
}
