//! One order, three services, four topics and a provider: all there is to know about them at one moment.

use payment_service::domain::record::{Held, Record, Said};
use shared::contract::payment::Operation;

use super::actor::{Node, Symbol};
use crate::samples;

pub(crate) const ORDERS: usize = 0;
pub(crate) const INVENTORY: usize = 1;
pub(crate) const PAYMENTS: usize = 2;
pub(crate) const SERVICES: [&str; 3] = ["order-service", "inventory-service", "payment-service"];

/// The first three are the topics of the services' own events, in the same order.
pub(crate) const COMMANDS: usize = 3;
/// What others write onto `orders.events`. Of an order's messages only these have no position.
pub(crate) const FOREIGN: usize = 4;
pub(crate) const TOPICS: [&str; 5] =
    ["orders.events", "inventory.events", "payments.events", "orders.commands", "orders.events (foreign)"];

/// What each service reads.
pub(crate) const READS: [&[usize]; 3] =
    [&[COMMANDS, INVENTORY, PAYMENTS, FOREIGN], &[ORDERS], &[INVENTORY, ORDERS]];

const LOG_MAX: usize = 16;

/// Messages in order, a byte each: sixteen of them are one number that is quickly copied, compared and hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log(u128);

impl Log {
    pub(crate) fn push(&mut self, symbol: Symbol) {
        assert!(symbol != 0 && self.len() < LOG_MAX);
        self.0 |= u128::from(symbol) << (8 * self.len());
    }

    pub(crate) fn get(self, index: usize) -> Symbol {
        (self.0 >> (8 * index)) as Symbol
    }

    pub(crate) fn len(self) -> usize {
        LOG_MAX - self.0.leading_zeros() as usize / 8
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Symbol> {
        (0..self.len()).map(move |index| self.get(index))
    }

    pub(crate) fn contains(self, symbol: Symbol) -> bool {
        self.iter().any(|known| known == symbol)
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        if length < LOG_MAX {
            self.0 &= (1 << (8 * length)) - 1;
        }
    }

    pub(crate) fn remove(&mut self, symbol: Symbol) {
        let log = std::mem::take(self);
        log.iter().filter(|known| *known != symbol).for_each(|known| self.push(known));
    }
}

/// How the provider stands to one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    #[default]
    Never,
    /// The call has arrived, and is not decided.
    Pending,
    Yes,
    No,
}

/// The provider's books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Books {
    asked: [Asked; 4],
}

impl Books {
    pub(crate) fn of(&self, operation: Operation) -> Asked {
        self.asked[operation as usize]
    }

    pub(crate) fn set(&mut self, operation: Operation, asked: Asked) {
        self.asked[operation as usize] = asked;
    }

    /// Whether the provider can do it: capture what is set aside, give back what it has.
    pub(crate) fn can(&self, operation: Operation) -> bool {
        match operation {
            Operation::Authorize => true,
            Operation::Capture | Operation::Void => self.held() == Held::Authorized,
            Operation::Refund => self.held() == Held::Captured,
        }
    }

    pub(crate) fn record(&self) -> Record {
        let said = |operation| match self.of(operation) {
            Asked::Never | Asked::Pending => None,
            Asked::Yes => Some(Said::Yes),
            Asked::No => Some(Said::No { code: "no".into() }),
        };
        let authorize = said(Operation::Authorize);
        Record {
            amount: authorize.as_ref().map(|_| samples::create(1999).amount),
            charges: u32::from(authorize == Some(Said::Yes)),
            authorize,
            capture: said(Operation::Capture),
            void: said(Operation::Void),
            refund: said(Operation::Refund),
            ..Record::nothing(samples::order_id())
        }
    }

    pub(crate) fn held(&self) -> Held {
        let yes = |operation| self.of(operation) == Asked::Yes;
        match (yes(Operation::Authorize), yes(Operation::Capture)) {
            (_, true) if yes(Operation::Refund) => Held::Nothing,
            (_, true) => Held::Captured,
            (true, false) if !yes(Operation::Void) => Held::Authorized,
            (_, false) => Held::Nothing,
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.asked.iter().fold(0, |number, asked| number * 4 + *asked as u32)
    }
}

/// An answer to an enquiry that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    pub(crate) books: Books,
    pub(crate) asked_at_version: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) nodes: [Node; 3],
    pub(crate) topics: [Log; 5],
    /// By reader and topic: a bit for each message that was read.
    pub(crate) read: [[u16; 5]; 3],
    /// Too early: waits for the order to begin.
    pub(crate) held: [Log; 3],
    pub(crate) books: Books,
    /// The task of payment-service that asks for the record.
    pub(crate) enquire: bool,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) cancelled: bool,
    pub(crate) restored: bool,
    /// The provider has contradicted itself.
    pub(crate) contradicted: bool,
}

impl World {
    pub(crate) fn has_read(&self, reader: usize, topic: usize, index: usize) -> bool {
        self.read[reader][topic] & (1 << index) != 0
    }

    /// How much of a topic somebody has read. What nobody has read may not have been published yet: a late relay is
    /// nothing but late readers.
    pub(crate) fn read_by_somebody(&self, topic: usize) -> usize {
        let read = self.read.iter().fold(0, |bits: u16, reader| bits | reader[topic]);
        (u16::BITS - read.leading_zeros()) as usize
    }
}
