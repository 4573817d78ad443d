//! What would be done, and as much of what would come of it as can be known without doing it: a message that cannot be
//! read fails again, whatever the state of its order is.

use std::{collections::BTreeMap, process::ExitCode};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use shared::{
    contract::{
        Malformed,
        envelope::{Headers, Raw},
        topics::Topic,
    },
    mend::readable,
};
use uuid::Uuid;

use super::{LANES, Verb, selection::Selection};
use crate::{
    exit::{Exit, ended},
    output::{Output, Tone, count},
    place::Place,
    service,
};

/// As `GET /dead-letters/{id}` shows it.
#[derive(Debug, Deserialize)]
struct Whole {
    topic: String,
    partition: i32,
    offset: i64,
    key_base64: Option<String>,
    value_base64: Option<String>,
    headers: Vec<WholeHeader>,
}

#[derive(Debug, Deserialize)]
struct WholeHeader {
    name: String,
    value_base64: Option<String>,
}

/// How many cannot be read for a reason, and what one of them says.
type Unreadable = BTreeMap<&'static str, (usize, Malformed)>;

pub(super) async fn run(
    verb: Verb,
    selection: &Selection,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let unreadable = match verb {
        Verb::Redrive => unreadable(selection, place).await?,
        Verb::Discard => Unreadable::new(),
    };
    let letters = selection.letters.len();
    let fail: usize = unreadable.values().map(|(letters, _)| letters).sum();
    let (orders, skus) = selection.subjects();
    if output.json {
        let reasons: Vec<_> = unreadable
            .values()
            .map(|(letters, why)| json!({"code": why.code, "pointer": why.pointer, "detail": why.detail, "messages": letters}))
            .collect();
        output.object(&json!({
            "verb": verb.as_str(), "messages": letters, "orders": orders, "skus": skus,
            "would_fail_again": fail, "reasons": reasons, "unknown": letters - fail,
            "parked": selection.parked, "more": selection.more,
        }))?;
        return Ok(Exit::Done.into());
    }
    let number = |number: usize| count(number as i64);
    let mut line = format!("{} messages", number(letters));
    let subjects = [(orders, "orders"), (skus, "skus")].into_iter().filter(|(subjects, _)| *subjects > 0);
    for (word, (subjects, name)) in [" of", " and"].into_iter().zip(subjects) {
        line.push_str(&format!("{word} {} {name}", number(subjects)));
    }
    match verb {
        Verb::Discard => output.line(&format!("{line} would be given up")),
        Verb::Redrive => output.line(&format!("{line}; {} would fail again", number(fail))),
    }
    for (letters, why) in unreadable.values() {
        let why = format!("{} {} {}", why.code, why.pointer, why.detail);
        output.line(&format!("  {:>6}  {}", number(*letters), output.paint(Tone::Bad, &why)));
    }
    if verb == Verb::Redrive && letters > fail {
        let text = "{} can be read; whether the state of what they are about allows them now, only their owners know";
        output.line(&text.replace("{}", &number(letters - fail)));
    }
    Ok(Exit::Done.into())
}

/// Letter by letter, a few at a time, so that a few values are in memory at once.
async fn unreadable(selection: &Selection, place: &Place) -> anyhow::Result<Unreadable> {
    let client = service::client()?;
    let url = |id: Uuid| format!("{}/dead-letters/{id}", place.projector);
    let asked = selection.letters.iter().map(|letter| {
        let (client, url) = (client.clone(), url(letter.id));
        async move { service::get_with::<Whole>(&client, &url).await }
    });
    let mut found = stream::iter(asked).buffer_unordered(LANES);
    let mut unreadable = Unreadable::new();
    while let Some(whole) = found.next().await {
        let Some(why) = why(whole?)? else { continue };
        unreadable.entry(why.code).or_insert_with(|| (0, why)).0 += 1;
    }
    Ok(unreadable)
}

fn why(whole: Whole) -> anyhow::Result<Option<Malformed>> {
    let Some(topic) = Topic::parse(&whole.topic) else {
        return Ok(Some(Malformed::new("unknown-topic", "it is of a topic that the contract does not have")));
    };
    let bytes = |text: Option<String>| -> anyhow::Result<Option<Bytes>> {
        let decoded = text.map(|text| STANDARD.decode(text)).transpose();
        Ok(decoded
            .map_err(|_| ended(Exit::Failed, "the projector answered what is not base64"))?
            .map(Bytes::from))
    };
    let headers: anyhow::Result<Vec<_>> = whole
        .headers
        .into_iter()
        .map(|header| Ok((Headers::name(&header.name), bytes(header.value_base64)?)))
        .collect();
    let raw = Raw {
        topic,
        partition: whole.partition,
        offset: whole.offset,
        key: bytes(whole.key_base64)?,
        value: bytes(whole.value_base64)?,
        headers: Headers::Readable(headers?),
        timestamp_ms: 0,
    };
    Ok(readable::check(&raw).err())
}
