//! Which orders are folded again, and how far they are. Pure.
//!
//! How many there are is known at the end only, so an order is of the sample while its hash ends in so many zeros, and each
//! time there are too many it must end in one more. Who is of it then was of it from its first event on.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use shared::contract::{Timestamp, ids::OrderId};
use uuid::Uuid;

use crate::view::{
    order::OrderRow,
    rows::{Fact, Rows},
};

/// Orders that are compared at a time.
pub(super) const ORDERS_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Sample {
    /// Another sample each time.
    salt: u128,
    zeros: u32,
    /// Looked at whatever their hash.
    always: BTreeSet<OrderId>,
    orders: BTreeMap<OrderId, Folded>,
    /// Of an order that was created before, something may be missing.
    since: Option<Timestamp>,
    /// No other order joins any more.
    is_closed: bool,
}

/// An order as its topics have it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Folded {
    pub(super) row: OrderRow,
    /// Deliveries of events of our services.
    pub(super) events: i64,
    /// Something of it could not be folded, so the view has it otherwise: as a dead letter.
    pub(super) is_odd: bool,
}

impl Sample {
    pub(super) fn new(salt: Uuid, always: BTreeSet<OrderId>) -> Self {
        Self {
            salt: salt.as_u128(),
            zeros: 0,
            always,
            orders: BTreeMap::new(),
            since: None,
            is_closed: false,
        }
    }

    pub(super) fn only_since(&mut self, since: Timestamp) {
        self.since = Some(since);
    }

    /// What was not seen from its beginning on is none of it.
    pub(super) fn close(&mut self) {
        if let Some(since) = self.since {
            let created_at = |folded: &Folded| folded.row.order.state.as_ref().map(|order| order.created_at);
            self.orders.retain(|_, folded| created_at(folded).is_some_and(|at| at >= since));
        }
        self.is_closed = true;
    }

    pub(super) fn orders(&self) -> &BTreeMap<OrderId, Folded> {
        &self.orders
    }

    /// Whether messages of this order are of interest. Asked before a message is read.
    pub(super) fn wants(&self, id: OrderId) -> bool {
        match self.is_closed {
            true => self.orders.contains_key(&id),
            false => self.always.contains(&id) || self.hash(id).trailing_zeros() >= self.zeros,
        }
    }

    pub(super) fn fold(&mut self, id: OrderId, fact: &Fact) {
        let Some(folded) = self.of(id) else { return };
        let mut rows = Rows::default();
        rows.orders.insert(id, folded.row.clone());
        match catch_unwind(AssertUnwindSafe(|| rows.fold(fact))) {
            Ok(Ok(_)) => {
                folded.events += i64::from(fact.version().is_some());
                folded.row = rows.orders.remove(&id).unwrap_or_else(|| OrderRow::new(id));
            }
            Ok(Err(_)) | Err(_) => folded.is_odd = true,
        }
    }

    /// A message of it cannot be read.
    pub(super) fn odd(&mut self, id: OrderId) {
        if let Some(folded) = self.of(id) {
            folded.is_odd = true;
        }
    }

    /// `None` where it is not of the sample, any more or at all.
    fn of(&mut self, id: OrderId) -> Option<&mut Folded> {
        if !self.wants(id) {
            return None;
        }
        let new = Folded { row: OrderRow::new(id), events: 0, is_odd: false };
        self.orders.entry(id).or_insert(new);
        while self.orders.len() > ORDERS_MAX + self.always.len() {
            self.zeros += 1;
            let (salt, zeros, always) = (self.salt, self.zeros, &self.always);
            self.orders.retain(|id, _| always.contains(id) || hash(salt, *id).trailing_zeros() >= zeros);
        }
        self.orders.get_mut(&id)
    }

    fn hash(&self, id: OrderId) -> u128 {
        hash(self.salt, id)
    }
}

/// Two rounds of multiply and shift (the finish of MurmurHash3): ids of one millisecond differ in few bits.
fn hash(salt: u128, id: OrderId) -> u128 {
    const ODD: u128 = 0xff51_afd7_ed55_8ccd_c4ce_b9fe_1a85_ec53;
    let mut mixed = id.uuid().as_u128() ^ salt;
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 67)).wrapping_mul(ODD);
    }
    mixed ^ (mixed >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> OrderId {
        OrderId::new(Uuid::from_u128(number)).unwrap()
    }

    fn sampled(salt: u128, orders: u128) -> BTreeSet<OrderId> {
        let mut sample = Sample::new(Uuid::from_u128(salt), BTreeSet::new());
        for number in (1..=orders).chain(1..=orders) {
            sample.odd(id(number));
        }
        sample.orders().keys().copied().collect()
    }

    #[test]
    fn all_orders_are_looked_at_where_they_are_few_and_other_ones_each_time_where_they_are_many() {
        assert_eq!(sampled(1, ORDERS_MAX as u128).len(), ORDERS_MAX);
        let samples: Vec<_> = (1..=3).map(|salt| sampled(salt << 64, 10_000)).collect();
        for sample in &samples {
            assert!((ORDERS_MAX / 4..=ORDERS_MAX).contains(&sample.len()), "{}", sample.len());
        }
        assert!(samples[0] != samples[1] && samples[1] != samples[2]);
        let all: BTreeSet<_> = samples.iter().flatten().collect();
        assert!(all.len() > ORDERS_MAX / 2, "{}", all.len());
    }

    #[test]
    fn who_is_of_the_sample_was_of_it_from_the_beginning_and_nobody_joins_a_closed_one() {
        let mut sample = Sample::new(Uuid::from_u128(5), BTreeSet::from([id(7)]));
        for number in 1..=10_000 {
            sample.odd(id(number));
        }
        assert!(sample.orders().contains_key(&id(7)), "whatever its hash");
        let known: Vec<OrderId> = sample.orders().keys().copied().collect();
        assert!(known.iter().all(|id| sample.wants(*id)));
        sample.close();
        for number in 10_001..=20_000 {
            assert!(!sample.wants(id(number)));
        }
    }
}
