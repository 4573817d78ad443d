//! What an operator sees of the loop of a process, and says to it over the admin port: that the pause after too much
//! poison is over, or that messages which are gone for good are given up.
//!
//! The loop answers between two batches, so what it says is so, and nothing is changed under it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Place;
use crate::contract::topics::Topic;

const REQUESTS_MAX: usize = 16;

/// A stored position that is outside of what its topic has: retention or a truncated topic took what was never read,
/// or the topic was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    pub place: Place,
    /// The offset at which the group would go on.
    pub next: i64,
    /// The offsets that the topic has, the second excluded.
    pub low: i64,
    pub high: i64,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: (topic, partition), next, low, high } = self;
        write!(f, "DATA_LOSS_SUSPECTED: {topic}:{partition} is at {next}, but the topic has {low} to {high}")
    }
}

/// A partition as it is written: `orders.events:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named(pub Place);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.rsplit_once(':').and_then(|(topic, partition)| {
            Some((Topic::parse(topic)?, partition.parse().ok().filter(|partition| *partition >= 0)?))
        });
        place.map(Self).ok_or_else(|| format!("{text:?} is not TOPIC:PARTITION, such as orders.events:3"))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.0, self.0.1)
    }
}

/// How a loop stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Of the pause after too much poison; 0 where there is none.
    pub paused_ms: u64,
    /// By topic and partition; those of this process.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    pub topic: String,
    pub partition: i32,
    /// The next offset; `None` where the group has none yet.
    pub next: Option<i64>,
    /// Where it ended when the client last looked; `None` where it does not fetch it.
    pub end: Option<i64>,
    /// Why nothing of it is read; `None` where all is well.
    pub suspected: Option<String>,
}

/// A loss that was accepted: the group goes on at `to` instead of `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

#[derive(Debug)]
pub enum Request {
    Stand(oneshot::Sender<Standing>),
    Resume { accept: Vec<Place>, reply: oneshot::Sender<Result<Vec<Accepted>, NotSuspected>> },
}

/// Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no loss is suspected at {} in this process", Named(*.0))]
pub struct NotSuspected(pub Place);

/// The admin port's end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Console {
    requests: mpsc::Sender<Request>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Operator {
    requests: mpsc::Receiver<Request>,
    suspected: BTreeMap<Place, Suspicion>,
}

pub fn console() -> (Console, Operator) {
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    (Console { requests: sender }, Operator { requests, suspected: BTreeMap::new() })
}

impl Console {
    /// `None` where the loop is gone.
    pub async fn stand(&self) -> Option<Standing> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Stand(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Ends the pause, and gives up what the named partitions have lost. All of it or nothing. `None` where the loop
    /// is gone.
    pub async fn resume(&self, accept: Vec<Place>) -> Option<Result<Vec<Accepted>, NotSuspected>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Resume { accept, reply }).await.ok()?;
        answer.await.ok()
    }
}

impl Operator {
    /// What somebody wants to know or have done now.
    pub fn asked(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }

    /// All that is suspected, in words.
    pub fn suspect(&mut self, suspicion: Suspicion) -> String {
        self.suspected.insert(suspicion.place, suspicion);
        let all: Vec<String> = self.suspected.values().map(Suspicion::to_string).collect();
        all.join("; ")
    }

    /// Partitions were assigned: their positions are compared with the topics again after this.
    pub fn assigned(&mut self) {
        self.suspected.clear();
    }

    pub fn suspicions(&self, places: &[Place]) -> Result<Vec<Suspicion>, NotSuspected> {
        let found = |place: &Place| self.suspected.get(place).copied().ok_or(NotSuspected(*place));
        places.iter().map(found).collect()
    }

    pub fn standing(
        &self,
        positions: impl Iterator<Item = (Place, Option<i64>)>,
        ends: &HashMap<Place, i64>,
        paused_ms: u64,
    ) -> Standing {
        let mut positions: Vec<_> = positions.collect();
        positions.sort_unstable();
        let partitions = positions.into_iter().map(|(place, next)| Partition {
            topic: place.0.name().to_owned(),
            partition: place.1,
            next,
            end: ends.get(&place).copied(),
            suspected: self.suspected.get(&place).map(Suspicion::to_string),
        });
        Standing { paused_ms, partitions: partitions.collect() }
    }
}

impl Suspicion {
    /// All that the topic has is read again: what is known is recognized, and nothing more is given up than is gone.
    pub fn accepted(&self) -> Accepted {
        let (topic, partition) = self.place;
        Accepted { topic: topic.name().to_owned(), partition, from: self.next, to: self.low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_topic_and_number() {
        assert_eq!("orders.events:3".parse(), Ok(Named((Topic::OrdersEvents, 3))));
        for text in ["orders.events", "orders.events:", "orders.events:-1", "nothing:1", ""] {
            let refusal = text.parse::<Named>().unwrap_err();
            assert!(refusal.contains(&format!("{text:?}")), "{refusal}");
        }
    }

    #[test]
    fn only_what_is_suspected_is_given_up_and_an_assignment_takes_the_suspicion_back() {
        let (_console, mut operator) = console();
        let place = (Topic::OrdersEvents, 3);
        assert_eq!(operator.suspicions(&[place]), Err(NotSuspected(place)));
        let suspicion = Suspicion { place, next: 7, low: 10, high: 20 };
        let why = operator.suspect(suspicion);
        assert_eq!(why, "DATA_LOSS_SUSPECTED: orders.events:3 is at 7, but the topic has 10 to 20");
        assert_eq!(operator.suspicions(&[place]).unwrap()[0].accepted().to, 10);
        operator.assigned();
        assert_eq!(operator.suspicions(&[place]), Err(NotSuspected(place)));
    }
}
