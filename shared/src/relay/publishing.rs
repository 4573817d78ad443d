//! The producing half of the shell: one producer at a time, made anew after a failure, and the watch over the
//! topics that it writes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    task::{JoinError, spawn_blocking},
    time::{Instant, sleep},
};

use super::{
    machine::Entry,
    producer::{Checked, Counts, Failure, Offsets, Producer, Reports, Sent},
};
use crate::{broker::BrokerSettings, contract::topics::Topic, failpoint, log::Lane};

const REBUILD_DELAY_MAX: Duration = Duration::from_secs(5);
const REBUILD_DELAY: Duration = Duration::from_millis(100);
/// How long a topic that is gone or was given more partitions can go unnoticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// A topic that the broker does not know is asked for again this soon, this often, before it counts as gone: a
/// broker that has just started may not know its topics yet.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);
const MISSING_MAX: u32 = 5;
/// A broker forgets producers that are silent on a partition; its default is a day.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

pub(super) struct Publishing {
    broker: BrokerSettings,
    topics: Vec<Topic>,
    work: Arc<Notify>,
    offsets: Arc<Mutex<Offsets>>,
    /// As they were when this process first saw them: keys stay where they are.
    counts: Option<Counts>,
    producer: Option<Producer>,
    building: Option<oneshot::Receiver<Result<Producer, Checked>>>,
    checking: Option<oneshot::Receiver<Checked>>,
    next_check: Instant,
    missing: u32,
    /// Producers in a row that brought nothing to the broker.
    in_vain: u32,
    /// By partition: when the present producer was last acknowledged there, `None` while its first message is
    /// under way.
    opened: HashMap<(Topic, i32), Option<Instant>>,
    /// Published, but not given to the producer yet.
    unsent: VecDeque<(Lane, Entry)>,
    waits_for: Option<String>,
}

/// What the machines must hear.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another producer may do better.
    Producer(String),
    /// A message that no producer will deliver. What was queued behind it must not go out.
    Message(Lane, String),
    /// What the lane publishes on is not what it was.
    Topic(Lane, String),
}

#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) acked: Vec<(Lane, i64)>,
    pub(super) sent: Vec<(Topic, u64)>,
    pub(super) trouble: Option<Trouble>,
    /// A producer that was asked for stands ready.
    pub(super) is_ready: bool,
}

impl Publishing {
    pub(super) fn new(broker: BrokerSettings, topics: &[Topic], work: Arc<Notify>) -> Self {
        let mut topics = topics.to_vec();
        topics.push(Topic::DeadLetters);
        Self {
            broker,
            topics,
            work,
            offsets: Arc::default(),
            counts: None,
            producer: None,
            building: None,
            checking: None,
            next_check: Instant::now(),
            missing: 0,
            in_vain: 0,
            opened: HashMap::new(),
            unsent: VecDeque::new(),
            waits_for: None,
        }
    }

    pub(super) fn publish(&mut self, lane: Lane, entries: Vec<Entry>) {
        self.unsent.extend(entries.into_iter().map(|entry| (lane, entry)));
    }

    /// Gives the producer what it takes.
    ///
    /// The first message of a producer to a partition goes alone: of a producer that it does not know, the broker
    /// takes any sequence number, so that the second request would be taken where the first was refused.
    pub(super) fn pump(&mut self) -> Option<Trouble> {
        let producer = self.producer.as_ref()?;
        while let Some((lane, entry)) = self.unsent.front() {
            let place = match producer.place(*lane, entry) {
                Ok(place) => place,
                Err(failure) => return Some(failure.into()),
            };
            let is_open = match self.opened.get(&place) {
                Some(None) => break,
                Some(Some(acked_at)) => acked_at.elapsed() < FORGOTTEN_AFTER,
                None => false,
            };
            match producer.send(*lane, entry, place.1) {
                Sent::Yes => {
                    failpoint::pass("relay", "enqueued");
                    self.unsent.pop_front()
                }
                Sent::Full => break,
                Sent::Failed(failure) => return Some(failure.into()),
            };
            if !is_open {
                self.opened.insert(place, None);
            }
        }
        None
    }

    /// A new producer, after a pause that grows while producers fail in vain.
    pub(super) fn rebuild(&mut self) {
        if self.building.is_some() {
            return;
        }
        let delay = if self.producer.is_some() {
            self.in_vain += 1;
            (REBUILD_DELAY * 2_u32.pow(self.in_vain.min(10) - 1)).min(REBUILD_DELAY_MAX)
        } else {
            Duration::ZERO
        };
        self.discard();
        self.build(delay);
    }

    pub(super) fn discard(&mut self) {
        self.producer = None;
        self.building = None;
        self.checking = None;
        self.opened.clear();
        self.unsent.clear();
    }

    /// A lane that halted: what is wrong with its topics must not stop the other.
    pub(super) fn forget(&mut self, lane: Lane) {
        self.unsent.retain(|(of, _)| *of != lane);
        self.topics.retain(|topic| lane_of(*topic) != lane);
    }

