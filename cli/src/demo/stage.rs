//! Where the stories are played: acting over HTTP and topics, hearing all topics, printing what concerns the story.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use tokio::sync::mpsc;

use crate::{
    exit::{Exit, ended},
    kafka::{From, Heard, Reader, Record, publish},
    output::{Output, Tone},
    place::Place,
    service,
    sighting::{Lines, Sighting, label},
};

/// Longer than a silent provider takes to answer, on a slow machine.
const STEP_LIMIT: Duration = Duration::from_secs(90);

pub(super) struct Stage {
    pub(super) place: Place,
    pub(super) output: Output,
    heard: mpsc::Receiver<Heard>,
    lines: Lines,
    story: Story,
}

/// What was seen of the story that is being told.
#[derive(Default)]
struct Story {
    title: String,
    begun: Option<Instant>,
    /// Order ids and keys that it is about.
    subjects: HashSet<String>,
    seen: Vec<Sighting>,
}

/// A story that was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) title: String,
    pub(super) order_id: Option<String>,
    pub(super) end: String,
    pub(super) took: Duration,
    /// What should have been and was not.
    pub(super) wrong: Vec<String>,
}

impl Stage {
    pub(super) async fn open(place: &Place, output: Output) -> anyhow::Result<Self> {
        let broker = place.broker.clone();
        let topics: Vec<Topic> = Topic::ALL.to_vec();
        let open = move || Reader::open(&broker, &topics, None, From::End);
        let reader = tokio::task::spawn_blocking(open).await??;
        Ok(Self {
            place: place.clone(),
            output,
            heard: reader.follow(),
            lines: Lines::default(),
            story: Story::default(),
        })
    }

    pub(super) fn begin(&mut self, number: usize, title: &str, explained: &str) {
        self.story = Story { title: title.to_owned(), begun: Some(Instant::now()), ..Story::default() };
        if !self.output.json {
            self.output.line("");
            self.output.line(&self.output.paint(Tone::Bold, &format!("{number}. {title}")));
            self.output.line(&self.output.paint(Tone::Dim, &format!("   {explained}")));
        }
    }

    /// What a person would type to do the same.
    pub(super) fn typed(&self, command: &str) {
        if !self.output.json {
            self.output.line(&self.output.paint(Tone::Dim, &format!("   $ {command}")));
        }
    }

    /// One line, over HTTP, as a new order of its own.
    pub(super) async fn order(
        &mut self,
        sku: &str,
        quantity: i64,
        price_minor: i64,
    ) -> anyhow::Result<String> {
        let price = format!("{}.{:02}EUR", price_minor / 100, price_minor % 100);
        self.typed(&format!("fulfil order create --sku {sku} --quantity {quantity} --price {price}"));
        let line = json!({"sku": sku, "quantity": quantity, "unit_price_minor": price_minor});
        let body = json!({"user_id": "demo", "lines": [line], "currency": "EUR"});
        // A key of our own gives an id whose first characters tell it from the next one.
        let key = crate::event::random_id().to_string();
        let url = format!("{}/orders", self.place.order_service);
        let answer: Value = service::post(&url, &body, &[("Idempotency-Key", &key)]).await?;
        let Some(order_id) = answer["order_id"].as_str() else { bail!("POST /orders answered {answer}") };
        self.story.subjects.insert(order_id.to_owned());
        Ok(order_id.to_owned())
    }

    pub(super) async fn send(&mut self, record: Record) -> anyhow::Result<()> {
        let broker = self.place.broker.clone();
        if let Some(key) = &record.key {
            self.story.subjects.insert(String::from_utf8_lossy(key).into_owned());
        }
        let sent = tokio::task::spawn_blocking(move || publish(&broker, &[record], None)).await??;
        match sent.into_iter().next() {
            Some(Err(error)) => Err(ended(Exit::Failed, format!("Kafka did not take the message: {error}"))),
            _ => Ok(()),
        }
    }

