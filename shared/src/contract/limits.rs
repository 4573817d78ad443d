//! The limits of the contract. Beyond one of them a message is malformed.

pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// A redrive carries the edited value of another message.
pub const REDRIVE_BYTES_MAX: usize = 1024 * 1024;
/// The largest batch that a producer of ours sends: a dead letter carries a foreign message whole.
pub const PRODUCED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of id, source and type of an envelope.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
pub const JSON_DEPTH_MAX: usize = 16;
pub const LINES_MAX: usize = 200;
pub const QUANTITY_MAX: i64 = 1_000_000;
pub const UNIT_PRICE_MINOR_MAX: i64 = 1_000_000_000_000;
pub const SKU_CHARS_MAX: usize = 64;
pub const USER_ID_CHARS_MAX: usize = 128;
pub const TEXT_CHARS_MAX: usize = 512;
/// On hand and reserved of one sku stay within what a signed 53-bit integer, the widest that JSON readers agree
/// on, can carry.
pub const STOCK_LEVEL_MAX: i64 = 1 << 53;
/// A deadline is at most this far ahead of the decision.
pub const DEADLINE_HOURS_MAX: i64 = 24;
