//! The second view on a real Postgres, filled by a real Kafka client from a broker in memory.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use projector::{
    project::{Projection, projection::Came},
    read_model::{
        compare::{self, Compared},
        schema,
        second::{self, STARTS_MAX, Wanted},
    },
    rebuild::{self, Rebuild},
};
use rand::{SeedableRng, rngs::StdRng};
use rdkafka::mocking::MockCluster;
use shared::{
    broker::BrokerSettings,
    contract::{
        envelope::{Mode, Raw},
        topics::Topic,
    },
    shutdown::{self, Trigger},
    testing,
};
use sqlx::Connection;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    project::{
        COMPLETED, Database, STANDS, discard, one_order, places, redrive, take_all,
        with_a_broken_confirmation,
    },
    run::publish,
    sagas::{PARTITIONS, interleave, world},
};

/// A view that serves, by a projection that the test gives its messages, and who fills the second one.
struct Views {
    database: Database,
    projection: Projection,
    broker: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    filling: Option<(Trigger, JoinHandle<()>)>,
}

impl Views {
    async fn new() -> Self {
        let broker = MockCluster::new(1).unwrap();
        for topic in Topic::ALL {
            broker.create_topic(topic.name(), PARTITIONS, 1).unwrap();
        }
        let database = Database::new().await;
        let projection = database.projection().await;
        Self { database, projection, broker, filling: None }
    }

    fn start(&mut self) {
        let rebuild = Rebuild {
            database_url: self.database.url.clone(),
            broker: BrokerSettings::new(self.broker.bootstrap_servers()),
            mode: Mode::Development,
            lag: self.projection.lag.clone(),
        };
        let (trigger, shutdown) = shutdown::manual();
        self.filling = Some((trigger, tokio::spawn(rebuild::run(rebuild, || {}, shutdown))));
    }

    async fn stop(&mut self) {
        let (trigger, running) = self.filling.take().unwrap();
        trigger.stop();
        running.await.unwrap();
    }

    /// Onto the topics, and into the view that serves.
    async fn publish(&mut self, messages: &[Raw]) {
        publish(&self.broker.bootstrap_servers(), messages);
        self.serve(messages).await;
    }

    /// As the loop does it: who is fenced reads the positions again and goes on from there.
    async fn serve(&mut self, messages: &[Raw]) {
        if self.projection.take(messages.to_vec()).await == Came::Fenced {
            self.projection.assign(&places()).await.unwrap();
            take_all(&mut self.projection, messages.to_vec()).await;
        }
    }

    /// Once whoever filled the one before has left it.
    async fn begin(&mut self) {
        let connection = &mut self.database.connection;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !second::lock(connection).await.unwrap() {
            assert!(Instant::now() < deadline, "whoever filled it does not leave it");
            sleep(Duration::from_millis(20)).await;
        }
        second::begin(&self.database.url, connection).await.unwrap();
        sqlx::query("select pg_advisory_unlock_all()").execute(connection).await.unwrap();
    }

    /// Where there is one.
    async fn drop(&mut self) {
        if let Some(second) = self.second().await {
            assert!(second::drop(&mut self.database.connection, second.begun_at).await.unwrap());
        }
    }

    async fn want(&mut self, from: Wanted) {
        assert!(second::want(&mut self.database.connection, from, Wanted::Switch).await.unwrap());
    }

    async fn fill(&mut self) {
        self.begin().await;
        self.start();
        self.until(|second| second.filled_at.is_some()).await;
    }

    async fn second(&mut self) -> Option<second::Projection> {
        second::find(&mut self.database.connection).await.unwrap()
    }

