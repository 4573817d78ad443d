//! Kafka as all our clients see it: the settings of producers and consumers, the topics, the client library's log.
//!
//! What a client does with its connection is elsewhere: `consumer` takes messages, `relay` publishes them.

pub mod settings;
pub mod topics;
pub mod logged;
pub mod message;
pub mod spans;
pub mod waiting;

pub use logged::Logged;
pub use message::copied;
pub use settings::{BrokerSettings, SettingError};
pub use spans::spans;
pub use waiting::waiting_since;
