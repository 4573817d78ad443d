//! What a question costs where the view is large: the rows that Postgres read for it, against those of a page.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use projector::{
    read_model::{
        letter_bulk, letter_groups, open_orders,
        order_letters::order_letters,
        pulse,
        query::{self, After, LetterFilter, OrderFilter},
        reached::{LOOKED_AT_MAX, reached},
        sales, schema,
    },
    view::{
        funnel::{STEPS, Step},
        letter, order,
    },
};
use shared::{
    contract::{Timestamp, ids::OrderId, money::Currency},
    testing,
};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    project::{Database, take_all},
    sagas::{Path, world},
};

/// A page of the API's default length, and the row that says whether there is another.
const LIMIT: i64 = 51;
/// A page of all orders looks at as many of each status, and a filter that an index does not have passes over some.
const READ_PER_ROW_MAX: i64 = 40;

/// Of one transaction, as the server counts it.
#[derive(Debug, Clone, Copy, FromRow)]
struct Reads {
    scans: i64,
    rows: i64,
}

/// Questions to a view of many orders, and what was wrong with their cost.
struct Asked {
    connection: PgConnection,
    before: Reads,
    slowest: (Duration, String),
    dear: Vec<String>,
}

impl Asked {
    fn of(connection: PgConnection) -> Self {
        let before = Reads { scans: 0, rows: 0 };
        Self { connection, before, slowest: Default::default(), dear: Vec::new() }
    }

    /// In a transaction: what the session counts is not handed on before its end.
    async fn begin(&mut self) -> Instant {
        sqlx::raw_sql("begin").execute(&mut self.connection).await.unwrap();
        self.before = self.reads().await;
        Instant::now()
    }

    async fn end(&mut self, begun: Instant, question: String) {
        self.end_within(begun, question, LIMIT * READ_PER_ROW_MAX).await;
    }

    async fn end_within(&mut self, begun: Instant, question: String, rows_max: i64) {
        let took = begun.elapsed();
        let after = self.reads().await;
        sqlx::raw_sql("commit").execute(&mut self.connection).await.unwrap();
        let reads = Reads { scans: after.scans - self.before.scans, rows: after.rows - self.before.rows };
        if reads.scans > 0 || reads.rows > rows_max {
            self.dear.push(format!("{question}: {reads:?} in {took:?}"));
        }
        self.slowest = self.slowest.clone().max((took, question));
    }

