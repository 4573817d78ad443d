//! The invariants that hold at every moment, followed live: whoever calls [`Conservation::follow`] each second reads
//! only what was appended since. The whole audit comes at the end; this says in which second it broke.
//!
//! What spans databases is left to the audit: they are read one after the other.

use std::collections::{BTreeSet, HashMap};

use anyhow::Context;
use shared::{
    contract::{
        envelope::Recorded,
        ids::{OrderId, Sku, StreamName},
        message::Message,
        order::OrderEvent,
        payment::{Operation, PaymentEvent},
        stock::{ReservationEvent, StockEvent, StockLine},
    },
    log,
};
use sqlx::Connection;

use super::{Violation, violation};

const PAGE_EVENTS: i64 = 10_000;

/// What was read so far of the logs. Memory grows with orders and skus, not with time.
#[derive(Debug, Default)]
pub struct Conservation {
    /// The last position of each service.
    positions: HashMap<String, i64>,
    versions: HashMap<StreamName, i64>,
    /// On hand and reserved.
    levels: HashMap<Sku, (i64, i64)>,
    /// What reservations hold now, by order and in sum.
    reservations: HashMap<OrderId, Vec<StockLine>>,
    held: HashMap<Sku, i64>,
    /// Skus of which something was read since they were last compared with what is held.
    touched: BTreeSet<Sku>,
    orders: HashMap<OrderId, Fate>,
    /// Whether money of a payment is with us.
    taken: HashMap<OrderId, bool>,
    found: Vec<Violation>,
}

#[derive(Debug, Default)]
struct Fate {
    completed: bool,
    cancelled: bool,
}

impl Conservation {
    /// Reads on from where the last call ended, service by service; what is wrong is added to [`Self::found`]. A
    /// database that is away is an error and nothing is lost by it: the next call goes on there.
    pub async fn follow(&mut self, databases: &[(String, String)]) -> anyhow::Result<()> {
        for (service, url) in databases {
            self.follow_one(service, url).await.with_context(|| format!("the database of {service}"))?;
        }
        Ok(())
    }

    /// Everything that was wrong so far, in the order in which it was read.
    pub fn found(&self) -> &[Violation] {
        &self.found
    }

    /// How many events were read.
    pub fn events(&self) -> i64 {
        self.positions.values().sum()
    }

    async fn follow_one(&mut self, service: &str, url: &str) -> anyhow::Result<()> {
        let mut connection = log::connect::connect(url, "fulfil audit").await?;
        // Before the events: what is appended meanwhile can only make the log longer.
        let end = log::end(&mut connection).await?;
        self.end(service, end);
        loop {
            let after = self.positions.get(service).copied().unwrap_or(0);
            let page = log::tail(&mut connection, after, PAGE_EVENTS).await?;
            let is_last = (page.len() as i64) < PAGE_EVENTS;
            self.take(service, &page);
            if is_last {
                break;
            }
        }
        // Only where the end was reached: a reservation and its stock are appended together.
        self.compare_held();
        connection.close().await?;
        Ok(())
    }

    /// A log never becomes shorter.
    fn end(&mut self, service: &str, end: i64) {
        let known = self.positions.entry(service.to_owned()).or_default();
        if end < *known {
            let detail = format!("its log ends at {end} and had {known} events");
            self.found.push(violation(5, service, detail));
            // Said once; what comes then is new.
            *known = end;
        }
    }

