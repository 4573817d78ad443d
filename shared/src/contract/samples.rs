//! One whole message of every version, as it stands on its topic: what the tests decode for ever, and what
//! `fulfil event new` starts from. A committed sample is never edited.

macro_rules! samples {
    ($($name:literal,)+) => {
        &[$((concat!("fulfil.", $name), include_str!(concat!("../../samples/", $name, ".json"))),)+]
    };
}

/// Type and structured CloudEvent, in the order of [`super::catalogue::entries`].
pub const SAMPLES: &[(&str, &str)] = samples![
    "order.create.v1",
    "order.create.v2",
    "order.cancel.v1",
    "order.created.v1",
    "order.created.v2",
    "order.confirmed.v1",
    "order.progressed.v1",
    "order.completed.v1",
    "order.cancelled.v1",
    "order.settled.v1",
    "order.cancellation-rejected.v1",
    "stock.receive.v1",
    "stock.adjust.v1",
    "stock.reserved.v1",
    "stock.rejected.v1",
    "stock.committed.v1",
    "stock.released.v1",
    "stock.restocked.v1",
    "stock.received.v1",
    "stock.adjusted.v1",
    "stock.allocated.v1",
    "stock.deallocated.v1",
    "stock.shipped.v1",
    "payment.requested.v1",
    "payment.authorized.v1",
    "payment.declined.v1",
    "payment.capture-requested.v1",
    "payment.captured.v1",
    "payment.capture-failed.v1",
    "payment.reversal-requested.v1",
    "payment.voided.v1",
    "payment.refunded.v1",
    "payment.abandoned.v1",
    "payment.outcome-unknown.v1",
    "dead-letter.redrive.v1",
    "dead-letter.discard.v1",
];

/// The sample of a type, of any version.
pub fn sample(message_type: &str) -> Option<&'static str> {
    SAMPLES.iter().find(|(name, _)| *name == message_type).map(|(_, sample)| *sample)
}
