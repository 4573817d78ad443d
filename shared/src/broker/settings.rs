//! The settings of our Kafka clients, and what an operator may change about them.
//!
//! `KAFKA_CONFIG_<NAME>` passes a librdkafka setting through (upper case, dot becomes `_`). Settings that our
//! guarantees stand on are refused by name: a deployment that needs another value needs another design.

use std::{collections::BTreeMap, fmt, io};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError};

use crate::contract::limits::PRODUCED_BYTES_MAX;

pub const ENVIRONMENT_PREFIX: &str = "KAFKA_CONFIG_";

/// Where the broker is and how to talk to it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BrokerSettings {
    pub bootstrap_servers: String,
    /// librdkafka names with values, checked.
    overrides: BTreeMap<String, String>,
}

/// Names only: a value can be a password.
impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.overrides.keys().collect();
        f.debug_struct("BrokerSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("overrides", &names)
            .finish()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error("{name} is not ours to change: {reason}")]
    Refused { name: String, reason: &'static str },
    #[error("{name} is refused by the Kafka client: {reason}")]
    Invalid { name: String, reason: String },
    #[error("{name} names a file that cannot be read: {source}")]
    File { name: String, source: io::Error },
}

/// Settings that cannot be passed through, with the guarantee that would go. Aliases included, since librdkafka
/// takes them for the same setting.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set KAFKA_BOOTSTRAP_SERVERS"),
    ("metadata.broker.list", "set KAFKA_BOOTSTRAP_SERVERS"),
    ("enable.idempotence", "without it a retry can reorder or double messages"),
    ("enable.gapless.guarantee", "what follows a failed message must not overtake it"),
    ("transactional.id", "the relay does not use transactions"),
    ("acks", "a message counts as published when all in-sync replicas have it"),
    ("request.required.acks", "a message counts as published when all in-sync replicas have it"),
    ("message.timeout.ms", "a message that times out leaves a hole in its key's order"),
    ("delivery.timeout.ms", "a message that times out leaves a hole in its key's order"),
    ("retries", "a message is retried until it is acknowledged"),
    ("message.send.max.retries", "a message is retried until it is acknowledged"),
    ("max.in.flight", "more than five requests in flight lose the order"),
    ("max.in.flight.requests.per.connection", "more than five requests in flight lose the order"),
    ("queuing.strategy", "messages of a key leave in order"),
    ("delivery.report.only.error", "the relay counts what is acknowledged"),
    ("partitioner", "every client places a key on the same partition"),
    ("message.max.bytes", "the contract's limits are checked against it"),
    ("enable.auto.commit", "positions are in the database"),
    ("auto.commit.enable", "positions are in the database"),
    ("enable.auto.offset.store", "positions are in the database"),
    ("offset.store.method", "positions are in the database"),
    ("auto.offset.reset", "a position outside the topic is data loss, never skipped silently"),
    ("isolation.level", "aborted messages of foreign producers are not ours to read"),
    ("group.id", "the group is the service's name: the ids of dead letters are made from it"),
    ("group.instance.id", "set INSTANCE_ID"),
    ("group.protocol", "static members are fenced as the classic protocol does it"),
    ("group.remote.assignor", "all topics of a key are on one replica"),
    ("partition.assignment.strategy", "all topics of a key are on one replica"),
    ("check.crcs", "a damaged message must not be read"),
    ("enable.partition.eof", "the consumer tells the end by offsets"),
    ("allow.auto.create.topics", "topics are created by `fulfil topic ensure`"),
    ("test.mock.num.brokers", "what a mock broker is given is lost"),
    ("enabled_events", "the client is built on it"),
    ("log.queue", "the client is built on it"),
];

