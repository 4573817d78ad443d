//! `make bench-micro`: what the way of a message through a service costs without the database and the broker, in four
//! stages, each for a message that every order sends that way: CreateOrder to order-service, OrderCreated to
//! inventory-service, StockReserved to payment-service.
//!
//! What is measured is the product's own code and no copy of it. Not here: copying a message out of the Kafka client
//! and handing one to it, which nothing but a client can give or take, and reading answers of Postgres.

mod decode;
mod decide;
mod columns;
mod encode;
mod measure;
mod sample;
mod service;

use inventory_service::Inventory;
use order_service::Orders;
use payment_service::Payments;
use shared::decider::Decider;

use measure::Measure;
use sample::Sample;
use service::Hop;

/// In the order in which a message passes through them.
fn main() {
    let mut measure = Measure::of_arguments();
    let create = Sample::of("fulfil.order.create.v2");
    stages(&mut measure, &Hop { decider: Orders::default(), heard: Vec::new(), sample: create, events: 1 });
    let (heard, created) = (service::stock(), Sample::of("fulfil.order.created.v2"));
    stages(&mut measure, &Hop { decider: Inventory, heard, sample: created, events: 2 });
    let reserved = Sample::of("fulfil.stock.reserved.v1");
    stages(
        &mut measure,
        &Hop { decider: Payments::default(), heard: Vec::new(), sample: reserved, events: 1 },
    );
    measure.end();
}

fn stages<D: Decider + Clone>(measure: &mut Measure, hop: &Hop<D>) {
    decode::measure(measure, hop);
    decide::measure(measure, hop);
    columns::measure(measure, hop);
    encode::measure(measure, hop);
}
