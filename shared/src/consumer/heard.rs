//! What the consumer thread tells the loop, in order, through one channel.
//!
//! Because partitions going and coming stand in the same queue as the messages, the loop has met every message of
//! a partition before it learns that the partition is gone, and none of it before it has said where to start.

use std::sync::mpsc::SyncSender;

use crate::contract::{envelope::Raw, topics::Topic};

/// A partition of a topic.
pub type Place = (Topic, i32);

/// Where to go on: the next offset, `None` where the group has no position yet and begins at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub place: Place,
    pub next: Option<i64>,
}

#[derive(Debug)]
pub enum Heard {
    Message(Raw),
    /// These partitions, and no others, are ours from now on. Nothing of them comes before the reply, which says
    /// where each goes on. A dropped reply keeps the thread from fetching until it is assigned anew.
    Assigned {
        places: Vec<Place>,
        reply: SyncSender<Vec<Position>>,
    },
    /// No partition is ours any more. The reply lets the others have them.
    Revoked {
        reply: SyncSender<()>,
    },
    /// A stored position is outside of what the topic has: retention or a truncated topic took messages that were
    /// never read. The partition stays unread until an operator says that the loss is accepted.
    DataLossSuspected(String),
    /// The client cannot go on; the process should end.
    Fatal(String),
}
