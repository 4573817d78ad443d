//! The topics, their keys and their settings, and the partitioner that every client of ours uses.

use std::time::Duration;

/// A topic of the contract. Anything else that arrives is a mistake of configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    OrdersCommands,
    OrdersEvents,
    InventoryCommands,
    InventoryEvents,
    InventoryStock,
    PaymentsEvents,
    DeadLetters,
    DeadLettersCommands,
}

/// What a key of the topic is, and the field of `data` that must equal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    OrderId,
    Sku,
    /// The key of the message that was dead-lettered; not compared.
    Original,
}

pub const PARTITIONS_DEFAULT: i32 = 12;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIB: usize = 1024 * 1024;

impl Topic {
    pub const ALL: [Self; 8] = [
        Self::OrdersCommands,
        Self::OrdersEvents,
        Self::InventoryCommands,
        Self::InventoryEvents,
        Self::InventoryStock,
        Self::PaymentsEvents,
        Self::DeadLetters,
        Self::DeadLettersCommands,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::OrdersCommands => "orders.commands",
            Self::OrdersEvents => "orders.events",
            Self::InventoryCommands => "inventory.commands",
            Self::InventoryEvents => "inventory.events",
            Self::InventoryStock => "inventory.stock",
            Self::PaymentsEvents => "payments.events",
            Self::DeadLetters => "dead-letters",
            Self::DeadLettersCommands => "dead-letters.commands",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The topic of a stream's events, by the stream's category.
    pub fn of_category(category: &str) -> Option<Self> {
        match category {
            "order" => Some(Self::OrdersEvents),
            "reservation" => Some(Self::InventoryEvents),
            "stock" => Some(Self::InventoryStock),
            "payment" => Some(Self::PaymentsEvents),
            _ => None,
        }
    }

    /// The category of the streams whose events stand on it.
    pub fn category(self) -> Option<&'static str> {
        ["order", "reservation", "stock", "payment"]
            .into_iter()
            .find(|category| Self::of_category(category) == Some(self))
    }

    pub fn key(self) -> Key {
        match self {
            Self::InventoryCommands | Self::InventoryStock => Key::Sku,
            Self::DeadLetters | Self::DeadLettersCommands => Key::Original,
            _ => Key::OrderId,
        }
    }

    /// Commands come from the edge; everything else is written by one of our services alone.
    pub fn is_commands(self) -> bool {
        matches!(self, Self::OrdersCommands | Self::InventoryCommands | Self::DeadLettersCommands)
    }

    /// Whether events of a log stand on it, each with its position.
    pub fn is_events(self) -> bool {
        matches!(
            self,
            Self::OrdersEvents | Self::InventoryEvents | Self::InventoryStock | Self::PaymentsEvents
        )
    }

    /// `None` is for ever: the topics are a second copy of the log.
    pub fn retention(self) -> Option<Duration> {
        match self {
            Self::DeadLetters => Some(30 * DAY),
            topic if topic.is_commands() => Some(7 * DAY),
            _ => None,
        }
    }

    pub fn message_bytes_max(self) -> usize {
        match self {
            Self::DeadLetters | Self::DeadLettersCommands => 4 * MIB,
            _ => MIB,
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The partition of a key: murmur2 as Kafka's Java client computes it, which is what librdkafka calls
/// `murmur2_random` (messages without a key go anywhere). Source: Apache Kafka, `Utils.murmur2`.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    debug_assert!(partitions > 0);
    ((murmur2(key) & 0x7fff_ffff) % partitions as u32) as i32
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_the_java_client() {
        // The vectors of Apache Kafka's own test, UtilsTest.testMurmur2.
        let vectors: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_topic_of_events_has_one_category() {
        for topic in Topic::ALL {
            assert_eq!(topic.category().is_some(), topic.is_events());
            assert_eq!(topic.category().and_then(Topic::of_category), topic.category().map(|_| topic));
        }
    }

    #[test]
    fn every_topic_is_found_by_its_name() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(topic.name()), Some(topic));
        }
        assert_eq!(Topic::parse("orders"), None);
    }
}
