//! From the topics to the loop of a process. Positions live in Postgres; this module asks for them when
//! partitions come and tells when they go, and never decides what a message means.

pub mod heard;
mod rebalance;
pub mod thread;
pub mod lag;
pub mod operator;

pub use heard::{Change, Heard, Next, Place, Position};
pub use lag::Lag;
pub use operator::{Console, Operator, Suspicion, console};
pub use thread::{Consumer, ConsumerSettings};
