//! The metrics of a process: every name that dashboards and alerts may rely on, in one place.
//!
//! Names are Prometheus', spelled as OpenTelemetry does where it has a convention. A label has few values: never
//! an order id, a sku or a message.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::contract::topics::Topic;

pub type Seconds = Gauge<f64, AtomicU64>;
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters count from the start of the process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    /// From taking a message to its commit.
    pub process_seconds: Histograms<TopicLabel>,
    /// Messages taken from a topic, duplicates included.
    pub consumed: Family<TopicLabel, Counter>,
    /// Messages that the broker acknowledged, repeats included.
    pub sent: Family<TopicLabel, Counter>,
    pub http_seconds: Histograms<HttpLabel>,
    /// Messages decided together.
    pub batch_size: Histogram,
    /// From the first decision of a batch to its commit, refused appends included.
    pub batch_seconds: Histogram,
    pub consumer_lag_messages: Family<PartitionLabel, Gauge>,
    /// Age of the oldest message that is not processed.
    pub consumer_lag_seconds: Family<PartitionLabel, Seconds>,
    /// Events in the log that are not acknowledged by the broker.
    pub relay_backlog: Gauge,
    /// Age of the oldest of them.
    pub relay_oldest_seconds: Seconds,
    pub relay_halted: Gauge,
    pub dead_letters: Family<DeadLetterLabel, Counter>,
    /// Keys of which messages wait.
    pub held_keys: Gauge,
    /// Messages that said what was already so.
    pub duplicates: Counter,
    /// Batches that were refused because another replica had gone on with their partitions.
    pub fenced_batches: Counter,
    /// Batches that were decided again because others had appended meanwhile.
    pub redecided_batches: Counter,
    /// From an order's creation to its end, by how it ended. The projector's, as the two below.
    pub saga_seconds: Histograms<OutcomeLabel>,
    /// Orders that have not ended, by how far they are.
    pub saga_open: Family<StageLabel, Gauge>,
    /// Orders past the limit of the step that they are in; of each stage the oldest are looked at.
    pub saga_overdue: Gauge,
    /// Age of the newest message in the view, where there are newer ones.
    pub view_lag_seconds: Seconds,
    pub invariant_violations: Family<InvariantLabel, Counter>,
    /// Orders of the view that were compared with what the topics say of them.
    pub view_compared: Counter,
    /// Those of them that differed.
    pub view_drift: Counter,
    /// Those that differed when they were compared last.
    pub view_drift_orders: Gauge,
    /// What decisions ask to be counted, by name: answers to unknown payments, overdue steps.
    pub counted: Family<WhatLabel, Counter>,
    pub event_bytes: Histogram,
    registry: Arc<Registry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TopicLabel {
    pub messaging_destination_name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    pub messaging_destination_name: &'static str,
    pub messaging_destination_partition_id: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabel {
    pub http_request_method: &'static str,
    /// The pattern, `/orders/{id}`, never the path.
    pub http_route: Cow<'static, str>,
    pub http_response_status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeadLetterLabel {
    pub group: Cow<'static, str>,
    pub code: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    pub stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InvariantLabel {
    pub invariant: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhatLabel {
    pub what: &'static str,
}

impl TopicLabel {
    pub fn of(topic: Topic) -> Self {
        Self { messaging_destination_name: topic.name() }
    }
}

impl PartitionLabel {
    pub fn of(topic: Topic, partition: i32) -> Self {
        Self { messaging_destination_name: topic.name(), messaging_destination_partition_id: partition }
    }
}

/// The two texts that a scraper can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    OpenMetrics,
    Prometheus,
}

impl Exposition {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// The metrics of the service of that name, all at zero.
    pub fn new(service: &'static str, build: &'static str) -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let info = Info::new([("service", service), ("version", build)]);
        r.register("fulfil_build", "What is running", info);
        Self {
            process_seconds: add(
                r,
                "messaging_process_duration_seconds",
                "From taking a message to its commit",
                Family::new_with_constructor(seconds),
            ),
            consumed: add(
                r,
                "messaging_client_consumed_messages",
                "Messages taken from a topic, duplicates included",
                Family::default(),
            ),
            sent: add(
                r,
                "messaging_client_sent_messages",
                "Messages that the broker acknowledged",
                Family::default(),
            ),
            http_seconds: add(
                r,
                "http_server_request_duration_seconds",
                "From the request's head to the response's",
                Family::new_with_constructor(seconds),
            ),
            batch_size: add(r, "fulfil_batch_size", "Messages decided together", Histogram::new(BATCH_SIZES)),
            batch_seconds: add(
                r,
                "fulfil_batch_duration_seconds",
                "From the first decision of a batch to its commit",
                seconds(),
            ),
            consumer_lag_messages: add(
                r,
                "fulfil_consumer_lag_messages",
                "Messages of a partition that are not processed",
                Family::default(),
            ),
            consumer_lag_seconds: add(
                r,
                "fulfil_consumer_lag_seconds",
                "Age of the oldest message that is not processed",
                Family::default(),
            ),
            relay_backlog: add(
                r,
                "fulfil_relay_backlog",
                "Events of the log that the broker has not acknowledged",
                Gauge::default(),
            ),
            relay_oldest_seconds: add(
                r,
                "fulfil_relay_oldest_seconds",
                "Age of the oldest event that the broker has not acknowledged",
                Gauge::default(),
            ),
            relay_halted: add(
                r,
                "fulfil_relay_halted",
                "Whether the relay stopped publishing events or dead letters, until the process is started anew",
                Gauge::default(),
            ),
            dead_letters: add(
                r,
                "fulfil_dead_letters",
                "Messages that could not be processed",
                Family::default(),
            ),
            held_keys: add(r, "fulfil_held_keys", "Keys of which messages wait", Gauge::default()),
            duplicates: add(
                r,
                "fulfil_duplicates",
                "Messages that said what was already so",
                Counter::default(),
            ),
            fenced_batches: add(
                r,
                "fulfil_fenced_batches",
                "Batches refused because another replica had gone on",
                Counter::default(),
            ),
            redecided_batches: add(
                r,
                "fulfil_redecided_batches",
                "Batches decided again because others had appended",
                Counter::default(),
            ),
            saga_seconds: add(
                r,
                "fulfil_saga_duration_seconds",
                "From an order's creation to its end",
                Family::new_with_constructor(saga_seconds),
            ),
            saga_open: add(r, "fulfil_saga_open", "Orders that have not ended", Family::default()),
            saga_overdue: add(
                r,
                "fulfil_saga_overdue",
                "Orders past the limit of their step",
                Gauge::default(),
            ),
            view_lag_seconds: add(
                r,
                "fulfil_view_lag_seconds",
                "How far the view is behind the topics",
                Gauge::default(),
            ),
            invariant_violations: add(
                r,
                "fulfil_invariant_violations",
                "What cannot be and was seen",
                Family::default(),
            ),
            view_compared: add(
                r,
                "fulfil_view_compared",
                "Orders of the view that were compared with what the topics say",
                Counter::default(),
            ),
            view_drift: add(
                r,
                "fulfil_view_drift",
                "Compared orders of which the view says something else than the topics",
                Counter::default(),
            ),
            view_drift_orders: add(
                r,
                "fulfil_view_drift_orders",
                "Orders of which the view said something else than the topics when they were compared last; at most 100",
                Gauge::default(),
            ),
            counted: add(r, "fulfil_counted", "What decisions asked to be counted", Family::default()),
            event_bytes: add(
                r,
                "fulfil_event_bytes",
                "Size of appended events' data",
                Histogram::new(exponential_buckets(64.0, 2.0, 13)),
            ),
            registry: Arc::new(registry),
        }
    }

    /// All metrics as text.
    pub fn text(&self, exposition: Exposition) -> String {
        let mut text = String::with_capacity(16 * 1024);
        let written = match exposition {
            Exposition::OpenMetrics => text::encode(&mut text, &self.registry),
            Exposition::Prometheus => prometheus_text::encode(&mut text, &self.registry),
        };
        // Writing to a String fails only where a metric's own encoding does, and ours are the library's.
        debug_assert!(written.is_ok());
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

const BATCH_SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

/// 1 ms to 16 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// 5 ms to 2.9 hours: from a healthy order to one that ran into its limits.
fn saga_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 22))
}

fn add<M: prometheus_client::registry::Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_is_in_the_text() {
        let metrics = Metrics::new("order-service", "1");
        let topic = TopicLabel::of(Topic::OrdersEvents);
        metrics.process_seconds.get_or_create(&topic).observe(0.01);
        metrics.consumed.get_or_create(&topic).inc();
        metrics.sent.get_or_create(&topic).inc();
        let http = HttpLabel {
            http_request_method: "POST",
            http_route: "/orders".into(),
            http_response_status_code: 202,
        };
        metrics.http_seconds.get_or_create(&http).observe(0.01);
        let partition = PartitionLabel::of(Topic::OrdersEvents, 3);
        metrics.consumer_lag_messages.get_or_create(&partition).set(1);
        metrics.consumer_lag_seconds.get_or_create(&partition).set(0.5);
        let letter = DeadLetterLabel { group: "order-service".into(), code: "invalid-json".into() };
        metrics.dead_letters.get_or_create(&letter).inc();
        metrics.saga_seconds.get_or_create(&OutcomeLabel { outcome: "completed" }).observe(0.4);
        metrics.saga_open.get_or_create(&StageLabel { stage: "created" }).set(2);
        metrics.invariant_violations.get_or_create(&InvariantLabel { invariant: "bug" }).inc();
        metrics.batch_size.observe(17.0);

        for exposition in [Exposition::OpenMetrics, Exposition::Prometheus] {
            let text = metrics.clone().text(exposition);
            for line in [
                r#"messaging_process_duration_seconds_count{messaging_destination_name="orders.events"} 1"#,
                r#"messaging_client_consumed_messages_total{messaging_destination_name="orders.events"} 1"#,
                r#"messaging_client_sent_messages_total{messaging_destination_name="orders.events"} 1"#,
                r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/orders",http_response_status_code="202"} 1"#,
                "fulfil_batch_size_sum 17",
                "fulfil_batch_duration_seconds_count 0",
                r#"fulfil_consumer_lag_messages{messaging_destination_name="orders.events",messaging_destination_partition_id="3"} 1"#,
                r#"fulfil_consumer_lag_seconds{messaging_destination_name="orders.events",messaging_destination_partition_id="3"} 0.5"#,
                "fulfil_relay_backlog 0",
                "fulfil_relay_oldest_seconds 0",
                "fulfil_relay_halted 0",
                r#"fulfil_dead_letters_total{group="order-service",code="invalid-json"} 1"#,
                "fulfil_held_keys 0",
                "fulfil_duplicates_total 0",
                "fulfil_fenced_batches_total 0",
                r#"fulfil_saga_duration_seconds_count{outcome="completed"} 1"#,
                r#"fulfil_saga_open{stage="created"} 2"#,
                "fulfil_saga_overdue 0",
                "fulfil_view_lag_seconds 0",
                r#"fulfil_invariant_violations_total{invariant="bug"} 1"#,
                "fulfil_event_bytes_count 0",
            ] {
                assert!(text.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{text}");
            }
        }
    }
}
