//! More HTTP clients than there are connections, and most of them up to no good, beside consumers that must not notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use e2e::system::{Order, System};
use reqwest::StatusCode;
use serde_json::json;
use shared::testing::short_or_long;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// A client gives up after it; the server cuts a slow head or body off after ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const DRIP_EVERY: Duration = Duration::from_millis(500);
const GIB: usize = 1 << 30;
const CHUNK: usize = 64 * 1024;
const ORDER_EVERY: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const STOOD_STILL: Duration = Duration::from_secs(1);
/// The server ends them after five. A client of a busy machine can be late by a second between two statements.
const IDLE_IN_TRANSACTION_MAX: &str = "4 seconds";

/// What the clients were answered.
#[derive(Debug, Default)]
struct Answered {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    too_large: AtomicUsize,
    unavailable: AtomicUsize,
    cut: AtomicUsize,
    gone: AtomicUsize,
    dripped: AtomicUsize,
}

#[derive(Clone)]
struct Crowd {
    address: String,
    sku: String,
    left: Arc<AtomicUsize>,
    answered: Arc<Answered>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_huge_and_vanishing_clients_costs_nobody_else_anything() {
    let (clients, requests) = short_or_long((600, 2_000), (2_000, 50_000));
    let mut system = System::alone().await;
    let sku = system.stocked(requests as i64).await;
    let address = system.service("order-service").http.trim_start_matches("http://").to_owned();
    let crowd =
        Crowd { address, sku: sku.clone(), left: Arc::new(requests.into()), answered: Arc::default() };
    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for number in 0..clients {
        let (crowd, stopped) = (crowd.clone(), stopped.clone());
        // A third hold connections open with heads that never end.
        all.spawn(async move {
            match number % 3 {
                0 => crowd.drip(stopped).await,
                _ => crowd.ask().await,
            }
        });
    }
    let ended = tokio::spawn(all.join_all());
    let looking = tokio::spawn(idle_in_transaction(system.status.postgres.clone(), stopped));

    // Meanwhile, over the topics.
    let (mut took, mut orders) = (Vec::new(), 0);
    while crowd.left.load(Relaxed) > 0 || orders < 10 {
        let order = Order::new(&sku, 1, 100);
        let since = Instant::now();
        system.publish(vec![order.create()]).await;
        assert_eq!(system.end(order.id).await, "completed");
        took.push(since.elapsed());
        orders += 1;
        sleep(ORDER_EVERY).await;
    }
    stop.send_replace(true);
    ended.await.unwrap();
    let (looks, idle) = looking.await.unwrap();
    took.sort_unstable();
    println!(
        "{requests} requests of {clients} clients in {:.1} s: {:?}; {orders} orders over the topics, each after {:.2} s \
         (half of them) and {:.2} s at most",
        begun.elapsed().as_secs_f64(),
        crowd.answered,
        took[took.len() / 2].as_secs_f64(),
        took[took.len() - 1].as_secs_f64(),
    );
    let Answered { accepted, refused, too_large, unavailable: _, cut, gone, dripped } = &*crowd.answered;
    for (what, count) in [
        ("accepted", accepted),
        ("refused", refused),
        ("too large", too_large),
        ("cut off", cut),
        ("gone before its answer", gone),
        ("dripping", dripped),
    ] {
        assert!(count.load(Relaxed) > 0, "nobody was {what}");
    }
    assert!(looks > 0, "no look at the sessions was in time");
    assert_eq!(idle, 0, "sessions were idle in a transaction");
    let body = json!({"user_id": "u1", "lines": [{"sku": sku, "quantity": 1, "unit_price_minor": 100}], "currency": "EUR"});
    let answer = system.post("order-service", "/orders", &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "it serves as before: {answer:?}");
    system.adds_up_in_the_end().await;
}

impl Crowd {
    /// One request after the other, each on a connection of its own, as long as there are any left.
    async fn ask(&self) {
        while let Ok(number) = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            let done = async {
                match number % 8 {
                    0 | 1 => self.order(1).await,
                    2 => self.order(-1).await,
                    3 => self.announces_a_gibibyte().await,
                    4 => self.sends_a_gibibyte().await,
                    5 => self.goes_in_the_middle().await,
                    6 => self.goes_before_the_answer().await,
                    _ => self.order(1).await,
                }
            };
            if timeout(PATIENCE, done).await.is_err() {
                self.answered.cut.fetch_add(1, Relaxed);
            }
        }
    }

