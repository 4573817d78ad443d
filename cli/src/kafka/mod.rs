//! The topics from the outside: reading them from any place, and publishing in batches.

mod offset;
mod publish;
mod read;
mod lag;

/// The group that this program's readers name; nothing is committed in it.
pub const CLIENT: &str = "fulfil-cli";

pub use lag::{Lag, groups, lag};
pub use offset::{From, parse_duration};
pub use publish::{Delivered, Publisher, Rate, Record, publish};
pub use read::{Heard, Reader, Span, sort_by_arrival};
