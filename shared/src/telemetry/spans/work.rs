//! What spans are drawn of.

use std::time::SystemTime;

use opentelemetry::{
    KeyValue,
    trace::{SpanId, Status},
};
use uuid::Uuid;

use super::{
    ids::{Caller, Origin},
    message::Message,
};
use crate::contract::envelope::Raw;

/// What is common to what was committed together.
pub(super) struct Batch {
    pub(super) group: &'static str,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
}

pub enum Work {
    /// A message was processed, and where it waited, since when.
    Processed { message: Incoming, fate: Fate, since: Option<SystemTime> },
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

/// A message is read by the thread that draws, where nobody has it read.
pub enum Incoming {
    /// `key`: the id in `data`, where it is known.
    Unread {
        raw: Raw,
        key: Option<String>,
    },
    Read(Message),
}

pub struct Redriven {
    /// The command that asked for it.
    pub by: Raw,
    /// As it was known when it died.
    pub died: Raw,
    pub again: Raw,
    pub fate: Fate,
}

/// What is told at once, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub spans: usize,
    /// Of messages.
    pub bytes: usize,
}

impl Incoming {
    pub(super) fn read(self) -> Message {
        match self {
            Self::Unread { raw, key } => Message::of(&raw, key.as_deref()),
            Self::Read(message) => message,
        }
    }
}

impl Work {
    /// What it keeps of messages until it is drawn.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Processed { message: Incoming::Unread { raw, .. }, .. } => raw.bytes(),
            Self::Redriven(redriven) => {
                let Redriven { by, died, again, .. } = &**redriven;
                by.bytes() + died.bytes() + again.bytes()
            }
            Self::Processed { message: Incoming::Read(_), .. }
            | Self::Asked { .. }
            | Self::Served(_)
            | Self::Called(_) => 0,
        }
    }
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

impl Fate {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Duplicate => "duplicate",
            Self::Refused { .. } => "refused",
            Self::Dead { .. } => "dead-lettered",
        }
    }

    /// A refusal is an answer, a dead letter is a failure.
    pub(super) fn tell(&self, attributes: &mut Vec<KeyValue>) -> Status {
        match self {
            Self::Done { events, .. } => {
                attributes.push(KeyValue::new("fulfil.events", *events as i64));
                Status::Unset
            }
            Self::Duplicate => Status::Unset,
            Self::Refused { code } => {
                attributes.push(KeyValue::new("error.type", code.clone()));
                Status::Unset
            }
            Self::Dead { code } => {
                attributes.push(KeyValue::new("error.type", code.clone()));
                Status::error(code.clone())
            }
        }
    }
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
    pub(super) parent: SpanId,
}
