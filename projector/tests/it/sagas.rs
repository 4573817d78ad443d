//! Sagas as the three services publish them, and the ways in which a broker may deliver them: order is kept per
//! topic and key, everything else is shuffled, and any stretch can come again.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shared::contract::{
    Timestamp,
    envelope::{Headers, Outgoing, Part, Raw, Recorded},
    ids::{OrderId, Sku, StreamName, UserId, named},
    message::Event,
    money::{Currency, Money},
    order::*,
    payment::*,
    stock::*,
    topics::{Topic, partition_of},
};
use uuid::Uuid;

pub(crate) const PARTITIONS: i32 = 4;

/// The ways an order can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Completed,
    OutOfStock,
    Declined,
    CancelledBeforeAnything,
    CancelledWhilePaying,
    CaptureFailed,
    CancelledAfterCapture,
    SilentThenYes,
    SilentThenCancelled(CancelReason),
    /// And silent still.
    Silent,
    Open,
}

/// Of those, the ones that a world by seed is made of.
pub(crate) const PATHS: [Path; 9] = [
    Path::Completed,
    Path::OutOfStock,
    Path::Declined,
    Path::CancelledBeforeAnything,
    Path::CancelledWhilePaying,
    Path::CaptureFailed,
    Path::CancelledAfterCapture,
    Path::SilentThenYes,
    Path::Open,
];

/// What the services published, per topic and key in order.
#[derive(Default)]
pub(crate) struct World {
    published: BTreeMap<(Topic, Bytes), Vec<Outgoing>>,
    positions: HashMap<&'static str, i64>,
    versions: HashMap<StreamName, i64>,
    levels: HashMap<Sku, (i64, i64)>,
    clock_ms: i64,
}

/// A world of orders over a few skus, chosen by the seed.
pub(crate) fn world(seed: u64, orders: usize) -> (World, Vec<(OrderId, Path)>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World { clock_ms: 1_700_000_000_000, ..World::default() };
    let skus: Vec<Sku> = (1..=3).map(|number| format!("SKU-{number}").parse().unwrap()).collect();
    for sku in &skus {
        world.receive(sku, 1_000);
    }
    let orders = (0..orders)
        .map(|number| {
            let id = OrderId::new(named(&["order", &seed.to_string(), &number.to_string()])).unwrap();
            let path = *PATHS.choose(&mut rng).unwrap();
            let lines = rng.random_range(1..=skus.len());
            world.order(id, path, &skus[..lines], rng.random_range(1..5));
            (id, path)
        })
        .collect();
    (world, orders)
}

impl World {
    fn receive(&mut self, sku: &Sku, quantity: i64) {
        let cause = named(&["receipt", sku.as_str()]);
        self.move_stock(sku, quantity, 0, cause, |sku, on_hand, reserved| {
            let reference = Some("first".to_owned());
            let reason = ReceivedReason::Receipt;
            StockReceived { sku, delta: quantity, on_hand, reserved, reason, reference, order_id: None }
                .into()
        });
    }

