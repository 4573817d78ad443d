//! The consumer thread on the client library's mock cluster: what is fetched, paused and fetched again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use shared::{
    broker::BrokerSettings,
    consumer::{Change, Consumer, ConsumerSettings, Heard, Next, Place, Position, Suspicion},
    contract::topics::Topic,
};

const TOPIC: Topic = Topic::OrdersEvents;
/// It begins something.
const COMMANDS: Topic = Topic::OrdersCommands;
const PARTITIONS: i32 = 4;
const MESSAGES: i64 = 400;
const DEADLINE: Duration = Duration::from_secs(180);
const REFUSE_AGAIN: Duration = Duration::from_secs(2);

struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    fn new() -> Self {
        crate::show_logs();
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC.name(), PARTITIONS, 1).unwrap();
        Self { cluster }
    }

    fn settings(&self) -> BrokerSettings {
        BrokerSettings::new(self.cluster.bootstrap_servers())
    }

    fn publish(&self, count: i64) {
        self.publish_on(TOPIC, count);
    }

    fn publish_on(&self, topic: Topic, count: i64) {
        let producer: ThreadedProducer<_> = self.settings().producer().create().unwrap();
        for number in 0..count {
            let partition = (number % i64::from(PARTITIONS)) as i32;
            let record = BaseRecord::<[u8], [u8]>::to(topic.name()).partition(partition).payload(b"x");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    }
}

/// What a group has taken, and where it stands.
#[derive(Clone, Default)]
struct Group {
    taken: Arc<Mutex<BTreeSet<(Topic, i32, i64)>>>,
    positions: Arc<Mutex<HashMap<Place, i64>>>,
}

struct Member {
    group: Group,
    consumer: Consumer,
    heard: Heard,
    assigned: Arc<AtomicUsize>,
    /// How often it was given partitions.
    assignments: usize,
    lost: Vec<Suspicion>,
    ended: Option<String>,
}

impl Group {
    fn join(&self, broker: &Broker, instance: &str) -> Member {
        self.join_with(broker, instance, vec![TOPIC])
    }

    fn join_with(&self, broker: &Broker, instance: &str, topics: Vec<Topic>) -> Member {
        let settings = ConsumerSettings {
            client: broker.settings().consumer("group", instance),
            topics,
            begins: vec![COMMANDS],
            // Full at once, so that the partitions are paused.
            messages_max: 5,
        };
        let (consumer, heard) = Consumer::start(settings).unwrap();
        Member {
            group: self.clone(),
            consumer,
            heard,
            assigned: Arc::default(),
            assignments: 0,
            lost: Vec::new(),
            ended: None,
        }
    }

    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    fn taken_of(&self, topic: Topic) -> i64 {
        self.taken.lock().unwrap().iter().filter(|(of, ..)| *of == topic).count() as i64
    }
}

impl Member {
    /// Answers changes and, where asked to, takes messages, until it is so.
    async fn until(&mut self, messages: bool, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert_eq!(self.ended, None);
            assert!(Instant::now() < deadline, "{} taken, {:?} assigned", self.group.taken(), self.assigned);
            let next = tokio::time::timeout(Duration::from_millis(50), self.heard.next(messages)).await;
            match next {
                Err(_) => {}
                Ok(next) => self.take(next.unwrap()),
            }
        }
    }

    async fn stop(self) {
        // Nobody answers any more.
        drop(self.heard);
        self.consumer.stop(DEADLINE).await;
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Message(raw) => {
                let place = (raw.topic, raw.partition);
                self.group.taken.lock().unwrap().insert((raw.topic, raw.partition, raw.offset));
                let before = self.group.positions.lock().unwrap().insert(place, raw.offset + 1);
                assert!(before.unwrap_or_default() >= raw.offset, "{place:?}: nothing is skipped");
            }
            Next::Change(Change::Assigned { places, reply }) => {
                self.assigned.store(places.len(), Ordering::Relaxed);
                self.assignments += 1;
                let positions = self.group.positions.lock().unwrap();
                let position =
                    |place: &Place| Position { place: *place, next: positions.get(place).copied() };
                reply.send(places.iter().map(position).collect()).unwrap();
            }
            Next::Change(Change::Revoked { reply }) => {
                self.assigned.store(0, Ordering::Relaxed);
                // A thread that has waited for long enough lets the group go on.
                let _ = reply.send(());
            }
            Next::Change(Change::DataLossSuspected(why)) => self.lost.push(why),
            Next::Change(Change::Fatal(why)) => self.ended = Some(why),
        }
    }
}

#[tokio::test]
async fn what_was_paused_when_partitions_went_is_fetched_when_they_come_back() {
    let broker = Broker::new();
    broker.publish(MESSAGES);
    let group = Group::default();
    let mut first = group.join(&broker, "first");
    first.until(true, |member| member.group.taken() > 0).await;

    // It takes nothing meanwhile, so the queue is full and its partitions are paused.
    let mut second = group.join(&broker, "second");
    // Each answers until both have theirs: a group that waits for a member forms anew without it.
    let halves = [first.assigned.clone(), second.assigned.clone()];
    let has_half = |assigned: &Arc<AtomicUsize>| assigned.load(Ordering::Relaxed) == 2;
    let are_halved = |_: &Member| halves.iter().all(has_half);
    tokio::join!(first.until(false, are_halved), second.until(false, are_halved));

    let all = |member: &Member| member.group.taken() as i64 == MESSAGES;
    tokio::join!(first.until(true, all), second.until(true, all));
    first.stop().await;
    second.stop().await;
}