    async fn order(&self, quantity: i64) {
        if let Some(mut stream) = self.say(&self.request(quantity)).await {
            self.hear(&mut stream).await;
        }
    }

    async fn announces_a_gibibyte(&self) {
        if let Some(mut stream) = self.say(&self.head(&format!("content-length: {GIB}"))).await {
            self.hear(&mut stream).await;
        }
    }

    /// Until nobody wants it any more.
    async fn sends_a_gibibyte(&self) {
        let Some(mut stream) = self.say(&self.head("transfer-encoding: chunked")).await else { return };
        let chunk = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK));
        for _ in 0..GIB / CHUNK {
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                self.answered.cut.fetch_add(1, Relaxed);
                return;
            }
        }
        // Who is turned away at the door is listened to for a moment.
        self.hear(&mut stream).await;
    }

    async fn goes_in_the_middle(&self) {
        let request = self.request(1);
        if self.say(&request[..request.len() / 2]).await.is_some() {
            self.answered.gone.fetch_add(1, Relaxed);
        }
    }

    async fn goes_before_the_answer(&self) {
        if self.say(&self.request(1)).await.is_some() {
            self.answered.gone.fetch_add(1, Relaxed);
        }
    }

    /// A head of which a line comes now and then, and the next one where that was cut off.
    async fn drip(&self, stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let Some(mut stream) = self.say("POST /orders HTTP/1.1\r\nhost: test\r\n").await else {
                continue;
            };
            self.answered.dripped.fetch_add(1, Relaxed);
            while !*stopped.borrow() && stream.write_all(b"x: y\r\n").await.is_ok() {
                sleep(DRIP_EVERY).await;
            }
        }
    }

    async fn say(&self, text: &str) -> Option<TcpStream> {
        let said = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(text.as_bytes()).await?;
            std::io::Result::Ok(stream)
        };
        match said.await {
            Ok(stream) => Some(stream),
            Err(_) => {
                self.answered.cut.fetch_add(1, Relaxed);
                sleep(Duration::from_millis(10)).await;
                None
            }
        }
    }

    async fn hear(&self, stream: &mut TcpStream) {
        let mut head = [0_u8; 12];
        let heard = stream.read_exact(&mut head).await;
        let count = match heard.ok().map(|_| &head[9..]) {
            Some(b"202") => &self.answered.accepted,
            Some(b"413") => &self.answered.too_large,
            Some(b"503") => &self.answered.unavailable,
            Some([b'4', ..]) => &self.answered.refused,
            Some(other) => panic!("answered {}", String::from_utf8_lossy(other)),
            None => &self.answered.cut,
        };
        count.fetch_add(1, Relaxed);
    }

    fn head(&self, length: &str) -> String {
        format!(
            "POST /orders HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             idempotency-key: {}\r\n{length}\r\n\r\n",
            Uuid::now_v7()
        )
    }

    fn request(&self, quantity: i64) -> String {
        let lines = json!([{"sku": self.sku, "quantity": quantity, "unit_price_minor": 100}]);
        let body = json!({"user_id": "u1", "lines": lines, "currency": "EUR"}).to_string();
        format!("{}{body}", self.head(&format!("content-length: {}", body.len())))
    }
}

/// How often it looked, and how many sessions it saw that had forgotten their transaction.
async fn idle_in_transaction(postgres: String, stopped: watch::Receiver<bool>) -> (usize, i64) {
    let mut connection =
        PgConnection::connect(&format!("postgres://postgres@{postgres}/postgres")).await.unwrap();
    let (mut looks, mut idle, mut slept) = (0, 0, Duration::ZERO);
    while !*stopped.borrow() {
        let forgotten: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where state like 'idle in transaction%' and clock_timestamp() - state_change > $1::text::interval",
        )
        .bind(IDLE_IN_TRANSACTION_MAX)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        // Where the machine stood still, nobody could go on.
        if slept < STOOD_STILL {
            idle += forgotten;
            looks += 1;
        }
        let since = Instant::now();
        sleep(LOOK_EVERY).await;
        slept = since.elapsed();
    }
    (looks, idle)
}
