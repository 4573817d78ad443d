//! The projection on a real Postgres: the same rows for any interleaving, fencing, dead letters, holds, redrive.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use projector::{
    intake::READS,
    project::{Projection, Store, lag::Lag, projection::Came},
    read_model::{query, schema, whole},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use shared::{
    consumer::{Place, Position},
    contract::{
        Timestamp,
        dead_letter::{DiscardDeadLetter, RedriveDeadLetter, dead_letter_id, header},
        envelope::{Headers, Mode, Outgoing, Raw, encode_manual},
        ids::OrderId,
        message::Message,
        topics::Topic,
    },
    http::Readiness,
    shutdown::{self, Trigger},
    telemetry::Metrics,
    testing,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::sagas::{PARTITIONS, Path, World, interleave, place, world};

pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) connection: PgConnection,
    _trigger: Trigger,
    shutdown: shutdown::Shutdown,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let url = testing::database().await;
        schema::migrate(&url).await.unwrap();
        let mut connection = schema::connection(&url, "test", schema::SERVED).await.unwrap();
        testing::be_patient(&mut connection).await;
        let (trigger, shutdown) = shutdown::manual();
        Self { url, connection, _trigger: trigger, shutdown }
    }

    /// A projection that owns everything, as it stands.
    pub(crate) async fn projection(&self) -> Projection {
        self.projection_with(Metrics::new("projector", "test")).await
    }

    pub(crate) async fn projection_with(&self, metrics: Metrics) -> Projection {
        let mut projection = self.made(metrics);
        projection.assign(&places()).await.unwrap();
        projection
    }

    pub(crate) fn unassigned(&self) -> Projection {
        self.made(Metrics::new("projector", "test"))
    }

    fn made(&self, metrics: Metrics) -> Projection {
        let store = Store::new(self.url.clone(), schema::SERVED, Readiness::new(&[]), self.shutdown.clone());
        let lag = Lag::new(Timestamp::UNIX_EPOCH);
        Projection::new(store, Mode::Development, lag, metrics)
    }

    /// One that fills these tables as it would a second view's.
    pub(crate) fn second(&self) -> Projection {
        let store = Store::impatient(self.url.clone(), schema::SERVED, self.shutdown.clone());
        Projection::second(store, Mode::Development, Default::default())
    }

    /// How many messages are behind the positions.
    pub(crate) async fn taken(&mut self) -> i64 {
        let taken =
            sqlx::query_scalar("select coalesce(sum(next) filter (where next > 0), 0)::bigint from position");
        taken.fetch_one(&mut self.connection).await.unwrap()
    }

    /// Rows as JSON text, in order.
    pub(crate) async fn rows(&mut self, query: &str) -> Vec<String> {
        let query = format!("select row_to_json(found)::text from ({query}) as found");
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut self.connection).await.unwrap()
    }

    async fn count(&mut self, table: &str) -> i64 {
        let query = format!("select count(*) from {table}");
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut self.connection).await.unwrap()
    }

    /// All that the view says, in order.
    pub(crate) async fn view(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for query in [
            "select * from order_view order by order_id",
            "select * from order_sku order by sku, created_at, order_id",
            "select * from timeline order by order_id, topic, sequence, event_id",
            "select * from stock_view order by sku",
            "select * from sale order by sku, hour, currency",
            "select * from pace order by minute, counted",
            "select * from dead_letter_view order by id",
        ] {
            all.extend(self.rows(query).await);
        }
        all
    }
}

pub(crate) fn places() -> Vec<Place> {
    READS.iter().flat_map(|topic| (0..PARTITIONS).map(|partition| (*topic, partition))).collect()
}

pub(crate) async fn take_all(projection: &mut Projection, messages: Vec<Raw>) {
    assert!(matches!(projection.take(messages).await, Came::Committed { .. }));
}

pub(crate) async fn take_in_batches(projection: &mut Projection, messages: &[Raw], rng: &mut StdRng) {
    let mut rest = messages;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rng.random_range(1..=rest.len().min(60)));
        take_all(projection, batch.to_vec()).await;
        rest = after;
    }
}

