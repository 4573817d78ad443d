//! One run: stock, warm-up, the orders, the wait for their ends and for the view, and the looks before and after.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use shared::{
    contract::{limits::QUANTITY_MAX, topics::Topic},
    log,
};
use sqlx::Connection;
use tokio::{sync::mpsc, time::interval};
use uuid::Uuid;

use super::{
    book::{Book, Counts},
    ends::{self, Ends},
    http,
    pace::Pace,
    report::{Durability, Machine, Measured, Report},
    sight::Sight,
    storage, topic,
    traffic::{Shape, Traffic},
    usage::{Cpu, Resident},
};
use crate::{
    audit::{Conservation, Sources, Violation},
    dev::{self, Status},
    kafka::Publisher,
    order::Via,
    place::Place,
    service,
};

const LOOK: Duration = Duration::from_millis(10);
const LOOK_AT_MEMORY: Duration = Duration::from_millis(500);
const RECEIPTS_AT_ONCE: usize = 16;
const VIEW_PAGE: &str = "500";

#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) shape: Shape,
    pub(super) pace: Pace,
    pub(super) via: Via,
    pub(super) warm_up: usize,
    pub(super) seed: u64,
    /// How long nothing may end.
    pub(super) patience: Duration,
}

/// What is known when all have ended and are seen, or nothing comes any more.
struct Sent {
    book: Arc<Book>,
    cpu: Option<Cpu>,
    resident: Resident,
}

/// Tells the sender to stop, also where the run is given up in the middle.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `shown`: progress on a terminal. Dropped halfway it sends no more.
///
/// # Errors
/// Nothing was measured: something is not there, or refuses what is asked first.
pub(super) async fn run_load(place: &Place, load: &Load, shown: bool) -> anyhow::Result<Report> {
    let id = format!("{:08x}", rand::random::<u32>());
    if load.warm_up > 0 {
        let traffic = Traffic::new(load.shape.clone(), &format!("{id}w"), load.seed)?;
        let pace = Pace { orders: load.warm_up, ..load.pace };
        receive(&place.inventory_service, &traffic, pace.orders).await?;
        send_all(place, load, pace, traffic, None, shown).await?;
    }
    let traffic = Traffic::new(load.shape.clone(), &id, load.seed)?;
    let user = traffic.user().clone();
    receive(&place.inventory_service, &traffic, load.pace.orders).await?;
    let known = Sources::of(place).zip(running(place).await?);
    let before = match &known {
        Some((sources, status)) => storage::stored(&place.dir, status, &sources.databases).await?,
        None => BTreeMap::new(),
    };
    let status = known.as_ref().map(|(_, status)| status);
    let sent = send_all(place, load, load.pace, traffic, status, shown).await?;
    let (mut machine, mut violations) = (None, None);
    if let (Some((sources, status)), Some(cpu)) = (&known, sent.cpu) {
        let after = storage::stored(&place.dir, status, &sources.databases).await?;
        let stored = after.into_iter().map(|(name, bytes)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, bytes as i64 - before as i64)
        });
        machine = Some(Machine {
            cpu,
            resident: sent.resident,
            stored: stored.collect(),
            durability: durability(place, &sources.databases).await?,
        });
        violations = Some(conservation(sources).await?);
    }
    let completed_in_view = completed_in_view(place, user.as_str()).await?;
    Ok(Report::of(Measured { entries: sent.book.entries(), completed_in_view, machine, violations }))
}

/// What runs in the folder, where it is what the load goes to.
async fn running(place: &Place) -> anyhow::Result<Option<Status>> {
    let is_ours = |status: &Status| status.anything_runs() && status.kafka == place.broker.bootstrap_servers;
    Ok(dev::status(&place.dir).await?.filter(is_ours))
}

async fn send_all(
    place: &Place,
    load: &Load,
    pace: Pace,
    traffic: Traffic,
    status: Option<&Status>,
    shown: bool,
) -> anyhow::Result<Sent> {
    let book = Arc::new(Book::default());
    // All connections before the first order is due.
    let sender = Sender::open(place, load.via).await?;
    let reader = ends::open(place.broker.clone()).await?;
    let sight = Sight::new(&place.projector, load.patience)?;
    let (heard, hearing) = mpsc::unbounded_channel();
    let (mut resident, bar) = (Resident::default(), bar(pace.orders, shown));
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let before = status.map(Cpu::of);
    let begun = Instant::now();
    let ends = Ends::follow(reader, Arc::clone(&book), begun, heard);
    let watching = sight.watch(hearing, Arc::clone(&book), begun);
    let watching = tokio::spawn(watching);
    let mut sending = tokio::spawn(sender.send(traffic, pace, Arc::clone(&book), begun, Arc::clone(&stop.0)));
    let (mut look, mut look_at_memory) = (interval(LOOK), interval(LOOK_AT_MEMORY));
    let (mut is_sent, mut moved) = (false, (0, Instant::now()));
    loop {
        tokio::select! {
            sent = &mut sending, if !is_sent => {
                sent??;
                is_sent = true;
                moved.1 = Instant::now();
            }
            _ = look_at_memory.tick() => status.into_iter().for_each(|status| resident.look(status)),
            _ = look.tick() => {}
        }
        let Counts { ended, awaited, .. } = book.counts();
        bar.set_position(ended as u64);
        if ended > moved.0 {
            moved = (ended, Instant::now());
        }
        let is_stuck = moved.1.elapsed() > load.patience;
        if is_sent && ended >= awaited || is_stuck && (is_sent || !pace.is_open()) || ends.has_failed() {
            break;
        }
    }
    // A sender that waits for room stops, and what it has sent is told.
    stop.0.store(true, Ordering::Relaxed);
    if !is_sent {
        sending.await??;
    }
    // Nobody tells of more then, and what was told of is still asked for.
    ends.stop().await?;
    watching.await?;
    let cpu = status.zip(before).map(|(status, before)| Cpu::of(status).since(before));
    status.into_iter().for_each(|status| resident.look(status));
    bar.finish_and_clear();
    Ok(Sent { book, cpu, resident })
}

