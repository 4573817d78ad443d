//! The topics on a real broker. They are shared by all tests, which agree on four partitions.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use shared::{
    broker::{BrokerSettings, Logged, topics},
    contract::topics::Topic,
    testing,
};
use uuid::Uuid;

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn topics_are_made_once_and_as_the_contract_says() {
    let settings = BrokerSettings::new(testing::kafka());
    topics::ensure_topics(&settings, PARTITIONS, 1).await.unwrap();

    let again = topics::ensure_topics(&settings, PARTITIONS, 1).await.unwrap();

    assert_eq!(again.len(), Topic::ALL.len());
    for topic in &again {
        assert!(!topic.created, "{topic:?}");
        assert_eq!((topic.partitions, &topic.differences), (PARTITIONS, &vec![]), "{topic:?}");
    }
    assert_eq!(topics::partition_count(&settings).await.unwrap(), PARTITIONS);
    let listed = topics::list_topics(&settings).await.unwrap();
    assert!(listed.iter().any(|topic| topic.name == "orders.events" && topic.partitions == PARTITIONS));
}

#[tokio::test]
async fn another_partition_count_is_told_and_left_as_it_is() {
    let settings = BrokerSettings::new(testing::kafka());
    topics::ensure_topics(&settings, PARTITIONS, 1).await.unwrap();

    let ensured = topics::ensure_topics(&settings, PARTITIONS + 1, 1).await.unwrap();

    assert!(ensured.iter().all(|topic| topic.differences.contains(&"partitions is 4, not 5".to_owned())));
    assert_eq!(topics::partition_count(&settings).await.unwrap(), PARTITIONS);
}

#[tokio::test]
async fn a_broker_that_is_away_is_named() {
    let settings = BrokerSettings::new("127.0.0.1:1");
    let line = topics::partition_count(&settings).await.unwrap_err().to_string();
    assert!(line.starts_with("the broker at 127.0.0.1:1 does not answer"), "{line}");
}

/// What is larger than an answer may be comes only where nothing comes before it, and what comes first is the same in each
/// request of a client whose queue was full: a full batch of ours must not be larger, or one partition starves the others.
#[tokio::test]
async fn a_member_that_is_behind_takes_full_batches_of_all_partitions_alike() {
    /// Of each partition; all fit into the producer's queue, so that none leaves before its batch is full.
    const MESSAGES: usize = 2_400;
    const TAKEN_AT_ONCE: usize = 20;
    let settings = BrokerSettings::new(testing::kafka());
    // Nobody else reads or writes it.
    let topic = format!("behind-{}", Uuid::now_v7());
    let admin: AdminClient<Logged> = settings.admin().create_with_context(Logged).unwrap();
    let made = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    admin.create_topics([&made], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let lingering = settings.clone().with_overrides([("linger.ms".to_owned(), "1000".to_owned())]).unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> = lingering.producer().create().unwrap();
    for _ in 0..MESSAGES {
        for partition in 0..PARTITIONS {
            // A third of an event is ids, which no compression makes smaller.
            let value =
                format!("{:-<700}", [(); 6].map(|()| Uuid::from_u128(rand::random()).to_string()).join(","));
            let record = BaseRecord::<[u8], _>::to(&topic).partition(partition).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(DEADLINE).unwrap();

    let member: BaseConsumer = settings.consumer("a member that is behind", "one").create().unwrap();
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
    }
    member.assign(&places).unwrap();
    let (mut taken, begun) = ([0; PARTITIONS as usize], Instant::now());
    while !taken.contains(&MESSAGES) {
        assert!(begun.elapsed() < DEADLINE, "{taken:?} of {MESSAGES} each");
        let Some(message) = member.poll(Duration::from_millis(100)) else { continue };
        taken[message.unwrap().partition() as usize] += 1;
        // Nothing is waited for: this is how slow it is. Whoever takes all that the broker has never has a full queue.
        if taken.iter().sum::<usize>().is_multiple_of(TAKEN_AT_ONCE) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(taken.iter().all(|of_one| *of_one > MESSAGES / 2), "one has {MESSAGES}, all have {taken:?}");
}
