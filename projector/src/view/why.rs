//! Why an order is as it is. What went wrong on its way and was got over is told in its story, and is no reason.

use shared::contract::{catalogue::label, order::CancelReason, topics::Topic};

use super::{
    order::{Cancellation, OrderRow, Stage},
    timeline::Told,
};

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Why<'a> {
    /// What order-service says, which losses are counted by, too.
    pub cancellation: Option<&'a Cancellation>,
    /// What another service told that it came of.
    pub cause: Option<&'a Told>,
}

const CANCELLED: &str = "order.cancelled";
const OUTCOME_UNKNOWN: &str = "payment.outcome-unknown";
/// An order is cancelled for one of them as soon as order-service hears it.
const REFUSALS: [&str; 3] = ["stock.rejected", "payment.declined", "payment.capture-failed"];

/// Nothing where all goes well, or did.
pub fn why<'a>(row: &'a OrderRow, story: &'a [Told]) -> Why<'a> {
    let Some(order) = &row.order.state else { return Why::default() };
    let cause = match &order.stage {
        Stage::Created | Stage::Confirmed { .. } => refusal(story).or_else(|| silence(story)),
        Stage::Cancelled { cancellation, .. } | Stage::Settled { cancellation, .. } => {
            cause_of(cancellation, story)
        }
        Stage::Completed { .. } => None,
    };
    Why { cancellation: order.stage.cancellation(), cause }
}

/// The deadline is nobody's event: it passed because something was awaited, such as the provider's answer.
fn cause_of<'a>(cancellation: &Cancellation, story: &'a [Told]) -> Option<&'a Told> {
    let at = story.iter().position(|told| is(told, CANCELLED))?;
    if cancellation.reason == CancelReason::Deadline {
        return silence(&story[..at]);
    }
    let cause = story[at].entry.cause?;
    story.iter().find(|told| told.entry.event_id == cause && told.entry.topic != Topic::OrdersEvents)
}

fn refusal(story: &[Told]) -> Option<&Told> {
    story.iter().rfind(|told| REFUSALS.iter().any(|refusal| is(told, refusal)))
}

/// Of the provider, where no answer has come since.
fn silence(story: &[Told]) -> Option<&Told> {
    let newest = story.iter().rfind(|told| told.entry.topic == Topic::PaymentsEvents);
    newest.filter(|told| is(told, OUTCOME_UNKNOWN))
}

fn is(told: &Told, name: &str) -> bool {
    label(&told.entry.event_type) == name
}
