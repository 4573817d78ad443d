//! What one call of `append` writes, and what it answers. Plain data: the unit of work makes it without I/O, and a
//! model of the database can take it as well as Postgres.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    contract::{
        Timestamp,
        envelope::{Raw, Recorded},
        ids::StreamName,
        topics::Topic,
    },
    decider::Task,
};

/// All that a batch changes. It commits whole or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Append {
    /// The end of the log that the batch was decided at. Refused when the log is past it.
    pub seen: i64,
    /// The event that stands there, where it is known: after a failover or from a backup the log can end at the same
    /// number with another one.
    pub seen_event: Option<Uuid>,
    /// Numbered from `seen + 1` without a hole.
    pub events: Vec<Recorded>,
    /// Compare-and-set of consumer positions. Refused when one of them moved.
    pub moves: Vec<Move>,
    /// Messages that wait, in this order.
    pub held: Vec<Held>,
    /// Held messages that wait no longer, by [`HeldRow::id`]. Refused when one of them does not wait any more: another
    /// replica has processed it.
    pub unheld: Vec<i64>,
    /// New dead letters and changes of known ones, in this order.
    pub letters: Vec<LetterRecord>,
    /// Added, or set anew where the id exists.
    pub tasks: Vec<OwnedTask>,
    pub tasks_done: Vec<DoneTask>,
    /// Streams that begin with this batch: whoever holds messages that were too early for such a key gets a
    /// release task, made under the log's lock.
    pub begun: Vec<Begun>,
    pub snapshots: Vec<Snapshot>,
}

impl Append {
    /// Nothing was made of what was read but events of these types.
    pub fn makes_only(&self, types: &[&str]) -> bool {
        self.events.iter().all(|event| types.contains(&event.event_type.as_str()))
            && self.held.is_empty()
            && self.unheld.is_empty()
            && self.letters.is_empty()
            && self.tasks.is_empty()
            && self.tasks_done.is_empty()
            && self.begun.is_empty()
            && self.snapshots.is_empty()
    }
}

/// The consumer's next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub topic: Topic,
    pub partition: i32,
    /// `None`: there is no row yet.
    pub from: Option<i64>,
    pub to: i64,
}

/// A task and the partition whose owner runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedTask {
    pub task: Task,
    pub partition: i32,
}

/// A task that is owed no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneTask {
    pub id: Uuid,
    /// As it stood when it was run: where it was set anew since, perhaps by another replica, it stays. `None`: the state
    /// does not owe it any more, however it stands.
    pub run: Option<Task>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The key that messages may be held on.
    pub key: String,
    pub release: OwnedTask,
}

/// Why a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldKind {
    /// Its cause has not arrived.
    TooEarly,
    /// A message before it on the same key is a dead letter.
    Behind,
    /// Its type or version is newer than this build.
    Newer,
}

impl HoldKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooEarly => "too_early",
            Self::Behind => "behind",
            Self::Newer => "newer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::TooEarly, Self::Behind, Self::Newer].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A message that waits. Unique by topic, partition and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The id in `data`, which is what the hold is about.
    pub key: String,
    /// The partition of that key: its owner releases it.
    pub key_partition: i32,
    pub kind: HoldKind,
    pub raw: Raw,
    pub held_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRow {
    /// Ascending in the order in which they were held.
    pub id: i64,
    pub held: Held,
}

