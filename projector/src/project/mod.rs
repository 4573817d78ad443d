//! From the topics into the view: takes batches, folds them, commits rows and positions together.

pub mod gathered;
pub mod batch;
pub mod projection;
mod commit;
mod ahead;
mod drawn;
pub mod store;
pub mod run;
pub mod care;
pub mod clock;
mod known;
pub mod waiters;
pub mod lag;

pub use projection::Projection;
pub use run::run;
pub use store::Store;
