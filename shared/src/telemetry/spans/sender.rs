//! The thread that draws and sends. It has a runtime of its own, so neither a batch nor a request ever waits for it: what it
//! has no room for, and each request that the collector does not take, is lost and counted. What a collector refuses of a request
//! that it takes is known to the exporter alone.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{SpanExporter as Exporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Config, ShouldSample, SpanData, SpanExporter},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{
    ids::{Origin, is_sampled},
    pen::Pen,
    room::Room,
    settings::{self, Limits},
    work::{Batch, Size, Work},
};
use crate::config::{self, Settings, Stop};

/// How long a process that stops waits for its last spans.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// A collector that is away is told once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);

static SENDER: OnceLock<Sender> = OnceLock::new();

pub(super) struct Sender {
    /// Bounded by `room`.
    queue: UnboundedSender<Item>,
    /// For what is told and not drawn.
    room: Room,
    lost: AtomicU64,
    sampler: Box<dyn ShouldSample>,
}

enum Item {
    Work {
        size: Size,
        batch: Batch,
        make: Make,
    },
    /// The last of it.
    Flush(mpsc::SyncSender<()>),
}

pub(super) type Make = Box<dyn FnOnce() -> Vec<Work> + Send>;

/// What the process holds for as long as it draws.
pub struct Spans(Option<&'static Sender>);

pub(super) fn sender() -> Option<&'static Sender> {
    SENDER.get()
}

pub(super) fn is_drawn(sender: &Sender, origin: Origin) -> bool {
    is_sampled(&*sender.sampler, origin)
}

/// Begins to draw, where a collector is named. Called once, before anything else runs.
///
/// # Errors
/// Where a setting is bad.
pub fn start(role: &'static str, settings: &Settings) -> Result<Spans, Stop> {
    let Some(collector) = settings::collector(settings)? else { return Ok(Spans(None)) };
    let exporter = Exporter::builder().with_http().with_endpoint(&collector.url).build();
    let mut exporter = exporter.map_err(|error| Stop::setting(collector.name, error))?;
    exporter.set_resource(&resource(role, settings));
    let sampler = Config::default().sampler;
    let scope = InstrumentationScope::builder("fulfil").with_version(config::BUILD).build();
    let pen = Pen::new(sampler.clone(), scope);
    let limits = Limits::of_environment();
    let (queue, told) = unbounded_channel();
    let sender = SENDER.get_or_init(|| Sender {
        queue,
        room: Room::new(limits.queue_max),
        lost: AtomicU64::new(0),
        sampler,
    });
    let failed =
        |error: std::io::Error| Stop { exit_code: 1, text: format!("error: no thread for spans: {error}\n") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let drawing = Drawing { pen, exporter, limits, spans: Vec::new(), sender, told_at: None };
    thread::Builder::new()
        .name("spans".to_owned())
        .spawn(move || runtime.block_on(drawing.run(told)))
        .map_err(failed)?;
    Ok(Spans(Some(sender)))
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win.
fn resource(role: &'static str, settings: &Settings) -> Resource {
    let own = |builder: opentelemetry_sdk::resource::ResourceBuilder| {
        builder
            .with_attribute(opentelemetry::KeyValue::new("service.version", config::BUILD))
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", settings.instance_id.clone()))
    };
    let said = own(Resource::builder()).build();
    let is_named = said
        .get(&opentelemetry::Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named { said } else { own(Resource::builder().with_service_name(role)).build() }
}

/// Or loses it, where there is no room.
pub(super) fn offer(size: Size, batch: Batch, make: Make) {
    let Some(sender) = sender() else { return };
    if !sender.room.enter(size) {
        sender.lost.fetch_add(size.spans as u64, Ordering::Relaxed);
        return;
    }
    // The thread ends only with the process.
    let _ = sender.queue.send(Item::Work { size, batch, make });
}

impl Spans {
    /// Sends what there is, for a bounded time. Called outside of the runtime, after everything has ended.
    pub fn flush(self) {
        let Some(sender) = self.0 else { return };
        let (done, flushed) = mpsc::sync_channel(1);
        if sender.queue.send(Item::Flush(done)).is_ok() && flushed.recv_timeout(FLUSH_MAX).is_err() {
            warn!("the last spans are lost: the collector did not take them in time");
        }
    }
}

struct Drawing {
    pen: Pen,
    exporter: Exporter,
    limits: Limits,
    /// Drawn and not sent.
    spans: Vec<SpanData>,
    sender: &'static Sender,
    /// When it was told last that spans are lost.
    told_at: Option<Instant>,
}

impl Drawing {
    async fn run(mut self, mut told: UnboundedReceiver<Item>) {
        let mut due = Instant::now() + self.limits.delay;
        loop {
            let item = tokio::select! {
                biased;
                () = sleep_until(due) => {
                    self.send_all().await;
                    due = Instant::now() + self.limits.delay;
                    continue;
                }
                item = told.recv() => item,
            };
            match item {
                Some(Item::Work { size, batch, make }) => {
                    self.pen.draw(&batch, make(), &mut self.spans);
                    self.sender.room.leave(size);
                    while self.spans.len() >= self.limits.batch_max {
                        self.send().await;
                    }
                }
                Some(Item::Flush(done)) => {
                    self.send_all().await;
                    let _ = done.send(());
                }
                None => return,
            }
        }
    }

    async fn send_all(&mut self) {
        while !self.spans.is_empty() {
            self.send().await;
        }
        self.tell_of_lost(None);
    }

    async fn send(&mut self) {
        let count = self.spans.len().min(self.limits.batch_max);
        let spans: Vec<SpanData> = self.spans.drain(..count).collect();
        if let Err(error) = self.exporter.export(spans).await {
            self.sender.lost.fetch_add(count as u64, Ordering::Relaxed);
            self.tell_of_lost(Some(error.to_string()));
        }
    }

    /// Counted since it was told last. Without an error: they came faster than they were drawn.
    fn tell_of_lost(&mut self, error: Option<String>) {
        let is_early = self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY);
        if is_early || self.sender.lost.load(Ordering::Relaxed) == 0 {
            return;
        }
        let spans = self.sender.lost.swap(0, Ordering::Relaxed);
        warn!(spans, error, "spans are lost");
        self.told_at = Some(Instant::now());
    }
}