/// The way in, open.
enum Sender {
    Http { client: reqwest::Client, service: String },
    Topic(Publisher),
}

impl Sender {
    async fn open(place: &Place, via: Via) -> anyhow::Result<Self> {
        Ok(match via {
            Via::Http => Self::Http { client: service::client()?, service: place.order_service.clone() },
            Via::Topic => {
                let broker = place.broker.clone();
                let open = move || Publisher::open(&broker, [Topic::OrdersCommands]);
                Self::Topic(tokio::task::spawn_blocking(open).await??)
            }
        })
    }

    async fn send(
        self,
        mut traffic: Traffic,
        pace: Pace,
        book: Arc<Book>,
        begun: Instant,
        stopped: Arc<AtomicBool>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Http { client, service } => {
                http::send(client, &service, &mut traffic, pace, &book, begun, &stopped).await
            }
            Self::Topic(publisher) => {
                let send = move || topic::send(publisher, &mut traffic, pace, &book, begun, &stopped);
                Ok(tokio::task::spawn_blocking(send).await?)
            }
        }
    }
}

/// As much of every sku as all orders together could want.
pub(super) async fn receive(inventory_service: &str, traffic: &Traffic, pieces: usize) -> anyhow::Result<()> {
    let quantity = i64::try_from(pieces)?;
    let deliveries = traffic.skus().iter().map(async |sku| {
        let url = format!("{inventory_service}/stock/{sku}/receive");
        let mut left = quantity;
        while left > 0 {
            let body = json!({"quantity": left.min(QUANTITY_MAX), "reference": Uuid::now_v7()});
            let _: Value = service::post(&url, &body, &[]).await?;
            left -= QUANTITY_MAX;
        }
        anyhow::Ok(())
    });
    stream::iter(deliveries).buffer_unordered(RECEIPTS_AT_ONCE).try_collect::<()>().await
}

async fn completed_in_view(place: &Place, user: &str) -> anyhow::Result<usize> {
    let url = format!("{}/orders", place.projector);
    let (mut rows, mut cursor) = (0, String::new());
    loop {
        let query = [("user_id", user), ("status", "completed"), ("limit", VIEW_PAGE), ("cursor", &cursor)];
        let page: Value = service::get(&url, &query.map(|(name, value)| (name, value.to_owned()))).await?;
        rows += page["orders"].as_array().context("the projector answers without orders")?.len();
        match &page["next"] {
            Value::String(next) => cursor = next.clone(),
            _ => return Ok(rows),
        }
    }
}
/// All logs from their starts; the projector has none.
async fn conservation(sources: &Sources) -> anyhow::Result<Vec<Violation>> {
    let mut conservation = Conservation::default();
    let logs = sources.databases.iter().filter(|(service, _)| service != "projector");
    conservation.follow(&logs.cloned().collect::<Vec<_>>()).await?;
    Ok(conservation.found().to_vec())
}

async fn durability(place: &Place, databases: &[(String, String)]) -> anyhow::Result<Durability> {
    let (mut fsync, mut synchronous_commit) = (String::new(), BTreeMap::new());
    for (service, url) in databases {
        let mut connection = log::connect::connect(url, "fulfil load").await?;
        let settings: (String, String) =
            sqlx::query_as("select current_setting('fsync'), current_setting('synchronous_commit')")
                .fetch_one(&mut connection)
                .await
                .with_context(|| format!("the settings of the database of {service}"))?;
        connection.close().await?;
        fsync = settings.0;
        synchronous_commit.insert(service.clone(), settings.1);
    }
    // The broker does not say what a client asks for; nobody can set another than this.
    let acks = place.broker.producer().get("acks").unwrap_or_default().to_owned();
    Ok(Durability { fsync, synchronous_commit, acks })
}

fn bar(orders: usize, shown: bool) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(orders as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} ended ({elapsed}, {per_sec})") {
        bar.set_style(style);
    }
    bar
}
