//! The topics from the outside: reading them from any place, and publishing in batches.

mod offset;
mod publish;
mod read;
mod lag;

pub use lag::{Lag, lag};
pub use offset::{From, parse_duration};
pub use publish::{Delivered, Publisher, Rate, Record, publish};
pub use read::{Heard, Reader, Span, sort_by_arrival};