#[tokio::test]
async fn any_interleaving_in_any_batches_makes_the_same_tables() {
    let (world, orders) = world(11, 40);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(1));
    let mut views = Vec::new();
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut database = Database::new().await;
        let mut projection = database.projection().await;
        take_in_batches(&mut projection, &interleave(&sent, &mut rng), &mut rng).await;
        assert_eq!(database.count("dead_letter").await, 0);
        assert_eq!(database.count("order_view").await, orders.len() as i64);
        views.push(database.view().await);
    }
    for other in &views[1..] {
        assert_eq!(&views[0], other);
    }
}

#[tokio::test]
async fn a_restarted_projection_goes_on_where_the_rows_are() {
    let (world, _) = world(3, 20);
    let messages = world.in_order();
    let mut database = Database::new().await;
    let (first, second) = messages.split_at(messages.len() / 2);
    take_all(&mut database.projection().await, first.to_vec()).await;
    let mut restarted = database.projection().await;
    // What was committed comes again: it is left out by its offset and not counted as a duplicate.
    take_all(&mut restarted, first.to_vec()).await;
    take_all(&mut restarted, second.to_vec()).await;
    assert!(database.rows("select event_id from timeline group by 1 having count(*) > 1").await.is_empty());
    let mut whole = Database::new().await;
    take_all(&mut whole.projection().await, messages).await;
    assert_eq!(database.view().await, whole.view().await);
}

#[tokio::test]
async fn an_event_that_comes_again_is_one_delivery_more() {
    let messages = one_order();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    take_all(&mut projection, messages.clone()).await;
    let first = query::timeline(&mut database.connection, order_id()).await.unwrap();
    assert!(first.iter().all(|entry| entry.deliveries == 1));
    let last = messages.iter().rfind(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    // In the next batch, and in the one after it twice.
    let again = |more| Raw { offset: last.offset + more, ..last.clone() };
    take_all(&mut projection, vec![again(1)]).await;
    take_all(&mut projection, vec![again(2), again(3)]).await;
    let told = query::timeline(&mut database.connection, order_id()).await.unwrap();
    let repeated: Vec<i64> =
        told.iter().map(|entry| entry.deliveries).filter(|deliveries| *deliveries > 1).collect();
    assert_eq!((told.len(), repeated), (first.len(), vec![4]));
    assert_eq!(database.count("timeline").await, first.len() as i64 + 3);
    let whole = whole::whole(&mut database.connection).await.unwrap();
    assert_eq!(whole.rows.timeline.len(), first.len());
}

#[tokio::test]
async fn a_zombie_is_fenced_and_writes_nothing() {
    let (world, _) = world(4, 10);
    let messages = world.in_order();
    let (first, second) = messages.split_at(messages.len() / 2);
    let mut database = Database::new().await;
    let (mut zombie, mut other) = (database.projection().await, database.projection().await);
    take_all(&mut other, first.to_vec()).await;
    let before = database.view().await;
    assert_eq!(zombie.take(first[..5].to_vec()).await, Came::Fenced);
    assert_eq!(database.view().await, before);
    // Nothing is its own until it has read the positions again.
    take_all(&mut zombie, second.to_vec()).await;
    assert_eq!(database.view().await, before);
    let positions = zombie.assign(&places()).await.unwrap();
    assert!(positions.iter().any(|Position { next, .. }| next.is_some()));
    take_all(&mut zombie, second.to_vec()).await;
    assert_eq!(other.take(second[..1].to_vec()).await, Came::Fenced);
}

#[tokio::test]
async fn a_lost_connection_is_waited_for_and_nothing_is_lost() {
    let (world, _) = world(5, 10);
    let messages = world.in_order();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    for batch in messages.chunks(20) {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name = 'projector'",
        )
        .execute(&mut database.connection)
        .await
        .unwrap();
        take_all(&mut projection, batch.to_vec()).await;
    }
    let mut whole = Database::new().await;
    take_all(&mut whole.projection().await, messages).await;
    assert_eq!(database.view().await, whole.view().await);
}

