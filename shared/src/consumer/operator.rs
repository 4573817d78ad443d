//! What an operator sees of the loop of a process, and says to it over the admin port: that the pause after too much
//! poison is over, or that messages which are gone for good are given up.
//!
//! The loop answers between two batches, so what it says is so, and nothing is changed under it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    str::FromStr,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::Place;
use crate::{
    contract::topics::Topic,
    failure::Brake,
    log::{self, GivenUp, StoreError},
    telemetry::{Metrics, metrics::WhatLabel},
};

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

/// What came of "go on".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// It paused, and does no longer.
    pub paused: bool,
    pub accepted: Vec<Accepted>,
}

#[derive(Debug)]
enum Request {
    Stand(oneshot::Sender<Standing>),
    Resume { accept: Vec<Place>, reply: oneshot::Sender<Result<Resumed, Refused>> },
}

/// Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no loss is suspected at {} in this process", Named(*.0))]
    NotSuspected(Place),
    #[error("the group has gone on meanwhile: look again")]
    Moved,
    #[error(
        "the topic goes back, and {0} dead letters and held messages of before stand at offsets that come again as other \
         messages, which would be taken for them: once nobody needs them, delete those rows"
    )]
    ComesAgain(i64),
}

/// What an operator gives up, valid. Whoever carries it out says what came of it to [`Operator::given_up`].
#[derive(Debug)]
pub struct Loss {
    suspicions: Vec<Suspicion>,
    reply: oneshot::Sender<Result<Resumed, Refused>>,
}

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

    /// Ends the pause; or, where partitions are named, gives up what they have lost, all of it or nothing. `None` where
    /// the loop is gone. Who stops waiting before the loop has heard it takes it back.
    pub async fn resume(&self, accept: Vec<Place>) -> Option<Result<Resumed, Refused>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Resume { accept, reply }).await.ok()?;
        answer.await.ok()
    }
}

