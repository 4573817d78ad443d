//! The view in Postgres: every statement of the projector is in this folder. It writes what the fold made and
//! decides nothing.

pub mod schema;
pub mod reads;
pub mod load;
pub mod whole;
pub mod write;
pub mod query;
pub mod reached;
pub mod sales;
pub mod pulse;
pub mod open_orders;
pub mod letter_groups;
pub mod letter_bulk;
pub mod order_letters;
pub mod second;
pub mod compare;
pub mod drift;