/// Commits are not flushed, so a server that crashes forgets the last of them: rows and positions together.
#[tokio::test]
async fn what_a_crash_of_the_server_forgets_is_folded_again_though_it_was_known() {
    let messages = one_order();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    let first =
        |topic| messages.iter().find(|raw| raw.topic == topic).cloned().into_iter().collect::<Vec<_>>();
    take_all(&mut projection, first(Topic::OrdersEvents)).await;
    sqlx::raw_sql(
        "truncate order_view, order_sku, timeline, sale, pace;
         update position set next = -1;
         select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'projector'",
    )
    .execute(&mut database.connection)
    .await
    .unwrap();
    // Of a partition of which this process has taken nothing yet: that it does is written before anything else.
    take_all(&mut projection, first(Topic::InventoryEvents)).await;
    assert_eq!(projection.take(messages.clone()).await, Came::Fenced);
    projection.assign(&places()).await.unwrap();
    take_all(&mut projection, messages.clone()).await;
    let mut whole = Database::new().await;
    take_all(&mut whole.projection().await, messages).await;
    assert_eq!(database.view().await, whole.view().await);
}

fn order_id() -> OrderId {
    OrderId::new(Uuid::from_u128(5)).unwrap()
}

/// One order down its happy path, and its messages in the order in which they were published.
pub(crate) fn one_order() -> Vec<Raw> {
    let (mut world, _): (World, _) = world(1, 0);
    world.order(order_id(), Path::Completed, &["SKU-1".parse().unwrap()], 1);
    world.in_order()
}