    /// What is away, where something is.
    pub(super) fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    /// What happened since the last time.
    pub(super) fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        if let Some(built) = take_answer(&mut self.building) {
            match built {
                Ok(producer) => {
                    taken.trouble = self.checked(Checked::All(producer.counts().clone()));
                    self.producer = Some(producer);
                    taken.is_ready = true;
                }
                Err(checked) => {
                    taken.trouble = self.checked(checked);
                    self.build(MISSING_INTERVAL);
                }
            }
        }
        if let Some(producer) = &self.producer {
            let Reports { acked, sent, failure, lost } = producer.reports();
            if !acked.is_empty() {
                self.in_vain = 0;
                self.waits_for = None;
            }
            taken.acked = acked;
            let now = Instant::now();
            self.opened.extend(sent.keys().map(|place| (*place, Some(now))));
            taken.sent = sent.into_iter().map(|((topic, _), count)| (topic, count)).collect();
            if let Some(failure) = failure {
                self.waits_for = Some(failure.reason().to_owned());
                taken.trouble = Some(failure.into());
            }
            if let Some((topic, lost)) = lost {
                taken.trouble = Some(Trouble::Topic(lane_of(topic), lost));
            }
        }
        taken.trouble = taken.trouble.or_else(|| self.check());
        taken
    }

    fn build(&mut self, delay: Duration) {
        let (answer, building) = oneshot::channel();
        self.building = Some(building);
        let (broker, topics) = (self.broker.clone(), self.topics.clone());
        let (offsets, work) = (Arc::clone(&self.offsets), Arc::clone(&self.work));
        tokio::spawn(async move {
            sleep(delay).await;
            let wake = Arc::clone(&work);
            let built = spawn_blocking(move || Producer::build(&broker, &topics, &offsets, &work)).await;
            let failed = |error: JoinError| Err(Checked::Unreachable(error.to_string()));
            let _ = answer.send(built.unwrap_or_else(failed));
            wake.notify_one();
        });
    }

    /// Asks about the topics now and then.
    fn check(&mut self) -> Option<Trouble> {
        let answer = take_answer(&mut self.checking);
        let trouble = answer.and_then(|checked| self.checked(checked));
        let producer = self.producer.as_ref()?;
        let now = Instant::now();
        if self.checking.is_none() && self.next_check <= now {
            self.next_check = now + CHECK_INTERVAL;
            let (answer, checking) = oneshot::channel();
            self.checking = Some(checking);
            let (ask, wake) = (producer.checker(&self.topics), Arc::clone(&self.work));
            spawn_blocking(move || {
                let _ = answer.send(ask());
                wake.notify_one();
            });
        }
        trouble
    }

    fn checked(&mut self, checked: Checked) -> Option<Trouble> {
        match checked {
            Checked::All(counts) => {
                self.missing = 0;
                if self.in_vain == 0 {
                    self.waits_for = None;
                }
                let known = self.counts.get_or_insert_with(|| counts.clone());
                let (topic, count) = counts.iter().find(|(topic, count)| known.get(topic) != Some(count))?;
                let was = known.get(topic).copied().unwrap_or_default();
                let reason = format!(
                    "topic {} has {count} partitions and had {was}: keys would move, and lose their order",
                    topic.name()
                );
                Some(Trouble::Topic(lane_of(*topic), reason))
            }
            Checked::Missing(topic) => {
                let name = topic.name();
                if self.counts.is_some() {
                    self.missing += 1;
                    self.next_check = Instant::now() + MISSING_INTERVAL;
                }
                self.waits_for = Some(format!("the broker has no topic {name}: run `fulfil topic ensure`"));
                (self.missing >= MISSING_MAX).then(|| {
                    let reason = format!("topic {name} is gone, with all that was published on it");
                    Trouble::Topic(lane_of(topic), reason)
                })
            }
            Checked::Unreachable(reason) => {
                self.waits_for = Some(format!("the broker does not answer: {reason}"));
                None
            }
        }
    }
}

impl Failure {
    fn reason(&self) -> &str {
        match self {
            Self::Producer(reason) | Self::Message { reason, .. } => reason,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Producer(reason) => Self::Producer(reason),
            Failure::Message { lane, reason } => Self::Message(lane, reason),
        }
    }
}

fn lane_of(topic: Topic) -> Lane {
    if topic == Topic::DeadLetters { Lane::DeadLetters } else { Lane::Events }
}

fn take_answer<T>(waiting: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match waiting.as_mut()?.try_recv() {
        Ok(answer) => {
            *waiting = None;
            Some(answer)
        }
        Err(oneshot::error::TryRecvError::Empty) => None,
        // Whoever should have answered is gone.
        Err(oneshot::error::TryRecvError::Closed) => {
            *waiting = None;
            None
        }
    }
}
