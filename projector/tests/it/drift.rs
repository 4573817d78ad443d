//! The view compared with its topics while it serves: what was changed by hand is found and named, and nothing else is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use projector::{
    drift::{Checked, Drift},
    intake::READS,
    project::lag::Lag,
};
use rand::{SeedableRng, rngs::StdRng};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use shared::{
    broker::{self, BrokerSettings, Logged, copied, topics::ensure_topics},
    contract::{
        Timestamp,
        envelope::{Mode, Raw, decode},
        ids::OrderId,
        topics::Topic,
    },
    shutdown::{self, Shutdown, Trigger},
    telemetry::Metrics,
    testing,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    http::{Api, id},
    project::{take_all, with_a_broken_confirmation},
    run::publish,
    sagas::{PARTITIONS, PATHS, place, world},
};

const DEADLINE: Duration = Duration::from_secs(120);

/// A view, its topics, and who compares them.
struct Compared {
    api: Api,
    drift: Drift,
    shutdown: Shutdown,
    _trigger: Trigger,
    _broker: MockCluster<'static, DefaultProducerContext>,
}

impl Compared {
    async fn new(messages: &[Raw]) -> Self {
        let broker = MockCluster::new(1).unwrap();
        for topic in READS {
            broker.create_topic(topic.name(), PARTITIONS, 1).unwrap();
        }
        publish(&broker.bootstrap_servers(), messages);
        let api = Api::new().await;
        let lag = Lag::new(Timestamp::UNIX_EPOCH);
        lag.committed(std::time::SystemTime::now().into());
        let drift = Drift {
            database_url: api.database.url.clone(),
            broker: BrokerSettings::new(broker.bootstrap_servers()),
            mode: Mode::Development,
            lag,
            rate: 100_000,
            metrics: Metrics::new("projector", "test"),
        };
        let (trigger, shutdown) = shutdown::manual();
        Self { api, drift, shutdown, _trigger: trigger, _broker: broker }
    }

    async fn check(&self) -> Checked {
        let mut all = Checked::default();
        for partition in 0..PARTITIONS {
            let checked = self.drift.check(partition, 0, &self.shutdown).await.unwrap().unwrap();
            all.compared.extend(checked.compared);
            all.different.extend(checked.different);
        }
        all
    }

    async fn hurt(&mut self, sql: &str, id: OrderId) {
        let sql = AssertSqlSafe(sql.replace("$1", &format!("'{id}'")));
        let done = sqlx::query(sql).execute(&mut self.api.database.connection).await.unwrap();
        assert!(done.rows_affected() > 0);
    }
}

fn named(checked: &Checked) -> BTreeMap<OrderId, String> {
    checked.different.iter().map(|drifted| (drifted.order_id, drifted.what.clone())).collect()
}

#[tokio::test]
async fn an_order_that_was_changed_by_hand_is_found_and_named_until_it_is_mended() {
    let (world, orders) = world(31, 12);
    let messages = world.in_order();
    let mut view = Compared::new(&messages).await;
    take_all(&mut view.api.projection, messages.clone()).await;
    let checked = view.check().await;
    assert_eq!((checked.compared.len(), checked.different.len()), (orders.len(), 0));
    assert!(view.api.screen("/projections").await.contains("✓ of all orders that were compared"));

    let ids: Vec<OrderId> = orders.iter().map(|(id, _)| *id).collect();
    let kept = "create table kept as select * from order_view where order_id = $1";
    view.hurt(kept, ids[0]).await;
    for (sql, id) in [
        (
            "update order_view set order_state = replace(order_state, 'user-', 'thief-') where order_id = $1",
            ids[0],
        ),
        ("delete from order_view where order_id = $1", ids[1]),
        ("update order_view set order_version = order_version + 1 where order_id = $1", ids[2]),
        ("delete from timeline where order_id = $1 and sequence = 1 and topic = 'orders.events'", ids[3]),
    ] {
        view.hurt(sql, id).await;
    }
    let checked = view.check().await;
    let found = named(&checked);
    assert_eq!(checked.compared.len(), orders.len());
    assert_eq!(found.keys().collect::<Vec<_>>().len(), 4, "{found:?}");
    for (id, says) in [
        (ids[0], "user_id differ from the topics"),
        (ids[1], "the view has no such order"),
        (ids[2], "on the topics at"),
        (ids[3], "its timeline has"),
    ] {
        assert!(found[&id].contains(says), "{id}: {found:?}");
    }
    let (_, body) = view.api.get("/projections").await;
    assert_eq!(body["served"]["drift"].as_array().unwrap().len(), 4);
    for screen in ["/projections", "/"] {
        let html = view.api.screen(screen).await;
        assert!(html.contains(&found[&ids[2]]) && html.contains("⚠"), "{screen}: {html}");
    }
    assert_eq!((view.drift.metrics.view_compared.get(), view.drift.metrics.view_drift.get()), (24, 4));

    // Mended: it is taken off the list, and the others stay.
    view.hurt(
        "update order_view set order_state = kept.order_state from kept where order_view.order_id = $1",
        ids[0],
    )
    .await;
    let left = named(&view.check().await);
    assert!(left.len() == 3 && !left.contains_key(&ids[0]), "{left:?}");
    let (_, body) = view.api.get("/projections").await;
    assert_eq!(body["served"]["drift"].as_array().unwrap().len(), 3);
}

