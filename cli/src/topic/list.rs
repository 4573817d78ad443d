//! `fulfil topic list`: every topic of the broker, those of the contract with what stands on them.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    broker::topics::list_topics,
    contract::topics::{Key, Topic},
};

use crate::{
    exit::Exit,
    kafka::{From, Reader},
    output::{Column, Output, Tone, count, duration},
    place::Place,
};

#[derive(Serialize)]
struct TopicObject<'a> {
    topic: &'a str,
    partitions: i32,
    key: Option<&'a str>,
    /// Offsets in use, so an upper bound where a topic is compacted or has transactions.
    messages: Option<i64>,
    retention_ms: Option<i64>,
    of_the_contract: bool,
}

pub(super) async fn run(place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let listed = list_topics(&place.broker).await?;
    let ours: Vec<Topic> = listed.iter().filter_map(|topic| Topic::parse(&topic.name)).collect();
    let (broker, topics) = (place.broker.clone(), ours.clone());
    let reader =
        tokio::task::spawn_blocking(move || Reader::open(&broker, &topics, None, From::Start)).await??;
    let messages = |topic: Topic| -> i64 {
        let spans = reader.spans().iter().filter(|((of, _), _)| *of == topic);
        spans.map(|(_, span)| span.end - span.low).sum()
    };
    let mut rows = Vec::with_capacity(listed.len());
    for topic in &listed {
        let known = Topic::parse(&topic.name);
        let key = known.map(|topic| match topic.key() {
            Key::OrderId => "order id",
            Key::Sku => "sku",
            Key::Original => "original key",
        });
        let messages = known.map(messages);
        if output.json {
            output.object(&TopicObject {
                topic: &topic.name,
                partitions: topic.partitions,
                key,
                messages,
                retention_ms: known.and_then(Topic::retention).map(|retention| retention.as_millis() as i64),
                of_the_contract: known.is_some(),
            })?;
            continue;
        }
        let kept = match known {
            Some(topic) => topic.retention().map_or_else(|| "for ever".to_owned(), duration),
            None => String::new(),
        };
        let name = match known {
            Some(_) => topic.name.clone(),
            None => output.paint(Tone::Dim, &topic.name),
        };
        let messages = messages.map(count).unwrap_or_default();
        rows.push(vec![
            name,
            topic.partitions.to_string(),
            messages,
            key.unwrap_or("not ours").to_owned(),
            kept,
        ]);
    }
    if !output.json {
        let columns = [
            Column::Left("TOPIC"),
            Column::Right("PARTITIONS"),
            Column::Right("MESSAGES"),
            Column::Left("KEY"),
            Column::Left("KEPT"),
        ];
        output.table(&columns, rows);
    }
    let missing: Vec<&str> =
        Topic::ALL.iter().filter(|topic| !ours.contains(topic)).map(|topic| topic.name()).collect();
    if !missing.is_empty() {
        output.note(&format!("missing: {}; make them with: fulfil topic ensure", missing.join(", ")));
    }
    Ok(Exit::Done.into())
}