/// What happened to a letter. Records are only added: the newest says how the letter stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterRecord {
    /// `dead_letter_id(group, topic, partition, offset)`.
    pub letter_id: Uuid,
    pub recorded_at: Timestamp,
    pub what: LetterChange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterChange {
    /// The first record. At most one per letter (a unique index): a second one is ignored.
    Dead(Box<Letter>),
    Status {
        status: LetterStatus,
        by: String,
        reason: String,
        /// What was tried instead of the original value, where the operator mended it. It is not published.
        mended: Option<Bytes>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LetterStatus {
    Redriven,
    FailedAgain,
    Discarded,
    Parked,
}

impl LetterStatus {
    pub const ALL: [Self; 4] = [Self::Redriven, Self::FailedAgain, Self::Discarded, Self::Parked];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::FailedAgain => "failed-again",
            Self::Discarded => "discarded",
            Self::Parked => "parked",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether it says what came of a redrive.
    pub fn is_redrive(self) -> bool {
        matches!(self, Self::Redriven | Self::FailedAgain | Self::Parked)
    }

    /// Whether the letter is done with, so that what waits behind it goes on.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Redriven | Self::Discarded)
    }
}

/// A message that could not be processed, with its bytes untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub group: String,
    pub raw: Raw,
    pub stage: Stage,
    pub code: String,
    /// At most 512 bytes, quotes no payload.
    pub message: String,
    pub fingerprint: String,
    pub delivery_count: i32,
    pub build: String,
    /// The key that waits until this letter is redriven or discarded, with its partition. `None`: holds nobody.
    pub holds: Option<(String, i32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Decode,
    Validate,
    Decide,
    Hold,
    Deadly,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Validate => "validate",
            Self::Decide => "decide",
            Self::Hold => "hold",
            Self::Deadly => "deadly",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Decode, Self::Validate, Self::Decide, Self::Hold, Self::Deadly]
            .into_iter()
            .find(|stage| stage.as_str() == text)
    }
}

/// The fold of a stream at a version, valid only for the fold that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub stream: StreamName,
    pub version: i64,
    pub fingerprint: String,
    /// JSON.
    pub state: String,
}

/// What `append` answers. All but the first two wrote nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Committed. `now` is the database's clock, cut to milliseconds.
    Done { now: Timestamp },
    /// The same call was committed before and its answer was lost.
    DoneBefore { now: Timestamp },
    /// Others appended, so that the log ends at `end`, or processed what is held.
    LogMoved { end: i64 },
    /// A consumer position is not what it was: somebody else went on with that partition.
    Fenced,
}

/// What a batch must read before it can decide: one query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    pub streams: Vec<StreamName>,
    /// Ids of events ([`crate::decider::Decider::identity`]) that may exist.
    pub identities: Vec<Uuid>,
    /// Positions of which the event id is wanted: is this message of ours?
    pub positions: Vec<i64>,
    /// Snapshots of other fingerprints are ignored.
    pub fingerprint: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// Per asked stream: a snapshot where there is one, and the events after it in version order.
    pub streams: Vec<(StreamName, Option<Snapshot>, Vec<Recorded>)>,
    /// The events found under the asked identities.
    pub identities: Vec<Recorded>,
    pub positions: Vec<(i64, Uuid)>,
}

/// A letter as it stands: its first record, and what happened since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    pub letter_id: Uuid,
    pub letter: Letter,
    /// How often it was redriven, whatever came of it.
    pub redrives: i32,
    /// The newest status; `None` while nothing happened.
    pub status: Option<LetterStatus>,
}

/// What waits on one key, as the database counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeld {
    pub key: String,
    /// The unresolved letter that holds the key.
    pub letter: Option<Uuid>,
    pub too_early: i64,
    pub behind: i64,
    pub newer: i64,
}

/// A record of a letter with all that its message on `dead-letters` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedLetter {
    /// Gapless, from 1.
    pub number: i64,
    /// Of the message that died, on every record of the letter.
    pub key: Option<Bytes>,
    /// How often it was redriven before this record.
    pub redrives: i64,
    pub record: LetterRecord,
}

/// How a partition of a topic stands for this database's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPosition {
    pub topic: Topic,
    pub partition: i32,
    /// The next offset; `None` until the first message is done.
    pub next: Option<i64>,
    /// Runs in a row that took a message of it and did not live to finish one.
    pub starts: i32,
    /// The message that was last taken alone, and how often, while none was finished.
    pub attempt: Option<Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub offset: i64,
    pub attempts: i32,
}
