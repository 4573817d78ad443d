//! The log of a service and its neighbours: what is appended together, and what is read back.
//!
//! One append-only log a database. `position` is gapless and commit order is position order, because whoever
//! appends holds the log's lock until it has committed and must have seen all that stands in it.

pub mod request;
pub mod error;
pub mod node;
pub mod connect;
pub mod answered;
pub mod append;
pub mod load;
pub mod snapshot;
pub mod tail;
pub mod position;
pub mod hold;
pub mod letter;
pub mod followers;
pub mod task;
pub mod cursor;
pub mod store;
mod headers;
mod row;

pub use answered::answered;
pub use append::append;
pub use cursor::{Lane, advance_cursor, cursor, waits_since};
pub use error::StoreError;
pub use followers::{Followers, followers};
pub use hold::{held_keys, held_messages, keys_held};
pub use letter::{letters, letters_after, letters_end};
pub use load::load;
pub use position::{GivenUp, count_attempt, count_start, give_up, positions};
pub use request::*;
pub use snapshot::snapshots;
pub use store::{NewEvent, append_to_stream, read_log, read_stream, stream_version};
pub use tail::{confirm, end, last, tail};
pub use task::{DueTasks, due_tasks, tasks_of_kind};
