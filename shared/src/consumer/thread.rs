//! The Kafka thread: polls, copies messages out of the client, pauses when the loop is behind.
//!
//! A thread of its own, because rebalance callbacks run inside `poll` and wait there for the loop, which waits for
//! the database; and because the asynchronous consumer of the library loses wake-ups of split queues.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{
    heard::{Change, Heard, Place, Untold, queues},
    rebalance::{BROKER_TIMEOUT, Rebalance, Shared, assign, join},
};
use crate::{
    broker::copied,
    contract::{envelope::Raw, topics::Topic},
};

/// How long one poll waits for a message. An [`Ask`] is seen after it, or after a wait for room.
const POLL: Duration = Duration::from_millis(100);
/// The same while the partitions are paused: then it is the wait until the next try.
const PAUSED_POLL: Duration = Duration::from_millis(20);
/// How long a full queue is waited for before the partitions are paused, which throws away what the client has fetched.
/// Meanwhile nobody calls the client back: far less than a session.
const PATIENCE: Duration = Duration::from_millis(100);
/// Each partition whose position is out of range says so; assigning anew once is enough, and not without end.
const RESET_PAUSE: Duration = Duration::from_millis(500);
/// A group that refuses every new member must not be asked without a pause.
const REJOIN_PAUSE: Duration = Duration::from_millis(200);
/// How often the client tells where its partitions end.
const STATISTICS_MS: &str = "2000";

pub struct ConsumerSettings {
    /// Group and instance included: [`crate::broker::BrokerSettings::consumer`].
    pub client: ClientConfig,
    pub topics: Vec<Topic>,
    /// Those of them that can be held back.
    pub begins: Vec<Topic>,
    /// How far the thread may run ahead of the loop.
    pub messages_max: usize,
}

/// The handle of the thread. Dropping it stops the thread.
pub struct Consumer {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Ask {
    Reassign,
    Commit(Vec<(Place, i64)>),
    Ends { partition: i32, topics: Vec<Topic>, reply: oneshot::Sender<Option<Vec<(Topic, i64)>>> },
    Stop,
}

impl Consumer {
    /// Subscribes. What the thread hears arrives at the other end.
    pub fn start(settings: ConsumerSettings) -> anyhow::Result<(Self, Heard)> {
        let (teller, heard) = queues(settings.messages_max);
        let shared = Arc::new(Shared::new(teller));
        let ConsumerSettings { mut client, topics, begins, .. } = settings;
        client.set("statistics.interval.ms", STATISTICS_MS);
        let consumer = join(&client, &topics, &shared)?;
        let (asks, asked) = mpsc::channel();
        let polled = shared.clone();
        let thread = std::thread::Builder::new()
            .name("consumer".into())
            .spawn(move || {
                Polling {
                    client,
                    topics,
                    begins,
                    consumer,
                    shared: polled,
                    asked,
                    waiting: None,
                    paused: false,
                    holds_back: false,
                    assignments: 0,
                    reassign_at: None,
                }
                .run()
            })
            .context("starting the consumer thread")?;
        Ok((Self { asks, shared, thread: Some(thread) }, heard))
    }

    /// Forget what was fetched and ask for the positions again: somebody else went on with a partition.
    pub fn reassign(&self) {
        let _ = self.asks.send(Ask::Reassign);
    }

    /// Whether the topics that begin something are to wait: but for what is fetched already, and until the opposite is said.
    /// True where they did not wait before.
    pub fn hold_back(&self, holds_back: bool) -> bool {
        !self.shared.holds_back.swap(holds_back, Ordering::Relaxed) && holds_back
    }

    /// Tells Kafka where we are, for lag tools only. Nobody reads it back.
    pub fn commit(&self, offsets: Vec<(Place, i64)>) {
        let _ = self.asks.send(Ask::Commit(offsets));
    }

    /// The end offsets of one partition over these topics; `None` when the broker does not say.
    pub fn ends(&self, partition: i32, topics: Vec<Topic>) -> oneshot::Receiver<Option<Vec<(Topic, i64)>>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.asks.send(Ask::Ends { partition, topics, reply });
        answer
    }