/// The queue is full again and again meanwhile, so all is paused and resumed, and once everything is assigned anew.
#[tokio::test]
async fn a_topic_that_is_held_back_waits_while_the_others_go_on_and_nothing_of_it_is_skipped() {
    let broker = Broker::new();
    broker.cluster.create_topic(COMMANDS.name(), PARTITIONS, 1).unwrap();
    broker.publish_on(COMMANDS, MESSAGES);
    broker.publish(MESSAGES);
    let group = Group::default();
    let mut member = group.join_with(&broker, "only", vec![COMMANDS, TOPIC]);
    member.consumer.hold_back(true);
    member.until(true, |member| member.group.taken_of(TOPIC) == MESSAGES).await;

    member.consumer.reassign();
    broker.publish(MESSAGES);
    member.until(true, |member| member.group.taken_of(TOPIC) == 2 * MESSAGES).await;
    // What came before it was paused anew has been taken by now.
    let before = group.taken_of(COMMANDS);
    assert!(before < MESSAGES);
    broker.publish(MESSAGES);
    member.until(true, |member| member.group.taken_of(TOPIC) == 3 * MESSAGES).await;
    assert_eq!(group.taken_of(COMMANDS), before);

    member.consumer.hold_back(false);
    member.until(true, |member| member.group.taken_of(COMMANDS) == MESSAGES).await;
    member.stop().await;
}

#[tokio::test]
async fn an_error_of_the_client_while_a_message_waits_stops_nothing() {
    let broker = Broker::new();
    broker.publish(MESSAGES);
    let group = Group::default();
    let mut member = group.join(&broker, "only");
    member.until(true, |member| member.group.taken() > 0).await;
    // All brokers down: an error that the client hands out.
    broker.cluster.broker_down(1).unwrap();
    let mut ends = member.consumer.ends(0, vec![TOPIC]);
    let is_away = |member: &Member| match ends.try_recv() {
        Ok(None) => true,
        Ok(Some(_)) => {
            ends = member.consumer.ends(0, vec![TOPIC]);
            false
        }
        Err(_) => false,
    };
    member.until(false, is_away).await;
    broker.cluster.broker_up(1).unwrap();
    member.until(true, |member| member.group.taken() as i64 == MESSAGES).await;
    member.stop().await;
}

#[tokio::test]
async fn a_position_outside_of_the_topic_is_said_while_the_process_runs() {
    let broker = Broker::new();
    broker.publish(MESSAGES);
    let group = Group::default();
    let mut member = group.join(&broker, "only");
    member.until(true, |member| member.group.taken() as i64 == MESSAGES).await;
    // Where the topic still has it, it goes on; said it is where it has not.
    *member.group.positions.lock().unwrap().get_mut(&(TOPIC, 1)).unwrap() = MESSAGES * 2;
    // The client takes no notice of the answer to a request that it has given up meanwhile.
    let mut refused = Instant::now() - REFUSE_AGAIN;
    let is_said = |member: &Member| {
        if refused.elapsed() >= REFUSE_AGAIN {
            refused = Instant::now();
            let out_of_range = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
            broker.cluster.request_errors(RDKafkaApiKey::Fetch, &[out_of_range]);
        }
        !member.lost.is_empty()
    };
    member.until(true, is_said).await;
    let said = member.lost[0].to_string();
    assert!(said.starts_with("DATA_LOSS_SUSPECTED: orders.events:1 "), "{said}");
    broker.publish(MESSAGES);
    let reached = |member: &Member| member.group.taken() as i64 >= MESSAGES * 2 - MESSAGES / 4;
    member.until(true, reached).await;
    member.stop().await;
}

/// A broker was away for longer than a session, and by the time it is back the group knows us by another id.
#[tokio::test]
async fn a_member_that_is_fenced_while_it_has_no_partition_joins_anew() {
    let broker = Broker::new();
    broker.publish(MESSAGES);
    let group = Group::default();
    let mut member = group.join(&broker, "only");
    member.until(true, |member| member.group.taken() as i64 == MESSAGES).await;
    let before = member.assignments;
    let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    broker.cluster.request_errors(RDKafkaApiKey::JoinGroup, &[fenced]);
    broker.cluster.request_errors(RDKafkaApiKey::Heartbeat, &[unknown]);
    member.until(true, |member| member.assignments > before).await;
    broker.publish(MESSAGES);
    member.until(true, |member| member.group.taken() as i64 == 2 * MESSAGES).await;
    member.stop().await;
}

/// Else two processes by one name would take each other's place for ever.
#[tokio::test]
async fn a_member_whose_place_another_takes_ends() {
    let broker = Broker::new();
    let group = Group::default();
    let mut member = group.join(&broker, "only");
    member.until(true, |member| member.assigned.load(Ordering::Relaxed) as i32 == PARTITIONS).await;
    let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    broker.cluster.request_errors(RDKafkaApiKey::Heartbeat, &[fenced]);
    member.until(true, |member| member.ended.is_some()).await;
    assert!(member.ended.as_ref().is_some_and(|why| why.contains("FencedInstanceId")), "{:?}", member.ended);
    member.stop().await;
}