/// Rows and places are read at one moment, and the topics only as far as there.
#[tokio::test]
async fn a_view_that_is_behind_and_moves_on_meanwhile_is_no_false_alarm() {
    let (world, _) = world(32, 60);
    let messages = world.in_order();
    let mut view = Compared::new(&messages).await;
    // By topic, so that the sources of an order are far apart.
    let mut late = messages.clone();
    late.sort_by_key(|raw| std::cmp::Reverse(raw.topic));
    let (drift, shutdown) = (view.drift.clone(), view.shutdown.clone());
    let (trigger, stopped) = shutdown::manual();
    let comparing = tokio::spawn(async move {
        let (mut compared, mut rounds) = (0, 0);
        while !stopped.is_requested() || rounds < PARTITIONS {
            let checked = drift.check(rounds % PARTITIONS, 0, &shutdown).await.unwrap().unwrap_or_default();
            assert_eq!(checked.different, [], "round {rounds}");
            compared += checked.compared.len();
            rounds += 1;
        }
        compared
    });
    for some in late.chunks(5) {
        take_all(&mut view.api.projection, some.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    trigger.stop();
    assert!(comparing.await.unwrap() > 0);
    assert_eq!(view.check().await.compared.len(), 60);
}

#[tokio::test]
async fn what_died_or_waits_is_left_out_and_repeats_are_no_drift() {
    let (messages, _) = with_a_broken_confirmation();
    let mut view = Compared::new(&messages).await;
    take_all(&mut view.api.projection, messages).await;
    assert_eq!(view.check().await, Checked::default());

    let (world, orders) = world(33, 10);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(3));
    let messages = crate::sagas::interleave(&sent, &mut StdRng::seed_from_u64(3));
    let mut view = Compared::new(&messages).await;
    take_all(&mut view.api.projection, messages).await;
    let checked = view.check().await;
    assert_eq!((checked.compared.len(), checked.different), (orders.len(), Vec::new()));
}

/// Each message came to the broker when it was recorded, and some a while later once more. A broker in memory finds none by its time:
/// of the other topics nothing is walked.
#[tokio::test]
async fn a_walk_that_begins_somewhere_compares_what_was_created_since_and_nothing_else() {
    let (mut world, _) = world(35, 0);
    let ids: Vec<OrderId> = (1..=40).map(id).collect();
    for (id, path) in ids.iter().zip(PATHS.into_iter().cycle()) {
        world.pass(50_000);
        world.order(*id, path, &["SKU-1".parse().unwrap()], 1);
    }
    let mut messages = Vec::new();
    for queue in world.with_repeats(&mut StdRng::seed_from_u64(5)) {
        let mut at_ms = 0;
        for mut raw in place(queue) {
            at_ms = recorded_at(&raw).timestamp_millis().max(at_ms);
            raw.timestamp_ms = at_ms;
            messages.push(raw);
        }
    }
    let mut next: BTreeMap<_, i64> = BTreeMap::new();
    messages.sort_by_key(|raw| raw.timestamp_ms);
    for raw in &mut messages {
        let next = next.entry((raw.topic, raw.partition)).or_default();
        (raw.offset, *next) = (*next, *next + 1);
    }
    let mut view = Compared::new(&messages).await;
    take_all(&mut view.api.projection, messages.clone()).await;
    let created = |id: OrderId| {
        let is_created = |raw: &&Raw| {
            raw.topic == Topic::OrdersEvents && raw.key.as_deref() == Some(id.to_string().as_bytes())
        };
        messages.iter().find(is_created).unwrap()
    };
    for id in &ids {
        view.hurt("update order_view set order_version = order_version + 1 where order_id = $1", *id).await;
    }
    let (mut all, mut some) = (0, 0);
    for partition in 0..PARTITIONS {
        let of_it: Vec<&Raw> =
            ids.iter().map(|id| created(*id)).filter(|raw| raw.partition == partition).collect();
        let end = next[&(Topic::OrdersEvents, partition)];
        for begin in [end / 4, end / 2, end - 1] {
            let at = |raw: &&Raw| {
                raw.topic == Topic::OrdersEvents && raw.partition == partition && raw.offset == begin
            };
            let since = messages.iter().find(at).unwrap().timestamp_ms + 60_000;
            let checked = view.drift.check(partition, begin, &view.shutdown).await.unwrap().unwrap();
            let wanted: BTreeSet<String> = of_it
                .iter()
                .filter(|raw| recorded_at(raw).timestamp_millis() >= since)
                .map(|raw| String::from_utf8(raw.key.clone().unwrap().to_vec()).unwrap())
                .collect();
            let compared: BTreeSet<String> = checked.compared.iter().map(ToString::to_string).collect();
            assert_eq!(compared, wanted, "{partition} from {begin}");
            assert_eq!(checked.different.len(), wanted.len());
            (all, some) = (all + of_it.len(), some + wanted.len());
        }
    }
    assert!(some > 0 && some < all, "{some} of {all}");
}

/// The topics are shared by all tests, and when a message came to them is the broker's to say.
#[tokio::test]
async fn a_walk_that_begins_somewhere_begins_at_the_same_time_in_the_other_topics() {
    let broker = BrokerSettings::new(testing::kafka());
    ensure_topics(&broker, PARTITIONS, -1).await.unwrap();
    let (mut world, _) = world(37, 0);
    // Later than any message comes, so that all of these orders are recorded after the walk's beginning.
    world.pass(Timestamp::from(SystemTime::now()).timestamp_millis() + 600_000 - 1_700_000_000_000);
    let ids: BTreeSet<OrderId> = (0..12).map(|_| OrderId::new(Uuid::now_v7()).unwrap()).collect();
    for (id, path) in ids.iter().zip(PATHS.into_iter().cycle()) {
        world.order(*id, path, &["SKU-1".parse().unwrap()], 1);
    }
    let keys: BTreeSet<Bytes> = ids.iter().map(|id| id.to_string().into()).collect();
    let is_ours = move |raw: &Raw| raw.key.as_ref().is_some_and(|key| keys.contains(key));
    let mut sent = world.in_order();
    sent.retain(&is_ours);
    let (first, others): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|raw| raw.topic == Topic::OrdersEvents);
    let settings = broker.clone();
    let messages = tokio::task::spawn_blocking(move || {
        let before = ends(&settings);
        publish(&settings.bootstrap_servers, &first);
        publish(&settings.bootstrap_servers, &others);
        read(&settings, &before, first.len() + others.len(), is_ours)
    });
    let messages = messages.await.unwrap();

    let mut view = Compared::new(&[]).await;
    view.drift.broker = broker;
    take_all(&mut view.api.projection, messages.clone()).await;
    let mut compared = BTreeSet::new();
    for partition in 0..PARTITIONS {
        let is_begin = |raw: &&Raw| raw.topic == Topic::OrdersEvents && raw.partition == partition;
        let Some(begin) = messages.iter().filter(is_begin).map(|raw| raw.offset).min() else { continue };
        let checked = view.drift.check(partition, begin, &view.shutdown).await.unwrap().unwrap();
        let different: Vec<_> =
            checked.different.iter().filter(|found| ids.contains(&found.order_id)).collect();
        assert!(different.is_empty(), "{different:?}");
        compared.extend(checked.compared.into_iter().filter(|id| ids.contains(id)));
    }
    assert_eq!(compared, ids);
}

