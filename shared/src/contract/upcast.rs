//! Upcasters: an old version of a payload read as the next one. They chain, and they apply wherever a copy can
//! wait: in the log, on a topic, in a dead letter, in a hold.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Malformed,
    ids::{OrderId, Sku, UserId},
    limits::QUANTITY_MAX,
    message::{parse, write},
    money::{Currency, Money},
    order::{CreateOrder, Line, check_quantity},
};

/// One step: the type it reads, the type it makes, and how.
struct Upcaster {
    from: &'static str,
    to: &'static str,
    cast: fn(&str) -> Result<String, Malformed>,
}

const UPCASTERS: &[Upcaster] = &[
    Upcaster { from: "fulfil.order.created.v1", to: "fulfil.order.created.v2", cast: order_v1 },
    Upcaster { from: "fulfil.order.create.v1", to: "fulfil.order.create.v2", cast: order_v1 },
];

/// The old types, each with the one that follows it.
pub fn steps() -> impl Iterator<Item = (&'static str, &'static str)> {
    UPCASTERS.iter().map(|step| (step.from, step.to))
}

/// The newest version of a type; a type without an upcaster is its own.
pub fn newest_type(message_type: &str) -> &str {
    match UPCASTERS.iter().find(|step| step.from == message_type) {
        Some(step) => newest_type(step.to),
        None => message_type,
    }
}

/// Type and data in the newest version.
pub fn newest<'a>(message_type: &'a str, data: &'a str) -> Result<(&'a str, Cow<'a, str>), Malformed> {
    let mut newest = (message_type, Cow::Borrowed(data));
    while let Some(step) = UPCASTERS.iter().find(|step| step.from == newest.0) {
        newest = (step.to, Cow::Owned((step.cast)(&newest.1)?));
    }
    Ok(newest)
}

/// The first shape of an order: one line, and a price was not known then.
#[derive(Deserialize, schemars::JsonSchema)]
pub(crate) struct OrderV1 {
    order_id: OrderId,
    user_id: UserId,
    product_id: Sku,
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    quantity: i64,
}

fn order_v1(data: &str) -> Result<String, Malformed> {
    let old: OrderV1 = parse(data)?;
    // Here, where the field still has its name.
    check_quantity("/quantity", old.quantity)?;
    let line = Line { sku: old.product_id, quantity: old.quantity, unit_price_minor: 0 };
    // Both messages have one shape in v1 and one in v2.
    Ok(write(&CreateOrder {
        order_id: old.order_id,
        user_id: old.user_id,
        lines: vec![line],
        amount: Money::new(0, Currency::EUR),
        deadline_at: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::message::Message;

    #[test]
    fn the_first_shape_of_an_order_reads_as_one_line_without_a_price() {
        let data = r#"{"order_id":"0198f3c2-0000-7000-8000-000000000001","user_id":"u1","product_id":"SKU-1","quantity":2}"#;
        let Some(Ok(Message::Order(event))) = Message::decode("fulfil.order.created.v1", data) else {
            panic!("not an order event")
        };
        let crate::contract::order::OrderEvent::Created(created) = event else { panic!("not created") };
        assert_eq!(created.lines.len(), 1);
        assert_eq!(created.amount, Money::new(0, Currency::EUR));
    }

    #[test]
    fn a_bad_quantity_in_an_old_version_is_malformed_not_unknown() {
        let data = r#"{"order_id":"0198f3c2-0000-7000-8000-000000000001","user_id":"u1","product_id":"SKU-1","quantity":0}"#;
        assert!(matches!(Message::decode("fulfil.order.create.v1", data), Some(Err(_))));
        let data = r#"{"order_id":"0198f3c2-0000-7000-8000-000000000001","user_id":"u1","product_id":"SKU-1","quantity":1.0}"#;
        assert!(matches!(Message::decode("fulfil.order.create.v1", data), Some(Err(_))));
    }
}
