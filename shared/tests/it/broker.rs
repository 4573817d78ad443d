//! The topics on a real broker. They are shared by all tests, which agree on four partitions.

use shared::{
    broker::{BrokerSettings, topics},
    contract::topics::Topic,
    testing,
};

const PARTITIONS: i32 = 4;

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