    /// Where the partitions end, at most some seconds ago; only those that are fetched. For lag, never for deciding.
    pub fn last_ends(&self) -> HashMap<Place, i64> {
        self.shared.ends.lock().map(|ends| ends.clone()).unwrap_or_default()
    }

    /// Stops the thread and waits for it until the deadline. Closing the client can hang; then it is left behind
    /// for the end of the process.
    pub async fn stop(mut self, deadline: Duration) {
        let _ = self.asks.send(Ask::Stop);
        let until = Instant::now() + deadline;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

struct Polling {
    client: ClientConfig,
    topics: Vec<Topic>,
    begins: Vec<Topic>,
    consumer: BaseConsumer<Rebalance>,
    shared: Arc<Shared>,
    asked: mpsc::Receiver<Ask>,
    /// Did not fit into the queue. When it waits for long the partitions are paused, and `poll` only serves callbacks.
    waiting: Option<Raw>,
    paused: bool,
    /// The topics that begin something are paused too, or would be.
    holds_back: bool,
    /// Those that `waiting`, `paused` and `holds_back` are of.
    assignments: u64,
    reassign_at: Option<Instant>,
}

impl Polling {
    fn run(mut self) {
        loop {
            loop {
                match self.asked.try_recv() {
                    Ok(Ask::Stop) | Err(mpsc::TryRecvError::Disconnected) => return,
                    Ok(ask) => self.answer(ask),
                    Err(mpsc::TryRecvError::Empty) => break,
                }
            }
            if self.reassign_at.take_if(|at| *at <= Instant::now()).is_some() {
                self.answer(Ask::Reassign);
            }
            self.hold_back(self.shared.holds_back.load(Ordering::Relaxed));
            let goes_on = match self.waiting.take() {
                Some(raw) => self.tell(raw),
                None => self.listen(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Takes one message out of the client. False when the loop is gone.
    fn listen(&mut self) -> bool {
        let (raw, error) = match self.consumer.poll(POLL) {
            None => (None, None),
            Some(Ok(message)) => (copied(&message), None),
            Some(Err(error)) => (None, Some(error)),
        };
        // Before the message, which was fetched under the newest one.
        self.notice_assignment();
        error.is_none_or(|error| self.failed(&error)) && raw.is_none_or(|raw| self.tell(raw))
    }

    /// Gives a message to the loop. Where it does not fit it waits, and pauses the partitions when that takes long; they
    /// are resumed when it did. False when the loop is gone.
    fn tell(&mut self, raw: Raw) -> bool {
        match self.shared.teller.tell(raw) {
            Ok(()) => {
                self.pause(false);
                true
            }
            Err(Untold::Full(raw)) => {
                self.waiting = Some(raw);
                if !self.paused && self.shared.teller.wait_for_room(PATIENCE) {
                    return true;
                }
                self.pause(true);
                self.serve_callbacks()
            }
            Err(Untold::Gone) => false,
        }
    }

    /// While the partitions are paused.
    fn serve_callbacks(&mut self) -> bool {
        let error = match self.consumer.poll(PAUSED_POLL) {
            None => None,
            Some(Ok(message)) => {
                // Was in flight when the partitions were paused; it is fetched again.
                let place = (message.topic().to_owned(), message.partition(), message.offset());
                drop(message);
                if self.consumer.seek(&place.0, place.1, Offset::Offset(place.2), BROKER_TIMEOUT).is_err() {
                    self.reassign_at = Some(Instant::now());
                }
                None
            }
            Some(Err(error)) => Some(error),
        };
        self.notice_assignment();
        error.is_none_or(|error| self.failed(&error))
    }

    /// What was fetched before partitions went or came is fetched again, from where the loop said.
    fn notice_assignment(&mut self) {
        let assignments = self.shared.assignments.load(Ordering::Relaxed);
        if assignments != self.assignments {
            self.assignments = assignments;
            self.reassign_at = None;
            self.waiting = None;
            self.paused = false;
            self.holds_back = false;
        }
    }

    /// Errors of the client are informational, but for two. False when the loop is gone.
    fn failed(&mut self, error: &KafkaError) -> bool {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            return self.fatal(code, &reason);
        }
        warn!(%error, "kafka");
        // A position is outside of what the topic has: assigning anew says which.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
            self.reassign_at.get_or_insert(Instant::now() + RESET_PAUSE);
        }
        true
    }

    /// Another process by our name has taken our place: that one goes on and this one ends. But whoever has no partition
    /// at that moment was fenced by itself. A broker was away for longer than a session, commits waited for it in the
    /// client, and they go out by a member id that nobody has any more; or a coordinator died with a group half formed and
    /// the next one knows us by an older id. A new client is let in at once.
    fn fatal(&mut self, code: RDKafkaErrorCode, reason: &str) -> bool {
        let mut why = format!("{code}: {reason}");
        if code == RDKafkaErrorCode::FencedInstanceId && self.shared.is_between.load(Ordering::Relaxed) {
            warn!("the group does not know this member any more, so it joins anew: {why}");
            std::thread::sleep(REJOIN_PAUSE);
            match join(&self.client, &self.topics, &self.shared) {
                Ok(consumer) => {
                    // The old one may say once more that nothing is its own.
                    self.consumer = consumer;
                    self.shared.is_between.store(true, Ordering::Relaxed);
                    self.notice_assignment();
                    return true;
                }
                Err(error) => why = format!("{error:#}"),
            }
        }
        self.shared.teller.changes.blocking_send(Change::Fatal(why)).is_ok()
    }

    fn pause(&mut self, pause: bool) {
        if self.paused != pause {
            self.paused = pause;
            self.pause_where(pause, |of, topic| !(of.holds_back && of.begins.contains(&topic)));
        }
    }

    /// Pauses what begins something, whatever else is paused.
    fn hold_back(&mut self, holds_back: bool) {
        if self.holds_back != holds_back && !self.begins.is_empty() {
            self.holds_back = holds_back;
            if !self.paused {
                self.pause_where(holds_back, |of, topic| of.begins.contains(&topic));
            }
        }
    }

    fn pause_where(&self, pause: bool, wanted: impl Fn(&Self, Topic) -> bool) {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in self.shared.assigned.lock().map(|places| places.clone()).unwrap_or_default()
        {
            if wanted(self, topic) {
                list.add_partition(topic.name(), partition);
            }
        }
        let result = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = result {
            warn!(%error, pause, "pausing or resuming failed");
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Reassign => {
                let places = self.shared.assigned.lock().map(|places| places.clone()).unwrap_or_default();
                if let Err(error) = assign(&self.consumer, &self.shared, places) {
                    error!(%error, "assigning anew failed");
                }
                self.notice_assignment();
            }
            Ask::Commit(offsets) => {
                // Between losing its partitions and getting some, a member is not known by its old id, and a commit by
                // that id is answered as if another had our instance's: fatal to the client.
                let assigned = self.shared.assigned.lock().map(|places| places.clone()).unwrap_or_default();
                let ours = offsets.into_iter().filter(|(place, _)| assigned.contains(place));
                let mut list = TopicPartitionList::new();
                for ((topic, partition), next) in ours {
                    let _ = list.add_partition_offset(topic.name(), partition, Offset::Offset(next));
                }
                // Informational; during a rebalance it fails, and the next one says it again.
                if list.count() > 0 {
                    let _ = self.consumer.commit(&list, CommitMode::Async);
                }
            }
            Ask::Ends { partition, topics, reply } => {
                let mut ends = HashMap::new();
                for topic in &topics {
                    match self.consumer.fetch_watermarks(topic.name(), partition, BROKER_TIMEOUT) {
                        Ok((_, high)) => drop(ends.insert(*topic, high)),
                        Err(error) => {
                            warn!(%error, topic = topic.name(), partition, "the end of the partition is unknown");
                            let _ = reply.send(None);
                            return;
                        }
                    }
                }
                let _ = reply.send(Some(ends.into_iter().collect()));
            }
            Ask::Stop => {}
        }
    }
}