    /// Plays one order down its path.
    pub(crate) fn order(&mut self, order_id: OrderId, path: Path, skus: &[Sku], quantity: i64) {
        let lines: Vec<Line> =
            skus.iter().map(|sku| Line { sku: sku.clone(), quantity, unit_price_minor: 250 }).collect();
        let stock: Vec<StockLine> = skus.iter().map(|sku| StockLine { sku: sku.clone(), quantity }).collect();
        let amount = Money::new(sum_minor(&lines).unwrap(), Currency::EUR);
        let user_id: UserId = format!("user-{}", order_id.uuid().as_u128() % 3).parse().unwrap();
        let deadline_at = Timestamp::from_timestamp_millis(self.clock_ms + 900_000);
        let command = named(&["command", &order_id.to_string()]);
        let created = self.order_event(
            order_id,
            command,
            OrderCreated { order_id, user_id, lines, amount, deadline_at, deadline_given: false },
        );
        if path == Path::CancelledBeforeAnything {
            let cancelled = self.cancelled(order_id, command, CancelReason::Customer, CancelStage::Created);
            let released =
                self.reservation_event(order_id, cancelled, StockReleased { order_id, lines: vec![] });
            let abandoned = self.payment_event(order_id, cancelled, PaymentAbandoned { order_id });
            return self.settled(order_id, released, Step::StockReturned, abandoned);
        }
        if path == Path::OutOfStock {
            let shortages = vec![Shortage { sku: skus[0].clone(), requested: quantity, available: 0 }];
            let rejected = self.reservation_event(order_id, created, StockRejected { order_id, shortages });
            let cancelled =
                self.cancelled(order_id, rejected, CancelReason::OutOfStock, CancelStage::Created);
            let abandoned = self.payment_event(order_id, cancelled, PaymentAbandoned { order_id });
            self.order_event(order_id, abandoned, OrderSettled { order_id });
            return;
        }
        let reserved = self.reservation_event(
            order_id,
            created,
            StockReserved { order_id, lines: stock.clone(), amount },
        );
        self.allocate(order_id, created, &stock);
        let requested = self.payment_event(order_id, reserved, PaymentRequested { order_id, amount });
        if path == Path::Open {
            return;
        }
        if path == Path::Declined {
            let code = "insufficient-funds".to_owned();
            let declined = self.payment_event(order_id, requested, PaymentDeclined { order_id, code });
            let cancelled =
                self.cancelled(order_id, declined, CancelReason::PaymentDeclined, CancelStage::Created);
            let released =
                self.reservation_event(order_id, cancelled, StockReleased { order_id, lines: stock.clone() });
            self.deallocate(order_id, cancelled, &stock);
            self.order_event(order_id, released, OrderSettled { order_id });
            return;
        }
        if matches!(path, Path::SilentThenYes | Path::SilentThenCancelled(_) | Path::Silent) {
            let operation = Operation::Authorize;
            self.payment_event(
                order_id,
                requested,
                PaymentOutcomeUnknown { order_id, operation, attempt: 1 },
            );
        }
        if path == Path::Silent {
            return;
        }
        if let Path::CancelledWhilePaying | Path::SilentThenCancelled(_) = path {
            let reason = match path {
                Path::SilentThenCancelled(reason) => reason,
                _ => CancelReason::Customer,
            };
            let cancelled = self.cancelled(order_id, command, reason, CancelStage::Created);
            let released =
                self.reservation_event(order_id, cancelled, StockReleased { order_id, lines: stock.clone() });
            self.deallocate(order_id, cancelled, &stock);
            self.reversal(order_id, cancelled, Operation::Authorize);
            let reversal = self.reversal(order_id, requested, Operation::Void);
            let voided = self.payment_event(order_id, reversal, PaymentVoided { order_id });
            return self.settled(order_id, released, Step::StockReturned, voided);
        }
        let authorized = self.payment_event(order_id, requested, PaymentAuthorized { order_id });
        let confirmed = self.order_event(order_id, authorized, OrderConfirmed { order_id });
        let committed = self.reservation_event(order_id, confirmed, StockCommitted { order_id });
        self.ship(order_id, confirmed, &stock);
        self.payment_event(order_id, confirmed, PaymentCaptureRequested { order_id });
        if path == Path::CaptureFailed {
            let code = "expired".to_owned();
            let failed = self.payment_event(order_id, confirmed, PaymentCaptureFailed { order_id, code });
            let cancelled =
                self.cancelled(order_id, failed, CancelReason::CaptureFailed, CancelStage::Confirmed);
            self.reversal(order_id, cancelled, Operation::Void);
            let voided = self.payment_event(order_id, cancelled, PaymentVoided { order_id });
            let restocked = self.restock(order_id, cancelled, &stock);
            return self.settled(order_id, voided, Step::PaymentReturned, restocked);
        }
        let captured = self.payment_event(order_id, confirmed, PaymentCaptured { order_id });
        if path == Path::CancelledAfterCapture {
            let cancelled = self.cancelled(order_id, command, CancelReason::Operator, CancelStage::Confirmed);
            let restocked = self.restock(order_id, cancelled, &stock);
            self.reversal(order_id, cancelled, Operation::Refund);
            let refunded = self.payment_event(order_id, cancelled, PaymentRefunded { order_id });
            return self.settled(order_id, restocked, Step::StockReturned, refunded);
        }
        let step = Step::StockCommitted;
        self.order_event(order_id, committed, OrderProgressed { order_id, step });
        self.order_event(order_id, captured, OrderCompleted { order_id });
    }

