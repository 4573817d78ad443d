//! `fulfil order watch`: follows an order until it ends. What stands on the topics says that there is something new; what it is,
//! and what is awaited, is told by the read side, once it has that.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use shared::contract::{
    Timestamp,
    ids::OrderId,
    topics::{Topic, partition_of},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{held, resolve, show, timeline};
use crate::{
    event::duration_arg,
    exit::{self, Exit, ended},
    kafka::{From, Heard, Reader},
    output::Output,
    place::Place,
    service,
    sighting::Sighting,
};

/// How often and how long the view is asked for a letter that was heard of, or for what became of it: no token names those.
const LETTER_POLL: Duration = Duration::from_millis(200);
const LETTER_LIMIT: Duration = Duration::from_secs(10);

/// The events of an order, each topic with the name of its streams.
const STREAMS: [(Topic, &str); 3] = [
    (Topic::OrdersEvents, "order"),
    (Topic::InventoryEvents, "reservation"),
    (Topic::PaymentsEvents, "payment"),
];

/// Of the columns: time, service, event, and how long after its cause.
const WIDTHS: [usize; 4] = [12, 17, 25, 8];

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order watch 0198f3c2-5a10
  fulfil order watch 0198f3c2-5a10 --timeout 30s --json

Exit codes: 0 completed, 3 no such order, 4 settled (cancelled, and all of it undone), 6 not ended in time, 130 interrupted")]
pub(super) struct WatchArgs {
    /// The order, or the start of its id
    order: String,
    /// How long to wait, at most [default: until it has ended]
    #[arg(long, value_parser = duration_arg, value_name = "TIME")]
    timeout: Option<Duration>,
}

pub(super) async fn run(args: WatchArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    tokio::select! {
        ended = follow(args, place, output) => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted.into()),
    }
}

async fn follow(args: WatchArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let order_id = resolve(&args.order, place).await?;
    let until = args.timeout.map(|timeout| Instant::now() + timeout);
    // Before the first question, so that nothing comes unheard.
    let mut heard = open(order_id, place).await?;
    let mut watch =
        Watch { order_id, place, output, shown: HashSet::new(), letters: json!([]), awaiting: Value::Null };
    watch.is_there().await?;
    // Until then a letter that was heard of is looked for.
    let mut letter_until = None;
    loop {
        let seen = watch.look().await?;
        if let Some(exit) = seen.end {
            return Ok(exit.into());
        }
        if seen.letters_changed {
            letter_until = None;
        }
        let again = Instant::now() + LETTER_POLL;
        let letter_at = letter_until.filter(|until| again < *until).map(|_| again);
        let token = tokio::select! {
            news = news(order_id, &mut heard) => match news? {
                News::Event(token) => token,
                News::Letter => {
                    letter_until = Some(Instant::now() + LETTER_LIMIT);
                    None
                }
            },
            () = at(letter_at) => None,
            // Somebody is late from now on.
            () = at(seen.late) => None,
            () = at(until) => {
                output.note(&format!("not ended yet: fulfil order timeline {order_id}"));
                return Ok(Exit::Waited.into());
            }
        };
        if let Some(token) = token {
            watch.has(&token, until).await?;
        }
    }
}

/// The partitions on which all of this order is, from their ends on.
async fn open(order_id: OrderId, place: &Place) -> anyhow::Result<mpsc::Receiver<Heard>> {
    let broker = place.broker.clone();
    let open = move || {
        let mut places = Vec::with_capacity(STREAMS.len() + 1);
        for topic in STREAMS.map(|(topic, _)| topic).into_iter().chain([Topic::DeadLetters]) {
            let partitions =
                shared::broker::topics::partitions_of(&broker, topic.name())?.ok_or_else(|| {
                    ended(Exit::NotFound, format!("there is no topic {topic}: fulfil topic ensure"))
                })?;
            places.push((topic, partition_of(order_id.to_string().as_bytes(), partitions)));
        }
        Reader::open_partitions(&broker, &places, From::End)
    };
    Ok(tokio::task::spawn_blocking(open).await??.follow())
}

enum News {
    /// An event of the order, and how far that is in its stream. One of nobody's stream has no token.
    Event(Option<String>),
    /// A message with its key died, or something was done about one.
    Letter,
}

