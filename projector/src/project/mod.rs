//! From the topics into the view: takes batches, folds them, commits rows and positions together.

pub mod batch;
pub mod projection;
pub mod clock;
pub mod waiters;
pub mod lag;

pub use projection::Projection;