    fn cancelled(
        &mut self,
        order_id: OrderId,
        cause: Uuid,
        reason: CancelReason,
        stage: CancelStage,
    ) -> Uuid {
        let by = match reason {
            CancelReason::Customer => CancelledBy::Customer,
            CancelReason::Operator => CancelledBy::Operator,
            _ => CancelledBy::System,
        };
        self.order_event(order_id, cause, OrderCancelled { order_id, reason, by, note: None, stage })
    }

    fn settled(&mut self, order_id: OrderId, first: Uuid, step: Step, second: Uuid) {
        self.order_event(order_id, first, OrderProgressed { order_id, step });
        self.order_event(order_id, second, OrderSettled { order_id });
    }

    fn reversal(&mut self, order_id: OrderId, cause: Uuid, awaits: Operation) -> Uuid {
        self.payment_event(order_id, cause, PaymentReversalRequested { order_id, awaits })
    }

    fn restock(&mut self, order_id: OrderId, cause: Uuid, lines: &[StockLine]) -> Uuid {
        let restocked =
            self.reservation_event(order_id, cause, StockRestocked { order_id, lines: lines.to_vec() });
        for line in lines {
            let delta = line.quantity;
            self.move_stock(&line.sku, delta, 0, cause, |sku, on_hand, reserved| {
                let reason = ReceivedReason::Restock;
                let order_id = Some(order_id);
                StockReceived { sku, delta, on_hand, reserved, reason, reference: None, order_id }.into()
            });
        }
        restocked
    }

    fn allocate(&mut self, order_id: OrderId, cause: Uuid, lines: &[StockLine]) {
        for line in lines {
            let delta = line.quantity;
            self.move_stock(&line.sku, 0, delta, cause, |sku, on_hand, reserved| {
                StockAllocated { sku, order_id, delta, on_hand, reserved }.into()
            });
        }
    }

    fn deallocate(&mut self, order_id: OrderId, cause: Uuid, lines: &[StockLine]) {
        for line in lines {
            let delta = -line.quantity;
            self.move_stock(&line.sku, 0, delta, cause, |sku, on_hand, reserved| {
                StockDeallocated { sku, order_id, delta, on_hand, reserved }.into()
            });
        }
    }

    fn ship(&mut self, order_id: OrderId, cause: Uuid, lines: &[StockLine]) {
        for line in lines {
            let delta = -line.quantity;
            self.move_stock(&line.sku, delta, delta, cause, |sku, on_hand, reserved| {
                StockShipped { sku, order_id, delta, on_hand, reserved }.into()
            });
        }
    }

    fn move_stock(
        &mut self,
        sku: &Sku,
        on_hand_delta: i64,
        reserved_delta: i64,
        cause: Uuid,
        event: impl FnOnce(Sku, i64, i64) -> StockEvent,
    ) {
        let levels = self.levels.entry(sku.clone()).or_default();
        *levels = (levels.0 + on_hand_delta, levels.1 + reserved_delta);
        let (on_hand, reserved) = *levels;
        self.publish(
            "inventory-service",
            StreamName::stock(sku),
            cause,
            &event(sku.clone(), on_hand, reserved),
        );
    }

    fn order_event(&mut self, id: OrderId, cause: Uuid, event: impl Into<OrderEvent>) -> Uuid {
        self.publish("order-service", StreamName::order(id), cause, &event.into())
    }