type Ends = HashMap<(Topic, i32), (i64, i64)>;

fn ends(broker: &BrokerSettings) -> Ends {
    let consumer: BaseConsumer<Logged> = broker.reader("test").create_with_context(Logged).unwrap();
    let topics = [Topic::OrdersEvents, Topic::InventoryEvents, Topic::PaymentsEvents];
    let of_topic = |topic| (0..PARTITIONS).map(move |partition| (topic, partition));
    let places: Vec<_> = topics.into_iter().flat_map(of_topic).collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        // A topic that was just made has no leader for a moment.
        match broker::spans(&consumer, &places, DEADLINE) {
            Err(error) if Instant::now() > deadline => panic!("{error:#}"),
            Err(_) => {}
            Ok(ends) => return ends,
        }
    }
}

/// The first so many of these from there on.
fn read(broker: &BrokerSettings, from: &Ends, count: usize, is_wanted: impl Fn(&Raw) -> bool) -> Vec<Raw> {
    let consumer: BaseConsumer<Logged> = broker.reader("test").create_with_context(Logged).unwrap();
    let mut list = TopicPartitionList::new();
    for ((topic, partition), (_, end)) in from {
        list.add_partition_offset(topic.name(), *partition, Offset::Offset(*end)).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    while found.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} came", found.len());
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            found.extend(copied(&message).filter(&is_wanted));
        }
    }
    found
}

fn recorded_at(raw: &Raw) -> Timestamp {
    decode(raw, Mode::Development).unwrap().time.unwrap()
}

/// Its old positions are beyond its end.
#[tokio::test]
async fn a_topic_that_was_made_anew_keeps_nobody_walking() {
    let (world, _) = world(36, 3);
    let messages = world.in_order();
    let mut view = Compared::new(&[]).await;
    take_all(&mut view.api.projection, messages).await;
    for partition in 0..PARTITIONS {
        let checked = view.drift.check(partition, 0, &view.shutdown);
        let checked = tokio::time::timeout(Duration::from_secs(60), checked).await.expect("it ends");
        assert!(checked.unwrap().is_none_or(|checked| checked == Checked::default()));
    }
}

#[tokio::test]
async fn one_replica_compares_and_the_others_do_not() {
    let (world, _) = world(34, 3);
    let messages = world.in_order();
    let view = Compared::new(&messages).await;
    let mut other =
        projector::read_model::schema::connection(&view.drift.database_url, "other", "view").await.unwrap();
    assert!(projector::read_model::drift::lock(&mut other).await.unwrap());
    assert_eq!(view.drift.check(0, 0, &view.shutdown).await.unwrap(), None);
    drop(other);
}