impl BrokerSettings {
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), overrides: BTreeMap::new() }
    }

    /// With what the environment passes through. Other variables are ignored.
    pub fn with_environment(
        self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingError> {
        let mut overrides = Vec::new();
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let name = name.to_lowercase().replace('_', ".");
            match name.strip_suffix(".file").filter(|name| is_secret(name)) {
                Some(secret) => {
                    let text = std::fs::read_to_string(&value)
                        .map_err(|source| SettingError::File { name: variable, source })?;
                    overrides.push((secret.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned()));
                }
                None => overrides.push((name, value)),
            }
        }
        self.with_overrides(overrides)
    }

    /// With settings by their librdkafka names. Each is checked here, so that a bad one is named before anything
    /// is connected.
    pub fn with_overrides(
        mut self,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingError> {
        for (name, value) in overrides {
            // An alias of a setting of ours would stand beside it, and chance decide.
            let name =
                if name == "max.partition.fetch.bytes" { "fetch.message.max.bytes".to_owned() } else { name };
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                return Err(SettingError::Refused { name, reason });
            }
            let mut alone = ClientConfig::new();
            alone.set(&name, &value).create_native_config().map_err(|error| SettingError::Invalid {
                name: name.clone(),
                reason: match error {
                    KafkaError::ClientConfig(_, reason, ..) => reason,
                    error => error.to_string(),
                },
            })?;
            self.overrides.insert(name, value);
        }
        Ok(self)
    }

    /// A producer that loses and reorders nothing: idempotent, acknowledged by all, never timing out.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            // A batch that fails for good is fatal to the producer. Else what was queued behind it on the same key
            // would still go out before anybody can stop it.
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.timeout.ms", "0")
            .set("message.max.bytes", PRODUCED_BYTES_MAX.to_string())
            .set("partitioner", "murmur2_random")
            // A millisecond is one of every hop of an order, and under load it made the requests no larger.
            .set("linger.ms", "0")
            .set("batch.size", "262144")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "10000")
            .set("retry.backoff.ms", "100");
        self.finish(config)
    }

    /// A member of a consumer group. `instance` is the static member's id: of two equal ones the newer wins.
    pub fn consumer(&self, group: &str, instance: &str) -> ClientConfig {
        let mut config = self.consuming(group);
        config
            .set("group.protocol", "classic")
            .set("group.instance.id", instance)
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            .set("max.poll.interval.ms", "120000")
            // Whatever an answer brings is unpacked at once, whatever waits already: a megabyte of each partition, the
            // default, was half of a process's heap while it was behind. A batch that is larger comes whole, but only where
            // no partition before it in the request has anything, and a client that is behind begins each request with the
            // same one. So a full batch of ours is smaller: a quarter of a megabyte, which lz4 makes a third. Whoever reads
            // all of a topic is a third faster with the default.
            .set("fetch.message.max.bytes", "131072")
            // Another batch or two; each megabyte here is one of every process.
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "512");
        self.finish(config)
    }

    /// A consumer that is told what to read and joins no group. `group` is only asked for its committed offsets.
    pub fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.consuming(group);
        config.set("queued.min.messages", "4000").set("queued.max.messages.kbytes", "2048");
        self.finish(config)
    }

    /// A client for topics and metadata.
    pub fn admin(&self) -> ClientConfig {
        let config = self.client();
        self.finish(config)
    }

    fn consuming(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // The default of a second makes hiccups of a second whenever the local queue was full.
            .set("fetch.queue.backoff.ms", "10")
            // The latency of a quiet topic.
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true");
        config
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            // Else taken from the `log` crate, which we do not use. Our own filter decides what is shown.
            .set_log_level(RDKafkaLogLevel::Info)
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "fulfil")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            // The broker closes idle connections; that is no news.
            .set("log.connection.close", "false")
            .set("allow.auto.create.topics", "false");
        config
    }

    fn finish(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.overrides {
            config.set(name, value);
        }
        config
    }
}

fn is_secret(name: &str) -> bool {
    ["password", "secret", "pem", "passphrase"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<BrokerSettings, SettingError> {
        BrokerSettings::new("127.0.0.1:9092").with_environment([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn an_alias_of_a_setting_of_ours_takes_its_place() {
        let config = with("KAFKA_CONFIG_MAX_PARTITION_FETCH_BYTES", "7000").unwrap().consumer("group", "one");
        assert_eq!(config.get("fetch.message.max.bytes"), Some("7000"));
        assert_eq!(config.get("max.partition.fetch.bytes"), None);
    }

    #[test]
    fn a_setting_of_the_environment_reaches_every_client() {
        let settings = with("KAFKA_CONFIG_SOCKET_TIMEOUT_MS", "7000").unwrap();
        for config in [settings.producer(), settings.consumer("group", "one"), settings.admin()] {
            assert_eq!(config.get("socket.timeout.ms"), Some("7000"));
        }
        assert_eq!(with("PATH", "/bin").unwrap(), BrokerSettings::new("127.0.0.1:9092"));
    }

    #[test]
    fn a_setting_that_a_guarantee_stands_on_is_refused_by_name() {
        for (name, _) in REFUSED {
            let variable = format!("{ENVIRONMENT_PREFIX}{}", name.to_uppercase().replace('.', "_"));
            if name.contains('_') {
                continue;
            }
            let error = with(&variable, "1").unwrap_err();
            assert!(
                matches!(&error, SettingError::Refused { name: refused, .. } if refused == name),
                "{error}"
            );
        }
    }

    #[test]
    fn a_setting_that_the_client_does_not_know_is_named() {
        let unknown = with("KAFKA_CONFIG_NO_SUCH_THING", "1").unwrap_err().to_string();
        assert!(unknown.contains("no.such.thing"), "{unknown}");
        let invalid = with("KAFKA_CONFIG_SOCKET_TIMEOUT_MS", "soon").unwrap_err().to_string();
        assert!(invalid.contains("socket.timeout.ms"), "{invalid}");
    }

    #[test]
    fn a_secret_can_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\n").unwrap();
        let settings = with("KAFKA_CONFIG_SASL_PASSWORD_FILE", path.to_str().unwrap()).unwrap();
        assert_eq!(settings.producer().get("sasl.password"), Some("open sesame"));
        assert!(!format!("{settings:?}").contains("sesame"));
        let missing = with("KAFKA_CONFIG_SASL_PASSWORD_FILE", "/nowhere").unwrap_err().to_string();
        assert!(missing.contains("KAFKA_CONFIG_SASL_PASSWORD_FILE"), "{missing}");
    }

    #[test]
    fn the_client_takes_our_settings() {
        let settings = BrokerSettings::new("127.0.0.1:9092");
        let configs = [
            settings.producer(),
            settings.consumer("group", "one"),
            settings.reader("group"),
            settings.admin(),
        ];
        for config in configs {
            config.create_native_config().unwrap();
        }
    }
}