fn bad(topic: Topic, partition: i32, offset: i64, value: &str) -> Raw {
    Raw {
        topic,
        partition,
        offset,
        key: Some(Bytes::from_static(b"some key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Headers::Readable(vec![("x".into(), None), ("x".into(), Some(Bytes::from_static(b"\xff")))]),
        timestamp_ms: 1_700_000_000_000,
    }
}

#[tokio::test]
async fn malformed_messages_become_letters_with_their_bytes_and_hold_nobody() {
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    let wrong_topic = one_order().into_iter().find(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    let wrong_topic = Raw { topic: Topic::PaymentsEvents, partition: 3, offset: 0, ..wrong_topic };
    let malformed = vec![
        bad(Topic::OrdersEvents, 0, 0, "{"),
        bad(Topic::OrdersEvents, 0, 1, r#"{"type":"fulfil.order.eaten.v1","data":{}}"#),
        bad(
            Topic::PaymentsEvents,
            1,
            0,
            r#"{"type":"fulfil.payment.declined.v1","data":{"order_id":5,"code":"x"}}"#,
        ),
        bad(Topic::DeadLetters, 2, 0, "without headers of ours"),
        wrong_topic,
    ];
    let came = projection.take(malformed.clone()).await;
    let Came::Committed { poison, good, .. } = came else { panic!("{came:?}") };
    assert_eq!((poison, good), (5, 0));
    let codes = database.rows("select stage, code, holds_key from dead_letter order by number").await;
    assert_eq!(
        codes,
        [
            r#"{"stage":"decode","code":"invalid-json","holds_key":null}"#,
            r#"{"stage":"decode","code":"unknown-type","holds_key":null}"#,
            r#"{"stage":"validate","code":"invalid-data","holds_key":null}"#,
            r#"{"stage":"decode","code":"invalid-letter","holds_key":null}"#,
            r#"{"stage":"validate","code":"wrong-topic","holds_key":null}"#,
        ]
    );
    let ids: Vec<Uuid> = malformed
        .iter()
        .map(|raw| dead_letter_id("projector", raw.topic.name(), raw.partition, raw.offset))
        .collect();
    let letters = shared::log::letters(&mut database.connection, &ids).await.unwrap();
    let bytes: Vec<Raw> = letters.into_iter().map(|stored| stored.letter.raw).collect();
    assert_eq!(bytes, malformed);
    take_all(&mut projection, one_order()).await;
    assert_eq!(database.count("order_view").await, 1);
}

/// The order with an OrderConfirmed that cannot be read, so that everything after it on its stream is a gap. And
/// the value that it should have had.
pub(crate) fn with_a_broken_confirmation() -> (Vec<Raw>, Bytes) {
    let mut messages = one_order();
    let is_confirmed = |raw: &&mut Raw| raw.topic == Topic::OrdersEvents && raw.offset == 1;
    let confirmed = messages.iter_mut().find(is_confirmed).unwrap();
    let good = confirmed.value.replace(Bytes::from_static(b"{")).unwrap();
    (messages, good)
}

fn asked(offset: i64, command: Message) -> Raw {
    let key = order_id().to_string();
    let outgoing = encode_manual(
        Topic::DeadLettersCommands,
        &command,
        Uuid::from_u128(offset as u128 + 900),
        &key,
        "/fulfil/cli",
        Timestamp::UNIX_EPOCH,
        None,
    );
    Raw { offset, ..place([outgoing]).remove(0) }
}

pub(crate) fn redrive(offset: i64, dead_letter_id: Uuid, value_base64: Option<String>) -> Raw {
    let (by, reason) = ("somebody".to_owned(), "mended".to_owned());
    let group = "projector".to_owned();
    let redrive = RedriveDeadLetter { dead_letter_id, group, value_base64, by, reason };
    asked(offset, Message::DeadLetterCommand(redrive.into()))
}

pub(crate) fn discard(offset: i64, dead_letter_id: Uuid) -> Raw {
    let (by, reason) = ("somebody".to_owned(), "not needed".to_owned());
    let discard = DiscardDeadLetter { dead_letter_id, group: "projector".to_owned(), by, reason };
    asked(offset, Message::DeadLetterCommand(discard.into()))
}

impl Database {
    pub(crate) async fn letter(&mut self, code: &str) -> Uuid {
        sqlx::query_scalar("select letter_id from dead_letter where code = $1 and status = 'dead'")
            .bind(code)
            .fetch_one(&mut self.connection)
            .await
            .unwrap()
    }

    pub(crate) async fn statuses(&mut self, letter: Uuid) -> Vec<String> {
        sqlx::query_scalar("select status from dead_letter where letter_id = $1 order by number")
            .bind(letter)
            .fetch_all(&mut self.connection)
            .await
            .unwrap()
    }
}

pub(crate) const STANDS: &str = "select order_version, status from order_view order by order_id limit 1";
const CREATED: &str = r#"{"order_version":1,"status":"created"}"#;
pub(crate) const COMPLETED: &str = r#"{"order_version":4,"status":"completed"}"#;

#[tokio::test]
async fn a_gap_holds_its_key_until_what_was_missing_and_then_itself_are_redriven() {
    let (messages, good) = with_a_broken_confirmation();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    take_all(&mut projection, messages).await;
    assert_eq!(database.rows(STANDS).await, [CREATED]);
    let (broken, gap) = (database.letter("invalid-json").await, database.letter("version-gap").await);
    let held = database.count("held_message").await;
    assert!(held > 0, "what follows on the key waits");

    // Other keys flow meanwhile.
    let (others, _) = world(77, 3);
    let far = |raw: Raw| Raw { offset: raw.offset + 1_000, ..raw };
    let others = others.in_order().into_iter().filter(|raw| raw.topic != Topic::InventoryStock).map(far);
    take_all(&mut projection, others.collect()).await;
    assert_eq!((database.count("order_view").await, database.count("held_message").await), (4, held));

    // The operator tries the gap first, which does not help; then mends what was broken, and tries again.
    take_all(&mut projection, vec![redrive(0, gap, None)]).await;
    let mended = redrive(1, broken, Some(STANDARD.encode(good)));
    take_all(&mut projection, vec![mended.clone(), redrive(2, gap, None), redrive(3, gap, None)]).await;
    assert_eq!(database.statuses(broken).await, ["dead", "redriven"]);
    assert_eq!(database.statuses(gap).await, ["dead", "failed-again", "redriven"]);
    assert_eq!(database.count("held_message").await, 0);
    assert_eq!(database.rows(STANDS).await, [COMPLETED]);
    take_all(&mut projection, vec![Raw { offset: 9, ..mended }]).await;
    assert_eq!(database.statuses(broken).await, ["dead", "redriven"], "a letter that is done with stays so");
}

#[tokio::test]
async fn what_waits_behind_a_discarded_letter_is_tried_and_may_be_a_letter_of_its_own() {
    let (messages, _) = with_a_broken_confirmation();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    take_all(&mut projection, messages).await;
    let gap = database.letter("version-gap").await;
    take_all(&mut projection, vec![discard(0, gap)]).await;
    assert_eq!(database.statuses(gap).await, ["dead", "discarded"]);
    // The reservation and the payment do not miss anything; the order's next version does.
    let letters = database.rows("select count(*) from dead_letter where code = 'version-gap'").await;
    assert_eq!(letters, [r#"{"count":2}"#]);
}

#[tokio::test]
async fn a_message_that_several_runs_died_of_is_buried_unread_and_its_key_waits() {
    let messages = one_order();
    let created = messages.iter().find(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    let mut database = Database::new().await;
    // Three runs took a message of the partition and finished none; three more died right after they took this one.
    let (topic, partition, offset) = (created.topic, created.partition, created.offset);
    let connection = &mut database.connection;
    for before in 0..3 {
        shared::log::count_start(connection, topic, partition, before).await.unwrap();
    }
    for before in 0..3 {
        shared::log::count_attempt(connection, topic, partition, offset, before).await.unwrap();
    }
    take_all(&mut database.projection().await, messages.clone()).await;
    let letters = database.rows("select stage, code from dead_letter").await;
    assert_eq!(letters, [r#"{"stage":"deadly","code":"deadly"}"#]);
    assert_eq!(database.count("order_view").await, 0);
    let counts = database.rows("select distinct starts, attempts from position").await;
    assert_eq!(counts, [r#"{"starts":0,"attempts":0}"#], "a finished message sets the counts back");
    let deadly = database.letter("deadly").await;
    take_all(&mut database.projection().await, vec![redrive(0, deadly, None)]).await;
    assert_eq!(database.rows(STANDS).await, [COMPLETED]);
}

#[tokio::test]
async fn a_command_about_a_letter_that_is_not_there_is_a_letter_itself_and_one_for_others_is_not_ours() {
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    let (by, reason, group) = ("x".to_owned(), "y".to_owned(), "order-service".to_owned());
    let others = DiscardDeadLetter { dead_letter_id: Uuid::from_u128(1), group, by, reason };
    let others = asked(1, Message::DeadLetterCommand(others.into()));
    take_all(&mut projection, vec![discard(0, Uuid::from_u128(1)), others]).await;
    assert_eq!(database.rows("select code from dead_letter").await, [r#"{"code":"unknown-dead-letter"}"#]);
}

#[tokio::test]
async fn a_message_of_a_newer_build_waits_and_so_does_what_follows_on_its_key() {
    let messages = one_order();
    let created = messages.iter().find(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    let text = String::from_utf8(created.value.clone().unwrap().to_vec()).unwrap();
    let newer = text.replace("fulfil.order.created.v2", "fulfil.order.created.v9");
    let newer = Raw { value: Some(newer.into()), ..created.clone() };
    let rest: Vec<Raw> = messages.iter().filter(|raw| *raw != created).cloned().collect();
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    take_all(&mut projection, vec![newer]).await;
    take_all(&mut projection, rest).await;
    assert_eq!((database.count("dead_letter").await, database.count("order_view").await), (0, 0));
    let kinds =
        database.rows("select kind, count(*) as count from held_message group by kind order by kind").await;
    assert_eq!(kinds, [r#"{"kind":"behind","count":9}"#, r#"{"kind":"newer","count":1}"#]);

    // The next build knows it: here, because the message was changed back.
    sqlx::query("update held_message set value = $1 where kind = 'newer'")
        .bind(created.value.as_deref())
        .execute(&mut database.connection)
        .await
        .unwrap();
    let mut restarted = database.projection().await;
    take_all(&mut restarted, Vec::new()).await;
    assert_eq!(database.count("held_message").await, 0);
    assert_eq!(database.rows(STANDS).await, [COMPLETED]);
}

#[tokio::test]
async fn keys_and_texts_that_the_database_cannot_hold_stop_nobody() {
    let created = one_order().into_iter().find(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    let text = String::from_utf8(created.value.clone().unwrap().to_vec()).unwrap();
    let newer = Bytes::from(text.replace("fulfil.order.created.v2", "fulfil.order.created.v9"));
    let keyed = |offset, key: Vec<u8>| Raw {
        offset,
        key: Some(key.into()),
        value: Some(newer.clone()),
        ..created.clone()
    };
    let nul = r#"{"type":"fulfil.order.progressed.v1","data":{"order_id":"00000000-0000-0000-0000-000000000005","step":"\u0000"}}"#;
    let bare = |offset, value| Raw {
        offset,
        value: Some(value),
        headers: Headers::Readable(Vec::new()),
        ..created.clone()
    };
    let mut database = Database::new().await;
    let mut projection = database.projection().await;
    let messages = vec![
        keyed(0, b"a\0b".to_vec()),
        keyed(1, vec![b'k'; 200_000]),
        keyed(2, b"\xff".to_vec()),
        bare(3, Bytes::from_static(nul.as_bytes())),
    ];
    take_all(&mut projection, messages).await;
    assert_eq!(database.count("held_message").await, 3);
    assert_eq!(database.rows("select code from dead_letter").await, [r#"{"code":"invalid-data"}"#]);
}

#[tokio::test]
async fn a_letter_and_its_changes_make_one_row_in_any_order() {
    let id = Uuid::from_u128(42);
    let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    let record = |headers: &[(&'static str, &str)], value: Option<Bytes>| Outgoing {
        topic: Topic::DeadLetters,
        key: Bytes::from_static(b"key"),
        value,
        headers: headers.iter().map(|(name, value)| ((*name).into(), text(value))).collect(),
    };
    let id_text = id.to_string();
    let letter = record(
        &[
            ("content-type", "text/plain"),
            (header::ID, &id_text),
            (header::GROUP, "order-service"),
            (header::TOPIC, "orders.commands"),
            (header::PARTITION, "1"),
            (header::OFFSET, "17"),
            (header::STAGE, "decode"),
            (header::CODE, "invalid-json"),
            (header::FAILED_AT, "2026-11-24T10:02:11.034Z"),
        ],
        text("{"),
    );
    let change = |status, redrives| {
        let headers =
            [(header::ID, id_text.as_str()), (header::STATUS, status), (header::REDRIVES, redrives)];
        record(&headers, None)
    };
    let messages = place([letter, change("failed-again", "1"), change("redriven", "2")]);
    let mut views = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut database = Database::new().await;
        let mut projection = database.projection().await;
        // Each on a partition of its own, as records without a key may be.
        for (partition, index) in order.into_iter().enumerate() {
            let raw = Raw { partition: partition as i32, offset: 0, ..messages[index].clone() };
            let raw = Raw { timestamp_ms: raw.timestamp_ms + index as i64, ..raw };
            take_all(&mut projection, vec![raw]).await;
        }
        views.push(
            database
                .rows(
                    r#"select id, status, redrives, "group", "offset", code, headers from dead_letter_view"#,
                )
                .await,
        );
    }
    let row = json!({"id": id, "status": "redriven", "redrives": 2, "group": "order-service", "offset": 17, "code": "invalid-json",
        "headers": r#"[{"name":"content-type","value_base64":"dGV4dC9wbGFpbg=="}]"#});
    for view in views {
        assert_eq!(view.len(), 1);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&view[0]).unwrap(), row);
    }
}

#[tokio::test]
async fn migrations_run_again_and_beside_each_other() {
    let url = testing::database().await;
    let (one, other) = tokio::join!(schema::migrate(&url), schema::migrate(&url));
    one.unwrap();
    other.unwrap();
    schema::migrate(&url).await.unwrap();
    let mut connection = schema::connection(&url, "test", schema::SERVED).await.unwrap();
    schema::check(&mut connection).await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'view' order by 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(
        tables,
        [
            "_sqlx_migrations",
            "dead_letter_view",
            "doubt",
            "drift",
            "held_message",
            "open_orders",
            "order_sku",
            "order_view",
            "pace",
            "position",
            "projection",
            "sale",
            "stock_view",
            "timeline",
        ]
    );
    connection.close().await.unwrap();
}
