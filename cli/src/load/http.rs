//! Sending orders to `POST /orders`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header::RETRY_AFTER};
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
/// Of an open loop, whose requests do not wait for each other: what a process may usually keep open. A request that
/// finds no room is late, and is measured from when it was due.
const OPEN_REQUESTS_MAX: usize = 800;
const LOOK: Duration = Duration::from_millis(1);
/// Where a 503 does not say when to come back.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Returns when every request was answered or given up.
pub(super) async fn send(
    client: Client,
    service: &str,
    traffic: &mut Traffic,
    pace: Pace,
    book: &Arc<Book>,
    begun: Instant,
    stopped: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(if pace.is_open() { OPEN_REQUESTS_MAX } else { REQUESTS_MAX }));
    let mut requests = JoinSet::new();
    for number in 0..pace.orders {
        let due = pace.due(number);
        sleep_until((begun + due).into()).await;
        while book.counts().under_way >= pace.in_flight_max && !stopped.load(Ordering::Relaxed) {
            sleep(LOOK).await;
        }
        let place = Arc::clone(&room).acquire_owned().await?;
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let order = traffic.order();
        let due = if pace.is_open() { due } else { begun.elapsed() };
        let id = order.create.order_id.uuid();
        book.open(id, order.fate, due);
        let (client, service) = (client.clone(), service.to_owned());
        let (book, stopped) = (Arc::clone(book), Arc::clone(stopped));
        requests.spawn(async move {
            let told = loop {
                let (told, pause) = create(&client, &service, &order).await;
                // A closed loop comes back with the same key. An open one has left.
                if told != Told::Busy || pace.is_open() || stopped.load(Ordering::Relaxed) {
                    break told;
                }
                sleep(pause).await;
            };
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

/// What was answered, and when to come back after a 503.
async fn create(client: &Client, service: &str, order: &Order) -> (Told, Duration) {
    let create = &order.create;
    let body = json!({"user_id": create.user_id, "lines": create.lines, "currency": create.amount.currency});
    let request = client.post(format!("{service}/orders")).header("Idempotency-Key", &order.key).json(&body);
    let Ok(answer) = request.send().await else { return (Told::Lost, BUSY_PAUSE) };
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let pause = after.map_or(BUSY_PAUSE, Duration::from_secs);
    let told = match answer.status() {
        StatusCode::SERVICE_UNAVAILABLE => Told::Busy,
        status if status.is_client_error() => Told::Refused,
        // Cut off in the middle of a 202 is as good as no answer.
        status if status.is_success() && answer.bytes().await.is_ok() => Told::Accepted,
        _ => Told::Lost,
    };
    (told, pause)
}