    /// The events after those that were taken before.
    fn take(&mut self, service: &str, events: &[Recorded]) {
        for event in events {
            self.place(service, event);
            let message = match Message::decode(&event.event_type, &event.data) {
                Some(Ok(message)) => message,
                Some(Err(malformed)) => {
                    // Levels out of their bounds are not decoded at all.
                    let is_levels = event.stream.category() == "stock" && malformed.pointer == "/on_hand";
                    let detail = format!("position {} of {service}: {malformed}", event.position);
                    self.found.push(violation(if is_levels { 1 } else { 5 }, &event.stream, detail));
                    continue;
                }
                None => {
                    let detail = format!("position {} of {service} is unknown", event.position);
                    self.found.push(violation(5, &event.stream, detail));
                    continue;
                }
            };
            match message {
                Message::Order(event) => self.order(&event),
                Message::Reservation(event) => self.reservation(event),
                Message::Stock(event) => self.stock(&event),
                Message::Payment(event) => self.payment(&event),
                Message::OrderCommand(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => {}
            }
        }
    }

    /// Positions without a hole, versions without a hole and none twice.
    fn place(&mut self, service: &str, event: &Recorded) {
        let last = self.positions.entry(service.to_owned()).or_default();
        if event.position != *last + 1 {
            let detail = format!("position {} comes after {last}", event.position);
            self.found.push(violation(5, service, detail));
        }
        *last = event.position;
        let version = self.versions.entry(event.stream.clone()).or_default();
        if event.version != *version + 1 {
            let detail = format!("version {} comes after {version}", event.version);
            self.found.push(violation(5, &event.stream, detail));
        }
        *version = event.version;
    }

    fn stock(&mut self, event: &StockEvent) {
        let (on_hand_delta, reserved_delta) = event.deltas();
        let said = event.levels();
        let (on_hand, reserved) = self.levels.insert(event.sku().clone(), said).unwrap_or_default();
        let made = (on_hand + on_hand_delta, reserved + reserved_delta);
        if said != made {
            let detail = format!("{said:?} on hand and reserved, and its history makes {made:?}");
            self.found.push(violation(1, event.sku(), detail));
        }
        self.touched.insert(event.sku().clone());
    }

    fn reservation(&mut self, event: ReservationEvent) {
        let order_id = event.order_id();
        let lines = match event {
            ReservationEvent::Reserved(reserved) => reserved.lines,
            ReservationEvent::Committed(_)
            | ReservationEvent::Rejected(_)
            | ReservationEvent::Released(_)
            | ReservationEvent::Restocked(_) => Vec::new(),
        };
        for line in &lines {
            *self.held.entry(line.sku.clone()).or_default() += line.quantity;
            self.touched.insert(line.sku.clone());
        }
        // An order that holds nothing any more needs no memory.
        let before = if lines.is_empty() {
            self.reservations.remove(&order_id)
        } else {
            self.reservations.insert(order_id, lines)
        };
        for line in before.unwrap_or_default() {
            *self.held.entry(line.sku.clone()).or_default() -= line.quantity;
            self.touched.insert(line.sku);
        }
    }

    fn compare_held(&mut self) {
        for sku in std::mem::take(&mut self.touched) {
            let (_, reserved) = self.levels.get(&sku).copied().unwrap_or_default();
            let held = self.held.get(&sku).copied().unwrap_or_default();
            if reserved != held {
                let detail = format!("{reserved} reserved, but reservations hold {held}");
                self.found.push(violation(1, sku, detail));
            }
        }
    }

    fn order(&mut self, event: &OrderEvent) {
        let fate = self.orders.entry(event.order_id()).or_default();
        let ended = match event {
            OrderEvent::Completed(_) => std::mem::replace(&mut fate.completed, true),
            OrderEvent::Cancelled(_) => std::mem::replace(&mut fate.cancelled, true),
            OrderEvent::Created(_)
            | OrderEvent::Confirmed(_)
            | OrderEvent::Progressed(_)
            | OrderEvent::CancellationRejected(_)
            | OrderEvent::Settled(_) => return,
        };
        let detail = match fate {
            _ if ended => "completed or cancelled a second time",
            Fate { completed: true, cancelled: true } => "completed and cancelled",
            _ => return,
        };
        self.found.push(violation(3, event.order_id(), detail));
    }

    /// Captured less refunded is nothing or the amount. Money that was taken when its order was cancelled is never
    /// captured in our books: the reversal that wants it refunded says that the provider has it.
    fn payment(&mut self, event: &PaymentEvent) {
        let taken = self.taken.entry(event.order_id()).or_default();
        let detail = match event {
            PaymentEvent::Captured(_) => std::mem::replace(taken, true).then_some("captured a second time"),
            PaymentEvent::ReversalRequested(reversal) => {
                *taken = *taken || reversal.awaits == Operation::Refund;
                None
            }
            PaymentEvent::Refunded(_) => {
                (!std::mem::replace(taken, false)).then_some("refunded, and nothing was taken")
            }
            PaymentEvent::Requested(_)
            | PaymentEvent::Authorized(_)
            | PaymentEvent::Declined(_)
            | PaymentEvent::CaptureRequested(_)
            | PaymentEvent::CaptureFailed(_)
            | PaymentEvent::Voided(_)
            | PaymentEvent::Abandoned(_)
            | PaymentEvent::OutcomeUnknown(_) => None,
        };
        self.found.extend(detail.map(|detail| violation(2, event.order_id(), detail)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::{
        ServiceLog,
        tests::{COMPLETED, append, log, merged, stock, world},
    };

    /// Follows these logs to their ends.
    fn followed(logs: &[ServiceLog]) -> Vec<Violation> {
        let mut conservation = Conservation::default();
        for log in logs {
            conservation.take(&log.service, &log.events);
            conservation.compare_held();
        }
        conservation.found
    }

    fn seen(logs: &[ServiceLog], invariant: u8, detail: &str) {
        let found = followed(logs);
        let is_it = |found: &Violation| found.invariant == invariant && found.detail.contains(detail);
        assert!(found.iter().any(is_it), "{detail} is not in {found:#?}");
        assert!(found.iter().all(|found| found.invariant == invariant), "{found:#?}");
    }

    #[test]
    fn a_world_that_is_right_conserves_whether_it_is_read_at_once_or_decision_by_decision() {
        let world = world();
        assert_eq!(followed(&world.services), []);
        let mut conservation = Conservation::default();
        for log in &world.services {
            for event in &log.events {
                conservation.take(&log.service, std::slice::from_ref(event));
            }
            conservation.compare_held();
        }
        assert_eq!(conservation.found(), []);
        let events: usize = world.services.iter().map(|log| log.events.len()).sum();
        assert_eq!(conservation.events(), events as i64);
    }

    #[test]
    fn levels_that_the_deltas_do_not_make_are_seen() {
        let mut inventory = log("inventory-service");
        stock(
            &mut inventory,
            "received",
            json!({"delta": 10, "on_hand": 11, "reserved": 0, "reason": "receipt"}),
        );
        seen(&[inventory], 1, "(11, 0) on hand and reserved, and its history makes (10, 0)");
    }

    #[test]
    fn more_reserved_than_there_is_and_less_than_nothing_are_seen() {
        for (on_hand, reserved) in [(-1, 0), (0, 1), (1, -1)] {
            let mut inventory = log("inventory-service");
            let levels = json!({"delta": on_hand, "on_hand": on_hand, "reserved": reserved});
            stock(&mut inventory, "adjusted", merged(levels, json!({"reason": "r", "reference": "x"})));
            seen(&[inventory], 1, "0 <= reserved <= on_hand");
        }
    }

    #[test]
    fn what_is_reserved_for_nobody_is_seen() {
        let mut inventory = log("inventory-service");
        stock(
            &mut inventory,
            "received",
            json!({"delta": 10, "on_hand": 10, "reserved": 0, "reason": "receipt"}),
        );
        let allocated = json!({"order_id": COMPLETED, "delta": 1, "on_hand": 10, "reserved": 1});
        stock(&mut inventory, "allocated", allocated);
        seen(&[inventory], 1, "1 reserved, but reservations hold 0");
    }

    #[test]
    fn a_hole_in_the_positions_and_a_log_that_became_shorter_are_seen() {
        let mut world = world();
        world.services[0].events.remove(1);
        let hole = followed(&world.services);
        assert!(hole.iter().any(|found| found.detail == "position 3 comes after 1"), "{hole:#?}");
        let mut conservation = Conservation::default();
        conservation.take("payment-service", &world.services[2].events);
        conservation.end("payment-service", 3);
        let [short] = conservation.found() else { panic!("{:#?}", conservation.found()) };
        assert!(short.detail.starts_with("its log ends at 3"), "{short:?}");
    }

    #[test]
    fn a_version_that_comes_twice_is_seen() {
        let mut world = world();
        world.services[2].events[1].version = 1;
        let found = followed(&world.services);
        assert!(found.iter().any(|found| found.detail == "version 1 comes after 1"), "{found:#?}");
        assert!(found.iter().all(|found| found.invariant == 5), "{found:#?}");
    }

    #[test]
    fn an_event_that_cannot_be_read_is_seen() {
        let mut world = world();
        world.services[2].events.last_mut().unwrap().data = "{}".to_owned();
        seen(&world.services, 5, "missing field");
    }

    #[test]
    fn an_order_that_ends_both_ways_or_twice_is_seen() {
        let stream = format!("order-{COMPLETED}");
        let mut both = world();
        let cancelled =
            json!({"order_id": COMPLETED, "reason": "customer", "by": "customer", "stage": "created"});
        append(&mut both.services[0], &stream, "order.cancelled.v1", cancelled);
        seen(&both.services, 3, "completed and cancelled");
        let mut twice = world();
        append(&mut twice.services[0], &stream, "order.completed.v1", json!({"order_id": COMPLETED}));
        seen(&twice.services, 3, "a second time");
    }

    #[test]
    fn money_that_is_taken_twice_or_returned_without_having_been_taken_is_seen() {
        let stream = format!("payment-{COMPLETED}");
        let of = json!({"order_id": COMPLETED});
        let mut twice = world();
        append(&mut twice.services[2], &stream, "payment.captured.v1", of.clone());
        seen(&twice.services, 2, "captured a second time");
        let mut returned = world();
        append(&mut returned.services[2], &stream, "payment.refunded.v1", of.clone());
        assert_eq!(followed(&returned.services), []);
        append(&mut returned.services[2], &stream, "payment.refunded.v1", of);
        seen(&returned.services, 2, "nothing was taken");
    }

    #[test]
    fn money_that_was_taken_after_the_cancel_is_refunded_without_having_been_captured() {
        let mut payment = log("payment-service");
        let stream = format!("payment-{COMPLETED}");
        let reversal = |awaits: &str| json!({"order_id": COMPLETED, "awaits": awaits});
        append(&mut payment, &stream, "payment.reversal-requested.v1", reversal("capture"));
        append(&mut payment, &stream, "payment.reversal-requested.v1", reversal("refund"));
        append(&mut payment, &stream, "payment.refunded.v1", json!({"order_id": COMPLETED}));
        assert_eq!(followed(&[payment]), []);
    }
}