impl Operator {
    /// Whether there is anything to listen to.
    pub fn is_asked(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Answers all that can be answered at once: how the loop stands, and the end of a pause. The first loss to be given
    /// up is the caller's to carry out, who then asks again.
    pub fn listen(
        &mut self,
        brake: &mut Brake,
        positions: &[(Place, Option<i64>)],
        ends: &HashMap<Place, i64>,
    ) -> Option<Loss> {
        loop {
            match self.requests.try_recv().ok()? {
                // Whoever asked may be gone.
                Request::Stand(reply) => drop(reply.send(self.standing(brake, positions, ends))),
                Request::Resume { reply, .. } if reply.is_closed() => {}
                Request::Resume { accept, reply } if accept.is_empty() => {
                    let paused = brake.on(Instant::now());
                    if paused {
                        warn!("an operator ends the pause");
                        brake.lift();
                    }
                    let _ = reply.send(Ok(Resumed { paused, accepted: Vec::new() }));
                }
                Request::Resume { accept, reply } => {
                    // Named twice it is one.
                    let accept = BTreeSet::from_iter(accept);
                    let found = |place: &Place| {
                        self.suspected.get(place).copied().ok_or(Refused::NotSuspected(*place))
                    };
                    match accept.iter().map(found).collect() {
                        Ok(suspicions) => return Some(Loss { suspicions, reply }),
                        Err(refused) => drop(reply.send(Err(refused))),
                    }
                }
            }
        }
    }

    /// What came of a loss: true where partitions go on elsewhere, so that they must be assigned anew.
    pub fn given_up(&mut self, loss: Loss, given_up: GivenUp, metrics: &Metrics) -> bool {
        let Loss { suspicions, reply } = loss;
        let refused = match given_up {
            GivenUp::Done => None,
            GivenUp::Moved => Some(Refused::Moved),
            GivenUp::ComesAgain(count) => Some(Refused::ComesAgain(count)),
        };
        if let Some(refused) = refused {
            let _ = reply.send(Err(refused));
            return false;
        }
        for suspicion in &suspicions {
            error!("an operator accepts the loss: {suspicion}");
            metrics.counted.get_or_create(&WhatLabel { what: "data_loss_accepted" }).inc();
            self.suspected.remove(&suspicion.place);
        }
        let accepted = suspicions.iter().map(Suspicion::accepted).collect();
        let _ = reply.send(Ok(Resumed { paused: false, accepted }));
        true
    }

    /// All that is suspected, in words.
    pub fn suspect(&mut self, suspicion: Suspicion) -> String {
        self.suspected.insert(suspicion.place, suspicion);
        let all: Vec<String> = self.suspected.values().map(Suspicion::to_string).collect();
        all.join("; ")
    }

    /// Partitions came or went: the positions of those that are ours are compared with the topics again after this.
    pub fn reassigned(&mut self) {
        self.suspected.clear();
    }

    fn standing(
        &self,
        brake: &Brake,
        positions: &[(Place, Option<i64>)],
        ends: &HashMap<Place, i64>,
    ) -> Standing {
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        let partitions = positions.into_iter().map(|(place, next)| {
            let suspicion = self.suspected.get(&place);
            Partition {
                topic: place.0.name().to_owned(),
                partition: place.1,
                next,
                end: suspicion.map(|suspicion| suspicion.high).or_else(|| ends.get(&place).copied()),
                suspected: suspicion.map(Suspicion::to_string),
            }
        });
        let paused_ms = brake.left(Instant::now()).as_millis() as u64;
        Standing { paused_ms, partitions: partitions.collect() }
    }
}

impl Loss {
    /// The same of all databases: each place goes on at the first message that its topic has, since what is known is
    /// recognized, and nothing more is given up than is gone.
    pub async fn give_up(&self, connection: &mut PgConnection) -> Result<GivenUp, StoreError> {
        let places: Vec<Place> = self.suspicions.iter().map(|suspicion| suspicion.place).collect();
        let from: Vec<i64> = self.suspicions.iter().map(|suspicion| suspicion.next).collect();
        let to: Vec<i64> = self.suspicions.iter().map(|suspicion| suspicion.low).collect();
        log::give_up(connection, &places, &from, &to).await
    }
}

impl Suspicion {
    fn accepted(&self) -> Accepted {
        let (topic, partition) = self.place;
        Accepted { topic: topic.name().to_owned(), partition, from: self.next, to: self.low }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_partition_is_named_by_topic_and_number() {
        assert_eq!("orders.events:3".parse(), Ok(Named((Topic::OrdersEvents, 3))));
        for text in ["orders.events", "orders.events:", "orders.events:-1", "nothing:1", ""] {
            let refusal = text.parse::<Named>().unwrap_err();
            assert!(refusal.contains(&format!("{text:?}")), "{refusal}");
        }
    }

    #[tokio::test]
    async fn only_what_is_suspected_is_given_up_and_only_once() {
        let (console, mut operator) = console();
        let metrics = Metrics::new("test", "1");
        let (mut brake, place) = (Brake::default(), (Topic::OrdersEvents, 3));
        let suspicion = Suspicion { place, next: 7, low: 10, high: 20 };
        let why = operator.suspect(suspicion);
        assert_eq!(why, "DATA_LOSS_SUSPECTED: orders.events:3 is at 7, but the topic has 10 to 20");
        let ask = async |accept: Vec<Place>, operator: &mut Operator, given_up: GivenUp| {
            let asked = console.resume(accept);
            let served = async {
                tokio::task::yield_now().await;
                if let Some(loss) = operator.listen(&mut Brake::default(), &[], &HashMap::new()) {
                    operator.given_up(loss, given_up, &metrics);
                }
            };
            tokio::join!(asked, served).0.unwrap()
        };
        let elsewhere = (Topic::OrdersEvents, 4);
        let refused = ask(vec![place, elsewhere], &mut operator, GivenUp::Done).await;
        assert_eq!(refused, Err(Refused::NotSuspected(elsewhere)));
        assert_eq!(ask(vec![place], &mut operator, GivenUp::Moved).await, Err(Refused::Moved));
        let comes_again = ask(vec![place], &mut operator, GivenUp::ComesAgain(2)).await;
        assert_eq!(comes_again, Err(Refused::ComesAgain(2)));
        let accepted = Accepted { topic: "orders.events".into(), partition: 3, from: 7, to: 10 };
        let resumed = Resumed { paused: false, accepted: vec![accepted] };
        assert_eq!(ask(vec![place, place], &mut operator, GivenUp::Done).await, Ok(resumed));
        assert_eq!(ask(vec![place], &mut operator, GivenUp::Done).await, Err(Refused::NotSuspected(place)));
        operator.suspect(suspicion);
        operator.reassigned();
        assert_eq!(ask(vec![place], &mut operator, GivenUp::Done).await, Err(Refused::NotSuspected(place)));
        // Who has stopped waiting is not heard.
        operator.suspect(suspicion);
        drop(tokio::time::timeout(Duration::ZERO, console.resume(vec![place])).await);
        assert!(operator.listen(&mut brake, &[], &HashMap::new()).is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_pause_is_said_where_there_is_one() {
        let (console, mut operator) = console();
        let mut brake = Brake::default();
        for paused in [false, true, false] {
            if paused {
                brake.count(0, 1_000, Instant::now());
            }
            let served = async {
                tokio::task::yield_now().await;
                operator.listen(&mut brake, &[], &HashMap::new());
            };
            let (resumed, ()) = tokio::join!(console.resume(Vec::new()), served);
            assert_eq!(resumed.unwrap().unwrap().paused, paused);
            assert!(!brake.on(Instant::now()));
        }
    }
}
