//! The consumer groups: what is behind, who reads it, and what stands still.

use askama::Template;
use axum::{extract::State, response::Response};
use shared::http::Problem;

use super::{
    layout::{Frame, rendered},
    text,
};
use crate::http::{
    App,
    consumers::{ConsumerGroupBody, ConsumersBody, PartitionBody, standing},
};

/// From then on a group is said to be behind.
pub(super) const LAG_SECONDS_MAX: f64 = 30.0;

#[derive(Template)]
#[template(path = "consumers.html")]
struct Consumers {
    frame: Frame,
    body: ConsumersBody,
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let body = standing(&app).await?;
    rendered(&Consumers {
        frame: Frame::new(&app, "consumers", "Consumers", "fulfil topic lag").seldom("/consumers"),
        body,
    })
}

impl ConsumerGroupBody {
    pub(super) fn is_late(&self) -> bool {
        self.seconds.is_some_and(|seconds| seconds > LAG_SECONDS_MAX)
    }

    fn behind(&self) -> String {
        self.messages.map_or_else(|| "not known".to_owned(), text::count)
    }

    fn waits(&self) -> String {
        waits(self.messages, self.seconds)
    }

    fn held(&self) -> String {
        self.held_keys.map_or_else(|| "not known here".to_owned(), text::count)
    }

    fn pauses(&self) -> String {
        let longest = self.processes.iter().map(|process| process.paused_ms).max();
        match (self.paused, longest) {
            (Some(true), Some(ms)) => format!("⚠ for {}", text::duration(ms as i64)),
            (Some(_), _) => "no".to_owned(),
            (None, _) => "not known here".to_owned(),
        }
    }

    /// By topic: what is behind in it, and who has how many of its partitions.
    fn topics(&self) -> Vec<TopicRow> {
        let mut rows: Vec<TopicRow> = Vec::new();
        for of in &self.partitions {
            if rows.last().is_none_or(|row| row.topic != of.topic) {
                rows.push(TopicRow {
                    topic: of.topic,
                    messages: Some(0),
                    seconds: Some(0.0),
                    partitions: Vec::new(),
                });
            }
            if let Some(row) = rows.last_mut() {
                row.messages = row.messages.zip(of.messages).map(|(some, more)| some + more);
                row.seconds = row.seconds.zip(of.seconds).map(|(one, other)| one.max(other));
                row.partitions.push(of.clone());
            }
        }
        rows
    }
}

struct TopicRow {
    topic: &'static str,
    messages: Option<i64>,
    seconds: Option<f64>,
    partitions: Vec<PartitionBody>,
}

impl TopicRow {
    fn behind(&self) -> String {
        self.messages.map_or_else(|| "not known".to_owned(), text::count)
    }

    fn waits(&self) -> String {
        waits(self.messages, self.seconds)
    }

    /// `order-service-0: 0 to 3`, or that nobody reads some.
    fn members(&self) -> Vec<String> {
        let mut members: Vec<(Option<&str>, Vec<String>)> = Vec::new();
        for of in &self.partitions {
            let member = of.member.as_deref();
            match members.iter_mut().find(|(known, _)| *known == member) {
                Some((_, partitions)) => partitions.push(of.partition.to_string()),
                None => members.push((member, vec![of.partition.to_string()])),
            }
        }
        let said = |(member, partitions): (Option<&str>, Vec<String>)| {
            format!("{}: {}", member.unwrap_or("⚠ nobody"), partitions.join(" "))
        };
        members.into_iter().map(said).collect()
    }
}

fn waits(messages: Option<i64>, seconds: Option<f64>) -> String {
    match (messages, seconds) {
        (None, _) => "not known".to_owned(),
        (Some(0), _) => "–".to_owned(),
        (_, Some(seconds)) => text::duration((seconds * 1_000.0) as i64),
        (_, None) => "not known".to_owned(),
    }
}