    /// Rows of tables that were read one after the other, and entries of indexes.
    async fn reads(&mut self) -> Reads {
        sqlx::query_as(
            "select
               coalesce(sum(pg_stat_get_xact_numscans(oid)) filter (where relkind = 'r'), 0)::bigint as scans,
               coalesce(sum(pg_stat_get_xact_tuples_returned(oid)), 0)::bigint as rows
             from pg_class
             where relnamespace = $1::regnamespace and relkind in ('r', 'i')",
        )
        .bind(schema::SERVED)
        .fetch_one(&mut self.connection)
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_question_reads_little_more_of_a_large_view_than_it_answers() {
    let orders = testing::short_or_long(200_000, 1_000_000);
    let mut database = Database::new().await;
    let begun = Instant::now();
    fill(&mut database, orders).await;
    let filled = begun.elapsed();

    let mut connection = schema::connection(&database.url, "test", schema::SERVED).await.unwrap();
    testing::be_patient(&mut connection).await;
    // Others would count for themselves. A plan that is worth their start reads too much anyway.
    sqlx::raw_sql("set max_parallel_workers_per_gather = 0").execute(&mut connection).await.unwrap();
    let mut asked = Asked::of(connection);
    ask_for_one(&mut asked, orders / 2).await;
    ask_for_orders(&mut asked, orders).await;
    ask_for_stock(&mut asked).await;
    ask_for_steps(&mut asked).await;
    ask_for_letters(&mut asked).await;
    ask_about_letters(&mut asked).await;
    ask_for_sales(&mut asked).await;
    let begun = asked.begin().await;
    let parts = pulse::over(&mut asked.connection, pulse::HOUR).await.unwrap();
    assert!(parts.iter().all(|part| part.created == 5 && part.took.len() == 15));
    asked.end(begun, "the last hour".to_owned()).await;
    let begun = asked.begin().await;
    let seen = open_orders::over(&mut asked.connection, pulse::HOUR).await.unwrap();
    assert!(seen.iter().all(Option::is_some), "{seen:?}");
    asked.end(begun, "how many were open in the last hour".to_owned()).await;
    let begun = asked.begin().await;
    let ids = query::ids(&mut asked.connection, letter_id(1), letter_id(orders), 2).await.unwrap();
    assert_eq!(ids.len(), 2);
    asked.end(begun, "ids that begin so".to_owned()).await;
    let (took, question) = &asked.slowest;
    println!("{orders} orders made in {filled:?}; the slowest took {took:?}: {question}");
    assert!(asked.dear.is_empty(), "of {orders} orders:\n{}", asked.dear.join("\n"));
}

async fn ask_for_one(asked: &mut Asked, number: i64) {
    let begun = asked.begin().await;
    assert!(query::order(&mut asked.connection, order_id(number)).await.unwrap().is_some());
    asked.end(begun, "an order".to_owned()).await;

    let begun = asked.begin().await;
    assert_eq!(query::timeline(&mut asked.connection, order_id(number)).await.unwrap().len(), 3);
    asked.end(begun, "its timeline".to_owned()).await;

    let begun = asked.begin().await;
    assert!(query::stock(&mut asked.connection, &"SKU-5000".parse().unwrap()).await.unwrap().is_some());
    asked.end(begun, "a sku".to_owned()).await;

    let begun = asked.begin().await;
    assert_eq!(query::count(&mut asked.connection, &order::OPEN).await.unwrap().len(), 1);
    asked.end(begun, "how many orders are open".to_owned()).await;

    let begun = asked.begin().await;
    let oldest = query::oldest(&mut asked.connection, "completed", LIMIT).await.unwrap();
    assert_eq!(oldest.len() as i64, LIMIT);
    asked.end(begun, "the oldest orders of a status".to_owned()).await;

    let begun = asked.begin().await;
    assert!(query::letter(&mut asked.connection, letter_id(50_000)).await.unwrap().is_some());
    asked.end(begun, "a dead letter".to_owned()).await;

    for (number, letters) in [(LETTERS - 10, 1), (LETTERS / 2, 0)] {
        let begun = asked.begin().await;
        let found = order_letters(&mut asked.connection, order_id(number)).await.unwrap();
        assert_eq!(found.len(), letters, "those that are done with are not told");
        asked.end(begun, "the dead letters of an order".to_owned()).await;
    }
}

async fn ask_for_orders(asked: &mut Asked, orders: i64) {
    let middle = After { time: time(orders / 2), id: order_id(orders / 2).uuid() };
    let statuses = [None, Some("created"), Some("cancelled"), Some("completed")];
    let asked_for = statuses.map(|status| (status, false)).into_iter().chain([(None, true)]);
    for (status, is_open) in asked_for {
        for user_id in [None, Some("user-7"), Some("user-often"), Some("user-refused")] {
            for sku in [None, Some("SKU-7"), Some("SKU-often")] {
                for since in [None, Some(time(orders / 4)), Some(time(orders - 10))] {
                    // Nothing is completed for that user: what has no order in common is read whole (query.rs).
                    if (user_id, sku) == (Some("user-refused"), Some("SKU-often")) {
                        continue;
                    }
                    for after in [None, Some(middle)] {
                        let owned = |text: Option<&str>| text.map(str::to_owned);
                        let filter = OrderFilter {
                            status: owned(status),
                            is_open,
                            user_id: owned(user_id),
                            sku: owned(sku),
                            since,
                            step: None,
                        };
                        let begun = asked.begin().await;
                        let rows = query::orders(&mut asked.connection, &filter, after, LIMIT).await.unwrap();
                        let what = format!("{} orders, {filter:?} {after:?}", rows.len());
                        asked.end(begun, what).await;
                    }
                }
            }
        }
    }
}

/// How far orders came is in their state: so many are looked at and no more.
async fn ask_for_steps(asked: &mut Asked) {
    // Those under way are all that were reserved: found among the cancelled ones, which are looked at to the end.
    let filter = OrderFilter { step: Some(Step::Reserved), ..OrderFilter::default() };
    let (mut found, mut after, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let (rows, next) = reached(&mut asked.connection, &filter, after, LIMIT as usize).await.unwrap();
        assert!(rows.iter().all(|read| found.insert(read.row.order_id)), "an order is on one page");
        pages += 1;
        match next {
            Some(_) if next == after => panic!("page {pages} leads to itself"),
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found.len() as i64, UNDER_WAY + 1);
    assert!(pages > 3, "{pages}");
    for step in STEPS {
        for is_open in [false, true] {
            let filter = OrderFilter { step: Some(step), is_open, ..OrderFilter::default() };
            let begun = asked.begin().await;
            let (rows, _) = reached(&mut asked.connection, &filter, None, LIMIT as usize).await.unwrap();
            let what = format!("{} orders that came as far as {step:?}", rows.len());
            // Pages of each status that is asked for, of which one is taken.
            asked.end_within(begun, what, LOOKED_AT_MAX * 10).await;
        }
    }
}

async fn ask_for_stock(asked: &mut Asked) {
    for after in [None, Some("SKU-5000".parse().unwrap())] {
        let begun = asked.begin().await;
        let rows = query::stocks(&mut asked.connection, after.as_ref(), LIMIT).await.unwrap();
        assert_eq!(rows.len() as i64, LIMIT);
        asked.end(begun, format!("skus after {after:?}")).await;
    }
}

async fn ask_for_letters(asked: &mut Asked) {
    let middle = After { time: time(LETTERS / 2), id: letter_id(LETTERS / 2) };
    for status in [None, Some(letter::DEAD), Some("discarded"), Some("parked")] {
        for group in [None, Some("order-service"), Some("projector"), Some("nobody")] {
            for code in [None, Some("invalid-json"), Some("rare"), Some("never")] {
                for after in [None, Some(middle)] {
                    let owned = |text: Option<&str>| text.map(str::to_owned);
                    let filter = LetterFilter {
                        status: owned(status),
                        group: owned(group),
                        code: owned(code),
                        fingerprint: None,
                    };
                    let begun = asked.begin().await;
                    let rows = query::letters(&mut asked.connection, &filter, after, LIMIT).await.unwrap();
                    asked.end(begun, format!("{} letters, {filter:?} {after:?}", rows.len())).await;
                }
            }
        }
    }
}

/// Counted are those that match, and of many the newest.
async fn ask_about_letters(asked: &mut Asked) {
    for status in [None, Some(letter::OPEN), Some("discarded")] {
        for fingerprint in [None, Some("aa"), Some("rare"), Some("never")] {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let filter = LetterFilter {
                status: owned(status),
                fingerprint: owned(fingerprint),
                ..LetterFilter::default()
            };
            let few = [Some("rare"), Some("never")].contains(&fingerprint) || status == Some(letter::OPEN);
            let most = if few { LIMIT * READ_PER_ROW_MAX } else { letter_groups::LETTERS_MAX * 3 };
            let begun = asked.begin().await;
            let groups = letter_groups::letter_groups(&mut asked.connection, &filter).await.unwrap();
            asked.end_within(begun, format!("{} groups, {filter:?}", groups.len()), most).await;

            let begun = asked.begin().await;
            let waiting = letter_groups::waiting(&mut asked.connection, &filter).await.unwrap();
            assert!(waiting.open <= 30 && waiting.parked == 0, "{waiting:?}");
            asked.end(begun, format!("how many letters wait, {filter:?}")).await;

            let begun = asked.begin().await;
            let rows = query::letters(&mut asked.connection, &filter, None, LIMIT).await.unwrap();
            asked.end(begun, format!("{} letters, {filter:?}", rows.len())).await;

            let begun = asked.begin().await;
            let meant = letter_bulk::meant(&mut asked.connection, &filter, true, 20_000).await.unwrap();
            asked.end(begun, format!("{} letters of a bulk run, {filter:?}", meant.len())).await;
        }
    }
    let begun = asked.begin().await;
    let open = letter_groups::open_by_group(&mut asked.connection).await.unwrap();
    assert_eq!(open.iter().map(|(_, letters)| letters).sum::<i64>(), 30);
    asked.end(begun, "open letters by group".to_owned()).await;

    let begun = asked.begin().await;
    pulse::died(&mut asked.connection, pulse::DAY).await.unwrap();
    asked.end(begun, "when letters died".to_owned()).await;
}

async fn ask_for_sales(asked: &mut Asked) {
    let (sku, middle) = ("SKU-5000".parse().unwrap(), time(SALE_HOURS / 2 * 3_600));
    for of in [None, Some(&sku)] {
        for since in [None, Some(middle)] {
            for after in [None, Some((time((SALE_HOURS - 100) * 3_600), Currency::EUR))] {
                let begun = asked.begin().await;
                let rows =
                    sales::by_hour(&mut asked.connection, of, since, after.as_ref(), LIMIT).await.unwrap();
                assert_eq!(rows.len() as i64, LIMIT);
                asked.end(begun, format!("sales of {of:?} by hour since {since:?} after {after:?}")).await;
            }
        }
    }
    // The last day.
    for since in [None, Some(time((SALE_HOURS - 24) * 3_600))] {
        for after in [None, Some((sku.clone(), Currency::EUR))] {
            let begun = asked.begin().await;
            let rows = sales::by_sku(&mut asked.connection, since, after.as_ref(), LIMIT).await.unwrap();
            assert_eq!(rows.len() as i64, LIMIT);
            // Most were sold of old.
            let is_right = |orders| if since.is_some() { [0, 25].contains(&orders) } else { orders == 7 };
            assert!(rows.iter().all(|row| is_right(row.sold.orders)));
            assert_eq!(rows.iter().any(|row| row.sold.orders == 25), since.is_some() && after.is_some());
            asked.end(begun, format!("sales by sku since {since:?} after {after:?}")).await;
        }
    }
}

const LETTERS: i64 = 100_000;
const UNDER_WAY: i64 = 50;
/// Of each of some skus, and of all together.
const SALE_HOURS: i64 = 400;

/// Rows as the projection writes them, many times over. One of eleven orders is of one user, one of thirteen of another
/// who never gets anything, one of seven is for one sku; the fifty newest are under way, and all else has ended.
/// (Of a hundred the planner, which knows the numbers from a sample, now and then begins with the sku all the same.)
async fn fill(database: &mut Database, orders: i64) {
    let (mut world, _) = world(1, 0);
    for (number, path) in [Path::Completed, Path::OutOfStock, Path::Open].into_iter().enumerate() {
        let id = OrderId::new(Uuid::from_u128(1 + number as u128)).unwrap();
        world.order(id, path, &["SKU-1".parse().unwrap()], 2);
    }
    take_all(&mut database.projection().await, world.in_order()).await;
    let statuses: Vec<String> = sqlx::query_scalar("select status from order_view")
        .fetch_all(&mut database.connection)
        .await
        .unwrap();
    assert!(statuses.iter().all(|status| order::STATUSES.contains(&status.as_str())), "{statuses:?}");

    let numbered = format!(
        "create function pg_temp.id_of(number bigint) returns uuid language sql immutable
           return ('{ID_PREFIX}' || lpad(to_hex(number), 12, '0'))::uuid;
         create function pg_temp.time_of(number bigint) returns timestamptz language sql immutable
           return to_timestamp({FIRST_SECOND} + number);
         create function pg_temp.text_of(number bigint) returns text language sql immutable
           return to_char(pg_temp.time_of(number) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"');"
    );
    for statement in [
        // A million rows take a slow machine longer than any statement of ours may.
        "set statement_timeout = 0".to_owned(),
        numbered,
        format!(
            "insert into order_view
             select pg_temp.id_of(number), order_version, reservation_version, payment_version, order_at,
               reservation_at, payment_at,
               regexp_replace(order_state, '\"created_at\":\"[^\"]*', '\"created_at\":\"' || pg_temp.text_of(number)), reservation_state, payment_state, \"foreign\", status, made.user_id,
               pg_temp.time_of(number)
             from (
               select number,
                 case when number > {orders} - {UNDER_WAY} then 'created'
                   when number % 13 = 0 or number % 101 < 10 then 'settled'
                   else 'completed' end as status,
                 case when number % 13 = 0 then 'user-refused'
                   when number % 11 = 0 then 'user-often'
                   else 'user-' || number % 9973 end as user_id
               from generate_series(1, {orders}) as number
             ) as made
             join order_view using (status)"
        ),
        format!(
            "insert into order_sku
             select case when number % 7 = 0 then 'SKU-often' else 'SKU-' || number % 9967 end,
               pg_temp.time_of(number), pg_temp.id_of(number)
             from generate_series(1, {orders}) as number"
        ),
        format!(
            "insert into timeline
             select pg_temp.id_of(number), topic, sequence, event_id, key, type, service, time, position, cause, data
             from generate_series(1, {orders}) as number
             cross join (select * from timeline limit 3) as known"
        ),
        "insert into stock_view
         select 'SKU-' || number, 1, pg_temp.time_of(number), 10, 0
         from generate_series(4, 10000) as number"
            .to_owned(),
        format!(
            "insert into dead_letter_view
             select pg_temp.id_of(number), status, case when status <> 'dead' then pg_temp.time_of(number) end, 0, number,
               'somebody', 'seen', 0, case when number % 1000 = 0 then 'projector' else 'order-service' end,
               'orders.commands', 0, number, 'decode', case when number % 10007 = 0 then 'rare' else 'invalid-json' end,
               'expected value', case when number % 10007 = 0 then 'rare' else 'aa' end, pg_temp.time_of(number), 1, '1',
               convert_to(pg_temp.id_of(number)::text, 'UTF8'), 'value', '[]'
             from (
               select number, case when number > {LETTERS} - 30 then 'dead' else 'discarded' end as status
               from generate_series(1, {LETTERS}) as number
             ) as made"
        ),
        "truncate sale, pace".to_owned(),
        format!(
            "insert into sale
             select sku, pg_temp.time_of(hour * 3600), 'EUR', 1, 1, 100
             from (select '' union all select 'SKU-' || number from generate_series(4500, 5500) as number) as of (sku)
             cross join generate_series(1, {SALE_HOURS}) as hour
             union all
             select case when number = 0 then '' else 'SKU-' || number end, '-infinity', 'EUR', 7, 7, 700
             from generate_series(0, 10000) as number"
        ),
        // Some weeks, of which each minute is as full as it gets; and some of it is not yet, since the test lasts.
        "insert into pace
         select date_trunc('minute', now()) + number * interval '1 minute', counted, 1
         from generate_series(-20000, 60) as number
         cross join (select unnest(array[0, 1, 2]) union all select generate_series(105, 119)) as of (counted)"
            .to_owned(),
        "insert into open_orders
         select date_trunc('minute', now()) + number * interval '1 minute', 1, 0
         from generate_series(-20000, 60) as number"
            .to_owned(),
        "analyze".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut database.connection).await.unwrap();
    }
}

/// As ids of version 7 are: one after the other.
const ID_PREFIX: &str = "0198f3c2-0000-7000-8000-";
const FIRST_SECOND: i64 = 1_700_000_000;

fn order_id(number: i64) -> OrderId {
    OrderId::new(letter_id(number)).unwrap()
}

fn letter_id(number: i64) -> Uuid {
    format!("{ID_PREFIX}{number:012x}").parse().unwrap()
}

fn time(number: i64) -> Timestamp {
    Timestamp::from_timestamp(FIRST_SECOND + number, 0).unwrap()
}
