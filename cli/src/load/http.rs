//! Sending orders to `POST /orders`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{
    book::{Book, Told},
    mix::Fate,
    pace::Pace,
    traffic::{Order, Traffic},
};

/// Of a closed loop: requests without an answer.
const REQUESTS_MAX: usize = 64;
/// Of an open loop, whose requests do not wait for each other: what the program keeps open at most. A request that
/// finds no room is late, and is measured from when it was due.
const OPEN_REQUESTS_MAX: usize = 4_096;
const LOOK: Duration = Duration::from_millis(1);

/// Returns when every request was answered or given up.
pub(super) async fn send(
    service: &str,
    traffic: &mut Traffic,
    pace: Pace,
    book: &Arc<Book>,
    begun: Instant,
    stopped: &AtomicBool,
) -> anyhow::Result<()> {
    let client = crate::service::client()?;
    let room = Arc::new(Semaphore::new(if pace.is_open() { OPEN_REQUESTS_MAX } else { REQUESTS_MAX }));
    let mut requests = JoinSet::new();
    for number in 0..pace.orders {
        let due = pace.due(number);
        sleep_until((begun + due).into()).await;
        while book.count_ended().saturating_add(pace.in_flight_max) <= number
            && !stopped.load(Ordering::Relaxed)
        {
            sleep(LOOK).await;
        }
        let place = Arc::clone(&room).acquire_owned().await?;
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let order = traffic.order();
        let due = if pace.is_open() { due } else { begun.elapsed() };
        book.open(order.create.order_id.uuid(), order.fate, due);
        let (client, service, book) = (client.clone(), service.to_owned(), Arc::clone(book));
        requests.spawn(async move {
            let id = order.create.order_id.uuid();
            let told = create(&client, &service, &order).await;
            book.told(id, told, Some(begun.elapsed()));
            drop(place);
            if told == Told::Accepted && order.fate == Fate::Cancelled {
                // Where it is lost or too late, the order completes.
                let _ = client.post(format!("{service}/orders/{id}/cancel")).json(&json!({})).send().await;
            }
        });
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
    Ok(())
}

async fn create(client: &Client, service: &str, order: &Order) -> Told {
    let create = &order.create;
    let body = json!({"user_id": create.user_id, "lines": create.lines, "currency": create.amount.currency});
    let request = client.post(format!("{service}/orders")).header("Idempotency-Key", &order.key).json(&body);
    let Ok(answer) = request.send().await else { return Told::Nothing };
    match answer.status() {
        StatusCode::SERVICE_UNAVAILABLE => Told::Busy,
        status if status.is_client_error() => Told::Refused,
        // Cut off in the middle of a 202 is as good as no answer.
        status if status.is_success() && answer.bytes().await.is_ok() => Told::Accepted,
        _ => Told::Nothing,
    }
}
