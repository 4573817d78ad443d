//! Whether orders end as is expected of them: heard on `orders.events`, told one by one.

use std::time::{Duration, Instant};

use serde::Serialize;
use shared::contract::ids::OrderId;

use super::scenario::Expected;
use crate::{
    exit::Exit,
    order::{Following, Outcome, Status},
    output::{Output, Tone, count, duration, short},
    place::Place,
};

/// Opened before anything is sent, so that nothing comes unheard.
pub(super) struct Expectations {
    orders: Vec<Expected>,
    following: Following,
}

#[derive(Serialize)]
struct OrderObject<'a> {
    order_id: OrderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    expected: Vec<&'a str>,
    /// Null where nothing was heard of it.
    status: Option<&'a str>,
    reason: Option<String>,
    /// `expected`, `otherwise` or `waited`.
    outcome: &'a str,
}

impl Expectations {
    pub(super) async fn open(orders: Vec<Expected>, place: &Place) -> anyhow::Result<Self> {
        Ok(Self { orders, following: Following::open(place).await? })
    }

    /// Waits for all of them, at most so long together. On a terminal only those that differ are named.
    pub(super) async fn wait(mut self, within: Duration, output: Output) -> anyhow::Result<Exit> {
        let begun = Instant::now();
        let (mut otherwise, mut waited) = (0, 0);
        for expected in &self.orders {
            let left = within.saturating_sub(begun.elapsed());
            let outcome = self.following.until(expected.order_id, &expected.statuses, left).await?;
            match outcome {
                Outcome::Reached(_) => {}
                Outcome::Otherwise(_) => otherwise += 1,
                Outcome::Waited(_) => waited += 1,
            }
            tell(expected, &outcome, output)?;
        }
        let (all, took) = (self.orders.len(), begun.elapsed());
        let as_expected = all - otherwise - waited;
        let text = format!(
            "{} of {} orders as expected, {} otherwise, {} not within the time, in {}",
            count(as_expected as i64),
            count(all as i64),
            count(otherwise as i64),
            count(waited as i64),
            duration(took)
        );
        output.note_toned(if as_expected == all { Tone::Good } else { Tone::Bad }, &text);
        Ok(match (otherwise, waited) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Waited,
            _ => Exit::Refused,
        })
    }
}

fn tell(expected: &Expected, outcome: &Outcome, output: Output) -> anyhow::Result<()> {
    let (known, word) = match outcome {
        Outcome::Reached(known) => (known, "expected"),
        Outcome::Otherwise(known) => (known, "otherwise"),
        Outcome::Waited(known) => (known, "waited"),
    };
    let (status, reason) = (known.status.map(Status::as_str), known.reason());
    let wanted: Vec<_> = expected.statuses.iter().map(|status| status.as_str()).collect();
    if output.json {
        return output.object(&OrderObject {
            order_id: expected.order_id,
            name: expected.name.as_deref(),
            expected: wanted,
            status,
            reason,
            outcome: word,
        });
    }
    let is_expected = matches!(outcome, Outcome::Reached(_));
    if is_expected && output.terminal {
        return Ok(());
    }
    let id = expected.order_id.to_string();
    let shown = if output.terminal { short(&id) } else { &id };
    let name = expected.name.as_deref().map(|name| format!("  {name}")).unwrap_or_default();
    let status = match status {
        Some(status) => {
            output.paint(if is_expected { Tone::Good } else { Tone::Bad }, &status.to_uppercase())
        }
        None => output.paint(Tone::Bad, "nothing was heard of it"),
    };
    let reason = reason.map(|reason| format!("  {}", reason.replace('_', " "))).unwrap_or_default();
    let wanted = match outcome {
        Outcome::Reached(_) => String::new(),
        Outcome::Otherwise(_) => format!("  expected {}", wanted.join(" or ")),
        Outcome::Waited(_) => format!("  still expected {}", wanted.join(" or ")),
    };
    output.line(&format!("{}{name}  {status}{reason}{wanted}", output.paint(Tone::of(&id), shown)));
    Ok(())
}