    /// Hears and prints until each of these was seen in this story.
    pub(super) async fn until(&mut self, wanted: &[&str]) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + STEP_LIMIT;
        loop {
            let missing: Vec<&str> =
                wanted.iter().filter(|name| self.first(name).is_none()).copied().collect();
            if missing.is_empty() {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, self.heard.recv()).await {
                Ok(Some(Heard::Message(raw))) => self.hear(Sighting::of(raw)),
                Ok(Some(Heard::CaughtUp)) => {}
                Ok(Some(Heard::Failed(error))) => bail!("{error}"),
                Ok(None) => bail!("the reader stopped"),
                Err(_) => bail!("waited {} s for {}", STEP_LIMIT.as_secs(), missing.join(" and ")),
            }
        }
    }

    fn hear(&mut self, sighting: Sighting) {
        if !self.story.subjects.contains(&sighting.subject()) {
            return;
        }
        // At least once is the promise; twice is no news.
        let is_repeat = |seen: &Sighting| match (&seen.envelope, &sighting.envelope) {
            (Ok(seen), Ok(new)) => seen.id == new.id,
            _ => false,
        };
        if self.story.seen.iter().any(is_repeat) {
            return;
        }
        if !self.output.json {
            self.output.line(&format!("   {}", self.lines.line(&self.output, &sighting)));
        }
        self.story.seen.push(sighting);
    }

    /// The first event of this name: `order.completed`, `dead-letter`, `dead-letter.redriven`.
    pub(super) fn first(&self, name: &str) -> Option<&Sighting> {
        self.story.seen.iter().find(|sighting| named(sighting) == name)
    }

    /// Ends the story: what was missing, what the read side says, and what order-service decided.
    pub(super) async fn end(&mut self, order_id: &str, status: &str, reason: Option<&str>) -> Told {
        let mut wrong = Vec::new();
        let said = self.first("order.cancelled").and_then(|sighting| sighting.data["reason"].as_str());
        if said != reason {
            wrong.push(format!("the reason is {}, not {}", said.unwrap_or("none"), reason.unwrap_or("none")));
        }
        match self.viewed(order_id).await {
            Ok(viewed) if viewed == status => {}
            Ok(viewed) => wrong.push(format!("the read side says {viewed}, not {status}")),
            Err(error) => wrong.push(format!("the read side: {error:#}")),
        }
        let end = match reason {
            Some(reason) => format!("{status} ({})", reason.replace('_', " ")),
            None => status.to_owned(),
        };
        self.told(Some(order_id.to_owned()), end, wrong)
    }

    pub(super) fn told(&mut self, order_id: Option<String>, end: String, wrong: Vec<String>) -> Told {
        let took = self.story.begun.map(|begun| begun.elapsed()).unwrap_or_default();
        for wrong in wrong.iter().filter(|_| !self.output.json) {
            self.output.line(&self.output.paint(Tone::Bad, &format!("   wrong: {wrong}")));
        }
        Told { title: self.story.title.clone(), order_id, end, took, wrong }
    }

    /// The status, once the view has the newest event of the order that was heard.
    async fn viewed(&self, order_id: &str) -> anyhow::Result<String> {
        let of_order = self.story.seen.iter().filter(|sighting| sighting.raw.topic == Topic::OrdersEvents);
        let versions = of_order.filter_map(|sighting| sighting.envelope.as_ref().ok()?.sequence);
        let token = format!("order-{order_id}:{}", versions.max().unwrap_or(1));
        let query = [("after", token), ("wait", "10".to_owned())];
        let url = format!("{}/orders/{order_id}", self.place.projector);
        let view: Value = service::get(&url, &query).await?;
        match view["status"].as_str() {
            Some(status) => Ok(status.to_owned()),
            None => bail!("is {} behind", view["lag"]),
        }
    }
}

fn named(sighting: &Sighting) -> String {
    match (sighting.message_type(), sighting.letter_status()) {
        (Some(message_type), _) => label(message_type).to_owned(),
        (None, Some(status)) => format!("dead-letter.{status}"),
        (None, None) if sighting.raw.topic == Topic::DeadLetters => "dead-letter".to_owned(),
        (None, None) => "malformed".to_owned(),
    }
}