    fn reservation_event(&mut self, id: OrderId, cause: Uuid, event: impl Into<ReservationEvent>) -> Uuid {
        self.publish("inventory-service", StreamName::reservation(id), cause, &event.into())
    }

    fn payment_event(&mut self, id: OrderId, cause: Uuid, event: impl Into<PaymentEvent>) -> Uuid {
        self.publish("payment-service", StreamName::payment(id), cause, &event.into())
    }

    fn publish<E: Event>(
        &mut self,
        service: &'static str,
        stream: StreamName,
        cause: Uuid,
        event: &E,
    ) -> Uuid {
        let position = self.positions.entry(service).or_default();
        *position += 1;
        let position = *position;
        let version = self.versions.entry(stream.clone()).or_default();
        *version += 1;
        self.clock_ms += 7;
        let event_id = named(&["event", service, &position.to_string(), stream.as_str()]);
        let recorded = Recorded {
            position,
            version: *version,
            stream,
            event_id,
            event_type: event.event_type().to_owned(),
            data: event.data(),
            decision: Part { index: 1, count: 1 },
            correlation_id: cause,
            causation_id: cause,
            traceparent: None,
            recorded_at: Timestamp::from_timestamp_millis(self.clock_ms).unwrap(),
        };
        let outgoing = recorded.encode(service).unwrap();
        self.published.entry((outgoing.topic, outgoing.key.clone())).or_default().push(outgoing);
        event_id
    }

    /// Nothing happens for so long.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.clock_ms += ms;
    }

    /// Puts something on a topic that no service wrote, behind what is there for its key.
    pub(crate) fn plant(&mut self, outgoing: Outgoing) {
        self.published.entry((outgoing.topic, outgoing.key.clone())).or_default().push(outgoing);
    }

    /// Every message once, key by key.
    pub(crate) fn in_order(&self) -> Vec<Raw> {
        place(self.published.values().flatten().cloned())
    }

    /// Every message at least once. `repeats` are stretches that come again from some point on, as after a
    /// restart of a relay: first appearances stay in order.
    pub(crate) fn with_repeats(&self, rng: &mut StdRng) -> Vec<Vec<Outgoing>> {
        self.published
            .values()
            .map(|queue| {
                let mut sent = Vec::new();
                let mut next = 0;
                while next < queue.len() {
                    sent.push(queue[next].clone());
                    next += 1;
                    if rng.random_bool(0.15) {
                        next -= rng.random_range(0..next.min(4) + 1).min(next);
                    }
                }
                sent
            })
            .collect()
    }
}

/// One of the orders in which a broker may deliver queues, each of which keeps its own.
pub(crate) fn interleave(queues: &[Vec<Outgoing>], rng: &mut StdRng) -> Vec<Raw> {
    let mut rest: Vec<std::slice::Iter<'_, Outgoing>> = queues.iter().map(|queue| queue.iter()).collect();
    let mut merged = Vec::new();
    while !rest.is_empty() {
        let chosen = rng.random_range(0..rest.len());
        // Runs of random length, so that whole sources come long before others.
        for _ in 0..rng.random_range(1..6) {
            match rest[chosen].next() {
                Some(message) => merged.push(message.clone()),
                None => {
                    drop(rest.swap_remove(chosen));
                    break;
                }
            }
        }
    }
    place(merged)
}

/// As a consumer gets them: each at the next offset of its partition.
pub(crate) fn place(messages: impl IntoIterator<Item = Outgoing>) -> Vec<Raw> {
    let mut offsets: HashMap<(Topic, i32), i64> = HashMap::new();
    messages
        .into_iter()
        .map(|message| {
            let partition = partition_of(&message.key, PARTITIONS);
            let offset = offsets.entry((message.topic, partition)).or_default();
            *offset += 1;
            Raw {
                topic: message.topic,
                partition,
                offset: *offset - 1,
                key: Some(message.key),
                value: message.value,
                headers: Headers::Readable(message.headers),
                timestamp_ms: 1_700_000_000_000,
            }
        })
        .collect()
}