    async fn until(&mut self, what: impl Fn(&second::Projection) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let second = self.second().await;
            if second.as_ref().is_some_and(&what) {
                return;
            }
            assert!(Instant::now() < deadline, "{second:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Once the second has what was published.
    async fn compared(&mut self) -> Compared {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !second::is_level(&mut self.database.connection).await.unwrap() {
            assert!(Instant::now() < deadline);
            sleep(Duration::from_millis(20)).await;
        }
        compare::compare(&mut self.database.connection).await.unwrap().unwrap()
    }

    /// Until the second has these.
    async fn until_followed(&mut self, messages: &[Raw]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let next = second::positions(&mut self.database.connection).await.unwrap();
            let has =
                |raw: &Raw| next.get(&(raw.topic, raw.partition)).is_some_and(|next| *next > raw.offset);
            if messages.iter().all(has) {
                return;
            }
            assert!(Instant::now() < deadline, "{next:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn assert_same(&mut self) {
        let compared = self.compared().await;
        assert_eq!(compared.different, 0, "{compared:#?}");
        assert!(compared.rows.iter().all(|rows| rows.served == rows.second), "{compared:#?}");
    }

    async fn held(&mut self) -> i64 {
        let held = sqlx::query_scalar("select count(*) from held_message");
        held.fetch_one(&mut self.database.connection).await.unwrap()
    }
}

fn halves(seed: u64) -> (Vec<Raw>, Vec<Raw>) {
    let (world, _) = world(seed, 30);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(seed));
    let mut messages = interleave(&sent, &mut StdRng::seed_from_u64(seed));
    let rest = messages.split_off(messages.len() / 2);
    (messages, rest)
}

#[tokio::test]
async fn a_second_view_says_the_same_takes_the_place_of_the_first_and_gives_it_back() {
    let (first, rest) = halves(31);
    let mut views = Views::new().await;
    views.publish(&first).await;
    views.fill().await;
    views.assert_same().await;
    let before = views.second().await.unwrap();

    // Both go on, and the second is put in the first one's place.
    let (some, rest) = rest.split_at(rest.len() / 2);
    views.publish(some).await;
    views.assert_same().await;
    views.want(Wanted::Follow).await;
    views.until(|second| second.wanted == Wanted::Rest).await;
    let (served, _) = second::both(&mut views.database.connection).await.unwrap();
    assert_eq!((served.begun_at, served.wanted), (before.begun_at, Wanted::Serve));

    // It serves alone, and the one before catches up when it is wanted again.
    views.publish(rest).await;
    views.want(Wanted::Rest).await;
    views.until(|second| second.wanted == Wanted::Rest && second.begun_at == before.begun_at).await;
    let mut whole = Database::new().await;
    let all = [first, some.to_vec(), rest.to_vec()].concat();
    take_all(&mut whole.projection().await, all).await;
    assert_eq!(views.database.view().await, whole.view().await);
    views.stop().await;
}

#[tokio::test]
async fn whoever_goes_on_after_a_crash_goes_on_where_the_last_one_was() {
    let (first, rest) = halves(32);
    let mut views = Views::new().await;
    views.publish(&first).await;
    views.fill().await;
    // Nothing is said to it: the task is gone, and its connection with it.
    let (_trigger, running) = views.filling.take().unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    views.publish(&rest).await;
    views.start();
    views.assert_same().await;
    views.stop().await;
}

#[tokio::test]
async fn what_was_decided_about_dead_letters_is_kept_and_what_is_decided_later_is_done_in_both() {
    let (messages, good) = with_a_broken_confirmation();
    let mended = || Some(STANDARD.encode(&good));
    let mut views = Views::new().await;
    views.publish(&messages).await;
    let (broken, gap) =
        (views.database.letter("invalid-json").await, views.database.letter("version-gap").await);
    views.fill().await;
    views.assert_same().await;
    assert_ne!(views.database.rows(STANDS).await, [COMPLETED]);

    // Decided while the second follows: it does the same by itself.
    views.serve(&[redrive(0, broken, mended()), redrive(1, gap, None)]).await;
    assert_eq!(views.database.rows(STANDS).await, [COMPLETED]);
    views.assert_same().await;
    views.stop().await;
    assert_eq!(views.database.statuses(broken).await, ["dead", "redriven"]);

    // Decided before a second is begun.
    views.drop().await;
    views.fill().await;
    views.assert_same().await;
    views.stop().await;
}

#[tokio::test]
async fn a_letter_that_is_open_over_a_change_of_places_holds_its_key_before_and_after() {
    let (messages, good) = with_a_broken_confirmation();
    let mut views = Views::new().await;
    views.publish(&messages).await;
    let (broken, gap) =
        (views.database.letter("invalid-json").await, views.database.letter("version-gap").await);
    let held = views.held().await;
    assert!(held > 0);
    views.fill().await;
    views.want(Wanted::Follow).await;
    views.until(|second| second.wanted == Wanted::Rest).await;
    assert_eq!(views.held().await, held, "what waits, without the message that it waits for");
    views.serve(&[]).await;
    assert_ne!(views.database.rows(STANDS).await, [COMPLETED]);

    // Mended in the one that serves now. The one before learns of it when it is gone back to.
    views.serve(&[redrive(0, broken, Some(STANDARD.encode(good))), redrive(1, gap, None)]).await;
    assert_eq!((views.database.rows(STANDS).await, views.held().await), (vec![COMPLETED.to_owned()], 0));
    let rests = views.second().await.unwrap();
    views.want(Wanted::Rest).await;
    views.until(|second| second.wanted == Wanted::Rest && second.begun_at != rests.begun_at).await;
    assert_eq!((views.database.rows(STANDS).await, views.held().await), (vec![COMPLETED.to_owned()], 0));
    assert_eq!(views.database.statuses(broken).await, ["dead", "redriven"], "and nothing was done twice");
    let letters = views.database.rows("select count(*) from dead_letter where status = 'dead'").await;
    assert_eq!(letters, [r#"{"count":2}"#]);
    views.stop().await;
}

#[tokio::test]
async fn a_discarded_letter_is_left_out_and_what_waited_is_tried() {
    let (messages, _) = with_a_broken_confirmation();
    let mut views = Views::new().await;
    views.publish(&messages).await;
    let gap = views.database.letter("version-gap").await;
    views.fill().await;
    views.serve(&[discard(0, gap)]).await;
    views.assert_same().await;
    let letters = views.database.rows("select count(*) from dead_letter where status = 'dead'").await;
    assert_eq!(letters, [r#"{"count":3}"#], "the next of the order does not fit either, once");
    views.stop().await;
}

#[tokio::test]
async fn damage_is_found_named_and_gone_with_the_change_of_places_even_from_memory() {
    let mut messages = one_order();
    let of_order = |raw: &Raw| raw.topic == Topic::OrdersEvents;
    let last = messages.remove(messages.iter().rposition(of_order).unwrap());
    let before = messages.remove(messages.iter().rposition(of_order).unwrap());
    let mut views = Views::new().await;
    views.publish(&messages).await;
    sqlx::query("update order_view set user_id = 'nobody'")
        .execute(&mut views.database.connection)
        .await
        .unwrap();
    sqlx::query("update stock_view set on_hand = 12345")
        .execute(&mut views.database.connection)
        .await
        .unwrap();
    // It takes the damaged row into its memory.
    views.projection = views.database.projection().await;
    views.publish(&[before]).await;
    views.fill().await;
    let compared = views.compared().await;
    let found: Vec<&str> = compared.differences.iter().map(|difference| &*difference.table).collect();
    assert_eq!((compared.different, found), (4, vec!["orders", "stock", "stock", "stock"]));
    assert_eq!(compared.differences[0].served[0]["user_id"], "nobody");
    assert_ne!(compared.differences[0].second[0]["user_id"], "nobody");

    views.want(Wanted::Follow).await;
    views.until(|second| second.wanted == Wanted::Rest).await;
    publish(&views.broker.bootstrap_servers(), std::slice::from_ref(&last));
    // The positions are the same, and what it knows is of the other view.
    assert_eq!(views.projection.take(vec![last.clone()]).await, Came::Fenced);
    views.projection.assign(&places()).await.unwrap();
    take_all(&mut views.projection, vec![last]).await;
    let rows = views.database.rows("select user_id = 'nobody' as damaged, status from order_view").await;
    assert_eq!(rows, [r#"{"damaged":false,"status":"completed"}"#]);
    let stock = views.database.rows("select distinct on_hand = 12345 as damaged from stock_view").await;
    assert_eq!(stock, [r#"{"damaged":false}"#]);
    views.stop().await;
}

/// Rows of stock change with every few messages. Neither view is ever where the other is but for the moment of the comparison.
#[tokio::test]
async fn rows_that_never_stand_still_are_compared_at_the_same_places() {
    let (first, rest) = halves(34);
    let (ahead, rest) = rest.split_at(rest.len() / 3);
    let (some, later) = rest.split_at(rest.len() / 2);
    let mut views = Views::new().await;
    views.publish(&first).await;
    views.fill().await;
    publish(&views.broker.bootstrap_servers(), ahead);
    views.until_followed(ahead).await;

    let url = views.database.url.clone();
    let comparing = tokio::spawn(async move {
        let mut connection = schema::connection(&url, "test", schema::SERVED).await.unwrap();
        compare::compare(&mut connection).await.unwrap().unwrap()
    });
    // Whoever follows waits for the one that serves.
    let waits = "select count(*) = 2 from pg_stat_activity
                 where application_name = 'projector-rebuild' and datname = current_database()";
    let deadline = Instant::now() + Duration::from_secs(60);
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut views.database.connection).await.unwrap() {
        assert!(Instant::now() < deadline, "nobody looks again");
        sleep(Duration::from_millis(5)).await;
    }
    publish(&views.broker.bootstrap_servers(), &[some, later].concat());
    views.serve(&[ahead, some].concat()).await;
    let compared = comparing.await.unwrap();
    assert_eq!(compared.different, 0, "{compared:#?}");
    assert!(compared.rows.iter().any(|rows| rows.served < rows.second), "one was ahead: {compared:#?}");
    views.until_followed(later).await;
    views.stop().await;
}

/// Its statement is new to its connection, so names are looked up while they change their meaning.
#[tokio::test]
async fn who_begins_to_write_in_the_middle_of_a_change_of_places_is_fenced() {
    let mut messages = one_order();
    let last = messages.remove(messages.iter().rposition(|raw| raw.topic == Topic::OrdersEvents).unwrap());
    let mut views = Views::new().await;
    views.publish(&messages).await;
    views.fill().await;
    views.assert_same().await;
    views.stop().await;

    let mut fresh = views.database.projection().await;
    let mut changing = schema::connection(&views.database.url, "test", schema::SERVED).await.unwrap();
    let mut changing = changing.begin().await.unwrap();
    second::hold_served(&mut changing).await.unwrap();
    let writing = tokio::spawn(async move { (fresh.take(vec![last]).await, fresh) });
    let deadline = Instant::now() + Duration::from_secs(60);
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut views.database.connection).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "it waits for nobody");
        sleep(Duration::from_millis(5)).await;
    }
    second::change_places(&mut changing).await.unwrap();
    changing.commit().await.unwrap();
    assert_eq!(writing.await.unwrap().0, Came::Fenced);
}

#[tokio::test]
async fn who_died_of_it_several_times_leaves_it_alone_until_something_else_is_wanted() {
    let mut views = Views::new().await;
    views.begin().await;
    for _ in 0..STARTS_MAX {
        assert!(views.second().await.unwrap().is_followed());
        second::run(&mut views.database.connection).await.unwrap();
    }
    assert!(!views.second().await.unwrap().is_followed());
    views.want(Wanted::Follow).await;
    assert!(views.second().await.unwrap().is_followed());
}

#[tokio::test]
async fn one_that_is_dropped_while_it_is_filled_is_left_and_the_next_one_is_filled() {
    let (first, _) = halves(33);
    let mut views = Views::new().await;
    views.publish(&first).await;
    for _ in 0..2 {
        views.drop().await;
        views.begin().await;
        if views.filling.is_none() {
            views.start();
        }
        views.until(|second| second.filled_at.is_some()).await;
        // So that it has something to write when it is gone.
        let more = one_order();
        publish(&views.broker.bootstrap_servers(), &more);
    }
    views.stop().await;
}

#[tokio::test]
async fn one_that_somebody_reads_is_out_of_the_way_at_once_and_gone_when_it_is_read() {
    let mut views = Views::new().await;
    let (messages, _) = halves(7);
    views.publish(&messages).await;
    views.fill().await;
    let mut dump = schema::connection(&views.database.url, "dump", schema::SECOND).await.unwrap();
    testing::be_patient(&mut dump).await;
    let mut reading = dump.begin().await.unwrap();
    let read: i64 =
        sqlx::query_scalar("select count(*) from order_view").fetch_one(&mut *reading).await.unwrap();
    assert!(read > 0);
    views.drop().await;
    assert!(views.second().await.is_none());
    views.stop().await;
    views.fill().await;
    views.drop().await;
    views.stop().await;
    let given_up = "select count(*) from pg_namespace where starts_with(nspname, 'given_up_')";
    let mut left = async || {
        second::drop_given_up(&mut views.database.connection).await.unwrap();
        sqlx::query_scalar::<_, i64>(given_up).fetch_one(&mut views.database.connection).await.unwrap()
    };
    assert_eq!(left().await, 1, "the one that is read");
    reading.rollback().await.unwrap();
    assert_eq!(left().await, 0);
}

/// As after an upgrade to a build that is stricter than the one that it was redriven with.
#[tokio::test]
async fn a_redriven_message_that_cannot_be_read_any_more_waits_by_itself_and_keeps_nobody() {
    let (messages, _) = with_a_broken_confirmation();
    let mut views = Views::new().await;
    views.publish(&messages).await;
    let broken = views.database.letter("invalid-json").await;
    let redriven = "insert into dead_letter (number, letter_id, status, recorded_at, by, reason)
                    select max(number) + 1, $1, 'redriven', now(), 'x', 'y' from dead_letter";
    sqlx::query(redriven).bind(broken).execute(&mut views.database.connection).await.unwrap();
    views.begin().await;
    for _ in 0..2 {
        views.start();
        views.until(|second| second.filled_at.is_some() && second.starts == 0).await;
        let stopped = tokio::time::timeout(Duration::from_secs(60), views.stop());
        stopped.await.expect("it does not try again and again");
    }
    let waits = sqlx::query_scalar::<_, i64>("select count(*) from second.held_message where key = $1")
        .bind(broken.to_string())
        .fetch_one(&mut views.database.connection);
    assert_eq!(waits.await.unwrap(), 1);
    assert!(!second::is_level(&mut views.database.connection).await.unwrap(), "it is not what was decided");
}
