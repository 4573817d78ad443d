//! What was sold: the counters against the orders, and what is answered about them.

use projector::{
    read_model::{sales, whole},
    view::{pace, sale},
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use shared::contract::{ids::Sku, money::Currency};

use crate::{
    http::{Api, orders},
    project::{Database, take_all, take_in_batches},
    sagas::{Path, interleave, world},
};

#[tokio::test]
async fn what_was_sold_is_what_orders_completed_with_however_they_came() {
    let (world, paths) = world(21, 60);
    let sold = paths.iter().filter(|(_, path)| matches!(path, Path::Completed | Path::SilentThenYes));
    let completed = sold.count() as i64;
    assert!(completed > 5);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(2));
    for seed in 0..2 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut database = Database::new().await;
        let messages = interleave(&sent, &mut rng);
        let (first, rest) = messages.split_at(messages.len() / 2);
        take_in_batches(&mut database.projection().await, first, &mut rng).await;
        // A crash: nothing is known any more, and what was committed comes again.
        let mut restarted = database.projection().await;
        take_in_batches(&mut restarted, first, &mut rng).await;
        take_in_batches(&mut restarted, rest, &mut rng).await;
        let view = whole::whole(&mut database.connection).await.unwrap();
        let told = || view.rows.orders.values().filter_map(|row| row.order.state.as_ref());
        assert_eq!(view.rows.sales, sale::sums(told()), "{seed}");
        // Of which a difference of nothing is not left out either.
        let counted: pace::Pace = view.rows.pace.into_iter().filter(|(_, orders)| *orders != 0).collect();
        assert_eq!(counted, pace::sums(told()), "{seed}");
        let all = sales::by_hour(&mut database.connection, None, None, None, 100).await.unwrap();
        assert_eq!(all.iter().map(|row| row.sold.orders).sum::<i64>(), completed);
    }
}

#[tokio::test]
async fn a_batch_that_is_fenced_sells_nothing() {
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let mut database = Database::new().await;
    let (mut zombie, mut other) = (database.projection().await, database.projection().await);
    take_all(&mut other, messages.clone()).await;
    let before = database.rows("select * from sale order by sku, hour").await;
    assert_eq!(before.len(), 4);
    zombie.take(messages).await;
    assert_eq!(database.rows("select * from sale order by sku, hour").await, before);
}

/// More than an i64 has, of orders that each have as much as one may.
#[tokio::test]
async fn sums_do_not_end_where_numbers_of_one_order_do() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    sqlx::query("update sale set amount_minor = 9223372036854775807")
        .execute(&mut api.database.connection)
        .await
        .unwrap();
    let other = orders(&[(1, Path::Completed, "SKU-1"), (2, Path::Completed, "SKU-1")]).in_order();
    take_all(&mut api.projection, other).await;
    let rows = sales::by_sku(&mut api.database.connection, None, None, 10).await.unwrap();
    assert_eq!(rows[0].sold.amount_minor, i128::from(i64::MAX) + 500);
    let (status, _) = api.get("/sales?by=sku").await;
    assert_eq!(status, 200);
}

fn sold(sku: Option<&str>, hour: Option<&str>, orders: i64) -> Value {
    let amount = json!({"minor": orders * 500, "currency": "EUR"});
    json!({"sku": sku, "hour": hour, "orders": orders, "quantity": orders * 2, "amount": amount})
}

#[tokio::test]
async fn sales_are_answered_by_sku_and_by_hour() {
    let mut api = Api::new().await;
    let paths: Vec<(u128, Path, &str)> = (1..=9)
        .map(|number| match number % 3 {
            0 => (number, Path::Declined, "SKU-3"),
            1 => (number, Path::Completed, "SKU-1"),
            _ => (number, Path::SilentThenYes, "SKU-2"),
        })
        .collect();
    take_all(&mut api.projection, orders(&paths).in_order()).await;
    let hour = "2023-11-14T22:00:00.000Z";
    let answer = |sales: &[Value]| (200, json!({"sales": sales, "next": null}));
    assert_eq!(api.get("/sales").await, answer(&[sold(None, Some(hour), 6)]));
    assert_eq!(api.get("/sales?by=hour&sku=SKU-2").await, answer(&[sold(Some("SKU-2"), Some(hour), 3)]));
    let by_sku = [sold(Some("SKU-1"), None, 3), sold(Some("SKU-2"), None, 3)];
    assert_eq!(api.get("/sales?by=sku").await, answer(&by_sku));
    assert_eq!(api.all_pages("/sales?by=sku&limit=1", "sales", "sku").await, ["SKU-1", "SKU-2"]);
    assert_eq!(api.get("/sales?since=2023-11-14T22:59:59Z").await, answer(&[sold(None, Some(hour), 6)]));
    assert_eq!(api.get("/sales?since=2023-11-14T23:00:00Z").await, answer(&[]));
    for (bad, pointer) in [
        ("by=sku&since=2023-11-14T22:00:00Z", "/since"),
        ("by=hour&since=x", "/since"),
        ("by=sku&sku=SKU-1", "/sku"),
        ("by=sku&cursor=x", "/cursor"),
        ("limit=0", "/limit"),
    ] {
        let (status, problem) = api.get(&format!("/sales?{bad}")).await;
        assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (400, Some(pointer)), "{bad}");
    }
}

/// An hour of which there are two currencies is cut in the middle by a page and goes on there.
#[tokio::test]
async fn pages_of_hours_and_skus_go_on_behind_the_last_row() {
    let mut database = Database::new().await;
    sqlx::query(
        "insert into sale
         select sku, hour, currency, 1, 1, 1
         from unnest(array['', 'A', 'B']) as sku, unnest(array['EUR', 'USD']) as currency,
           unnest(array['-infinity', '2026-01-01T10:00Z', '2026-01-01T11:00Z', '2026-01-02T10:00Z']::timestamptz[]) as hour",
    )
    .execute(&mut database.connection)
    .await
    .unwrap();
    let connection = &mut database.connection;
    let (mut hours, mut after) = (Vec::new(), None);
    while let [row] = &sales::by_hour(connection, None, None, after.as_ref(), 1).await.unwrap()[..] {
        let place = (row.key.hour.unwrap(), row.key.currency);
        hours.push(place);
        after = Some(place);
    }
    let mut sorted = hours.clone();
    sorted.sort_by(|one, other| other.cmp(one));
    assert_eq!((hours.len(), &hours), (6, &sorted));
    let since = hours[2].0;
    for (since, orders) in [(None, 1), (Some(since), 2)] {
        let (mut skus, mut after): (Vec<(Sku, Currency)>, _) = (Vec::new(), None);
        while let [row] = &sales::by_sku(connection, since, after.as_ref(), 1).await.unwrap()[..] {
            assert_eq!(row.sold.orders, orders);
            let place = (row.key.sku.clone().unwrap(), row.key.currency);
            skus.push(place.clone());
            after = Some(place);
        }
        let mut sorted = skus.clone();
        sorted.sort();
        assert_eq!((skus.len(), &skus), (4, &sorted));
    }
}