async fn news(order_id: OrderId, heard: &mut mpsc::Receiver<Heard>) -> anyhow::Result<News> {
    let id = order_id.to_string();
    loop {
        let sighting = match heard.recv().await {
            Some(Heard::Message(raw)) => Sighting::of(raw),
            Some(Heard::CaughtUp) => continue,
            Some(Heard::Failed(error)) => return Err(ended(Exit::Failed, error)),
            None => return Err(ended(Exit::Failed, "the reader stopped")),
        };
        if sighting.raw.topic == Topic::DeadLetters {
            match sighting.key().is_some_and(|key| key == id) {
                true => return Ok(News::Letter),
                false => continue,
            }
        }
        if sighting.order_id() != Some(&id) {
            continue;
        }
        let stream = STREAMS.iter().find(|(topic, _)| *topic == sighting.raw.topic);
        let sequence = sighting.envelope.as_ref().ok().and_then(|envelope| envelope.sequence);
        let token =
            stream.zip(sequence).map(|((_, stream), sequence)| format!("{stream}-{order_id}:{sequence}"));
        return Ok(News::Event(token));
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Watch<'a> {
    order_id: OrderId,
    place: &'a Place,
    output: Output,
    /// Events, by their ids.
    shown: HashSet<String>,
    letters: Value,
    awaiting: Value,
}

struct Seen {
    end: Option<Exit>,
    letters_changed: bool,
    /// When the next of those that are awaited is late.
    late: Option<Instant>,
}

impl Watch<'_> {
    /// An order that was created a moment ago may not be in the view yet.
    async fn is_there(&self) -> anyhow::Result<()> {
        let first = format!("order-{}:1", self.order_id);
        match self.ask(&first).await {
            Err(error) if exit::of(&error) == Exit::Waited => {
                // Where all that came of it died, that is what the timeline says.
                self.timeline().await?;
                Err(ended(Exit::NotFound, format!("there is no order {}", self.order_id)))
            }
            asked => asked,
        }
    }

    /// Waits until the view has it.
    async fn has(&self, token: &str, until: Option<Instant>) -> anyhow::Result<()> {
        loop {
            match self.ask(token).await {
                Err(error)
                    if exit::of(&error) == Exit::Waited
                        && until.is_none_or(|until| Instant::now() < until) => {}
                asked => return asked,
            }
        }
    }

    async fn ask(&self, token: &str) -> anyhow::Result<()> {
        let url = format!("{}/orders/{}", self.place.projector, self.order_id);
        service::get::<Value>(&url, &[("after", token.to_owned())]).await.map(|_| ())
    }

    async fn timeline(&self) -> anyhow::Result<Value> {
        service::get(&format!("{}/orders/{}/timeline", self.place.projector, self.order_id), &[]).await
    }

    /// Shows what is new.
    async fn look(&mut self) -> anyhow::Result<Seen> {
        let story = self.timeline().await?;
        for event in story["events"].as_array().into_iter().flatten() {
            if !self.shown.insert(event["event_id"].as_str().unwrap_or_default().to_owned()) {
                continue;
            }
            match self.output.json {
                true => self.output.object(event)?,
                false => self.output.row(&WIDTHS, &timeline::row(event, self.output)),
            }
        }
        let now = chrono::Utc::now();
        let letters_changed = self.show_letters(&story["dead_letters"], now)?;
        let late = self.show_awaiting(&story["awaiting"], now)?;
        let end = match story["status"].as_str() {
            Some("completed") => Some(Exit::Done),
            Some("settled") => Some(Exit::Refused),
            _ => None,
        };
        if end.is_some() {
            let status = story["status"].as_str().unwrap_or_default();
            match self.output.json {
                true => self.output.object(&json!({"order_id": self.order_id, "status": status}))?,
                false => {
                    self.output.line(&self.output.paint(show::status_tone(status), &status.to_uppercase()))
                }
            }
        }
        Ok(Seen { end, letters_changed, late })
    }

    /// Where others are to be decided about than before.
    fn show_letters(&mut self, letters: &Value, now: Timestamp) -> anyhow::Result<bool> {
        let changed = self.letters != *letters;
        if changed {
            self.letters = letters.clone();
            match self.output.json {
                true => self.output.object(&json!({"dead_letters": letters}))?,
                false => held::show_letters(letters, now, self.output),
            }
        }
        Ok(changed)
    }

    /// Where it is something else than before, or late now.
    fn show_awaiting(&mut self, awaiting: &Value, now: Timestamp) -> anyhow::Result<Option<Instant>> {
        let all = || awaiting.as_array().into_iter().flatten();
        if self.awaiting != *awaiting {
            self.awaiting = awaiting.clone();
            if self.output.json {
                self.output.object(&json!({"awaiting": awaiting}))?;
            } else {
                held::show_awaiting(awaiting, &self.letters, now, self.output);
            }
        }
        let until = all().filter_map(|awaited| awaited["until"].as_str()?.parse::<Timestamp>().ok());
        let ahead = until.filter(|until| *until > now).min();
        let wait = ahead.and_then(|until| (until - now).to_std().ok());
        // A moment later, so that the view's clock is past it, too.
        Ok(wait.map(|wait| Instant::now() + wait + Duration::from_secs(1)))
    }
}
