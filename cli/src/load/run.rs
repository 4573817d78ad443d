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
use shared::{contract::limits::QUANTITY_MAX, log};
use sqlx::Connection;
use tokio::{signal::ctrl_c, sync::mpsc, time::interval};
use uuid::Uuid;

use super::{
    book::Book,
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
    exit::{Exit, ended},
    order::Via,
    place::Place,
    service,
};

const LOOK: Duration = Duration::from_millis(10);
const LOOK_AT_MEMORY: Duration = Duration::from_millis(500);
const RECEIPTS_AT_ONCE: usize = 16;

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

/// What is known when all have ended, or nothing ends any more.
struct Sent {
    book: Arc<Book>,
    /// Until the view had all of them.
    took: Duration,
    cpu: Option<Cpu>,
    resident: Resident,
}

/// `None` where it was interrupted. `shown`: progress on a terminal.
///
/// # Errors
/// Nothing was measured: something is not there, or refuses what is asked first.
pub(super) async fn run_load(place: &Place, load: &Load, shown: bool) -> anyhow::Result<Option<Report>> {
    let id = format!("{:08x}", rand::random::<u32>());
    if load.warm_up > 0 {
        let traffic = Traffic::new(load.shape.clone(), &format!("{id}w"), load.seed)?;
        let pace = Pace { orders: load.warm_up, ..load.pace };
        receive(place, &traffic, pace.orders * load.shape.lines).await?;
        if send_all(place, load, pace, traffic, None, shown).await?.is_none() {
            return Ok(None);
        }
    }
    let traffic = Traffic::new(load.shape.clone(), &id, load.seed)?;
    let user = traffic.user().clone();
    receive(place, &traffic, load.pace.orders * load.shape.lines).await?;
    let known = Sources::of(place).zip(dev::status(&place.dir).await?.filter(Status::anything_runs));
    let before = match &known {
        Some((sources, status)) => storage::stored(&place.dir, status, &sources.databases).await?,
        None => BTreeMap::new(),
    };
    let status = known.as_ref().map(|(_, status)| status);
    let Some(sent) = send_all(place, load, load.pace, traffic, status, shown).await? else {
        return Ok(None);
    };
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
    Ok(Some(Report::of(Measured {
        entries: sent.book.entries(),
        took: sent.took,
        completed_in_view: Some(completed_in_view(place, user.as_str()).await?),
        machine,
        violations,
    })))
}

async fn send_all(
    place: &Place,
    load: &Load,
    pace: Pace,
    traffic: Traffic,
    status: Option<&Status>,
    shown: bool,
) -> anyhow::Result<Option<Sent>> {
    let book = Arc::new(Book::default());
    let reader = ends::open(place.broker.clone()).await?;
    let sight = Sight::new(&place.projector)?;
    let (heard, hearing) = mpsc::unbounded_channel();
    let (mut resident, bar) = (Resident::default(), bar(pace.orders, shown));
    let before = status.map(Cpu::of);
    let begun = Instant::now();
    let ends = Ends::follow(reader, Arc::clone(&book), begun, heard);
    let watching = tokio::spawn(sight.clone().watch(hearing, Arc::clone(&book), begun));
    let stopped = Arc::new(AtomicBool::new(false));
    let mut sending = tokio::spawn(send(
        place.clone(),
        load.via,
        traffic,
        pace,
        Arc::clone(&book),
        begun,
        Arc::clone(&stopped),
    ));
    let (mut look, mut look_at_memory) = (interval(LOOK), interval(LOOK_AT_MEMORY));
    let (mut is_sent, mut moved) = (false, (0, Instant::now()));
    loop {
        tokio::select! {
            sent = &mut sending, if !is_sent => {
                sent??;
                is_sent = true;
            }
            _ = ctrl_c() => {
                stopped.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            _ = look_at_memory.tick() => status.into_iter().for_each(|status| resident.look(status)),
            _ = look.tick() => {}
        }
        let ended = book.count_ended();
        bar.set_position(ended as u64);
        if ended > moved.0 {
            moved = (ended, Instant::now());
        }
        if is_sent {
            let (awaited, ended) = book.awaited();
            if ended >= awaited || moved.1.elapsed() > load.patience {
                break;
            }
        }
    }
    let is_in_view = sight.has_all(ends.last()).await;
    let took = begun.elapsed();
    let cpu = status.zip(before).map(|(status, before)| Cpu::of(status).since(before));
    bar.finish_and_clear();
    ends.stop().await?;
    watching.await?;
    if !is_in_view {
        return Err(ended(Exit::Waited, "the view does not get to where the topics are: fulfil doctor"));
    }
    Ok(Some(Sent { book, took, cpu, resident }))
}

async fn send(
    place: Place,
    via: Via,
    mut traffic: Traffic,
    pace: Pace,
    book: Arc<Book>,
    begun: Instant,
    stopped: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    match via {
        Via::Http => http::send(&place.order_service, &mut traffic, pace, &book, begun, &stopped).await,
        Via::Topic => {
            let send = move || topic::send(&place.broker, &mut traffic, pace, &book, begun, &stopped);
            tokio::task::spawn_blocking(send).await?
        }
    }
}

/// As much of every sku as all orders together could want.
async fn receive(place: &Place, traffic: &Traffic, pieces: usize) -> anyhow::Result<()> {
    let quantity = i64::try_from(pieces)?;
    let deliveries = traffic.skus().iter().map(async |sku| {
        let url = format!("{}/stock/{sku}/receive", place.inventory_service);
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
    let query = [("user_id", user.to_owned()), ("status", "completed".to_owned())];
    Ok(service::list(&url, "orders", &query, usize::MAX).await?.len())
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
