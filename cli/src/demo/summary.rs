//! How the stories ended, and what to try next with what is there now.

use serde::Serialize;

use super::Told;
use crate::{
    audit::Violation,
    output::{Column, Output, Tone, duration, short},
    place::Place,
};

#[derive(Serialize)]
pub(super) struct ToldObject<'a> {
    story: &'a str,
    order_id: Option<&'a str>,
    end: &'a str,
    took_ms: u64,
    wrong: &'a [String],
}

impl Told {
    pub(super) fn object(&self) -> ToldObject<'_> {
        ToldObject {
            story: &self.title,
            order_id: self.order_id.as_deref(),
            end: &self.end,
            took_ms: self.took.as_millis() as u64,
            wrong: &self.wrong,
        }
    }
}

pub(super) fn show(
    told: &[Told],
    violations: Option<&[Violation]>,
    place: &Place,
    output: Output,
) -> anyhow::Result<()> {
    if output.json {
        return violations.unwrap_or_default().iter().try_for_each(|violation| output.object(violation));
    }
    output.line("");
    let rows = told.iter().map(|told| {
        let (sign, tone) = if told.wrong.is_empty() { ("ok", Tone::Good) } else { ("WRONG", Tone::Bad) };
        let order = told.order_id.as_deref().unwrap_or_default();
        vec![
            output.paint(tone, sign),
            told.title.clone(),
            output.paint(Tone::of(order), short(order)),
            told.end.clone(),
            duration(told.took),
        ]
    });
    let columns = [
        Column::Left(""),
        Column::Left("STORY"),
        Column::Left("ORDER"),
        Column::Left("END"),
        Column::Right("TOOK"),
    ];
    output.table(&columns, rows.collect());
    match violations {
        None => {}
        Some([]) => output
            .line(&output.paint(Tone::Good, "Everything adds up: stock, money, logs, topics, dead letters.")),
        Some(violations) => {
            for violation in violations {
                let text =
                    format!("invariant {}: {}: {}", violation.invariant, violation.subject, violation.detail);
                output.line(&output.paint(Tone::Bad, &text));
            }
        }
    }
    next(told, place, output);
    Ok(())
}

fn next(told: &[Told], place: &Place, output: Output) {
    let order = told.iter().find_map(|told| told.order_id.clone()).unwrap_or_default();
    let new = crate::event::random_id();
    let brokers = &place.broker.bootstrap_servers;
    let seed = format!(
        r#"{{"type":"fulfil.order.created.v1","data":{{"order_id":"{new}","user_id":"u1","product_id":"SKU-1","quantity":2}}}}"#
    );
    let body =
        r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":2,"unit_price_minor":1999}],"currency":"EUR"}"#;
    let lines = [
        ("Watch everything as it happens", "fulfil topic watch".to_owned()),
        ("One order over all topics", format!("fulfil topic watch --order {order}")),
        ("Its story, with causes", format!("fulfil order timeline {order}")),
        (
            "An order of your own",
            "fulfil order create --sku SKU-1 --quantity 2 --price 19.99EUR --wait completed,settled"
                .to_owned(),
        ),
        (
            "The same over HTTP",
            format!("curl -s {}/orders -H 'content-type: application/json' -d '{body}'", place.order_service),
        ),
        (
            "The same from any Kafka client",
            format!(
                "echo '{seed}' | kcat -P -b {brokers} -t orders.events -k {new} -X topic.partitioner=murmur2_random"
            ),
        ),
        (
            "A thousand of them, some twice, in disorder",
            "fulfil event send order.create -n 1000 --duplicate 20% --shuffle".to_owned(),
        ),
        ("Twelve that nobody can read", "fulfil event send order.create --bad -n 12".to_owned()),
        ("What became of those", "fulfil dlq list".to_owned()),
        ("Does everything still add up", "fulfil doctor --audit".to_owned()),
    ];
    output.line("");
    output.line(&output.paint(Tone::Bold, "Try next"));
    for (what, command) in lines {
        output.line(&output.paint(Tone::Dim, &format!("  # {what}")));
        output.line(&format!("  {command}"));
    }
}
