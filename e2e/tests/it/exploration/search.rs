//! Breadth first over every world, so that the first violation that is found has the shortest trace.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasherDefault,
};

use inventory_service::domain::{Reservation, Stock};
use order_service::domain::Order;
use payment_service::domain::{Stage, record::Held};
use shared::contract::{ids::StreamName, message::Message};

use super::{
    mixed::Mixed,
    moves::{Bug, Cast, Move, Scenario},
    world::*,
};
use crate::samples;

pub(crate) struct Found {
    pub(crate) worlds: usize,
    pub(crate) moves: usize,
    /// In how many of them the order completed, and in how many it settled, with nothing left to do.
    pub(crate) completed: usize,
    pub(crate) settled: usize,
}

/// What was violated, and the shortest way there.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) trace: Vec<String>,
}

struct Search {
    cast: Cast,
    worlds: Vec<World>,
    numbers: HashMap<World, u32, BuildHasherDefault<Mixed>>,
    /// Where each world was first reached from, and how.
    origins: Vec<Option<(u32, Move)>>,
    /// Which world led to which.
    moves: Vec<(u32, u32)>,
}

/// All worlds of a scenario, each checked; and from each of them there is a way to a good end.
pub(crate) fn explore(scenario: Scenario, bug: Option<Bug>) -> Result<Found, Violation> {
    let mut cast = Cast::new(scenario, bug);
    let start = cast.start();
    let mut search = Search {
        cast,
        worlds: vec![start],
        numbers: HashMap::from_iter([(start, 0)]),
        origins: vec![None],
        moves: vec![],
    };
    let mut ends = Vec::new();
    let mut checked = HashSet::new();
    let mut index = 0;
    while index < search.worlds.len() {
        let world = search.worlds[index];
        // What is checked depends on these alone, and most worlds differ in what was read.
        if checked.insert((world.nodes, world.books, world.contradicted || world.restored)) {
            search.cast.check(&world).map_err(|what| search.violation(index, None, what))?;
        }
        let next = match search.cast.next(&world) {
            Ok(next) => next,
            Err((happens, what)) => return Err(search.violation(index, Some(happens), what)),
        };
        if next.iter().all(|(happens, _)| !happens.is_progress()) {
            search.cast.check_end(&world).map_err(|what| search.violation(index, None, what))?;
            ends.push(index as u32);
        }
        for (happens, after) in next {
            search.reach(index as u32, happens, after);
        }
        index += 1;
    }
    search.every_world_has_a_way_to_an_end(&ends)?;
    let count = |of: fn(&Order) -> bool| {
        let state = |end: &&u32| search.cast.orders.state(search.worlds[**end as usize].nodes[ORDERS]);
        ends.iter().filter(|end| of(&state(end))).count()
    };
    Ok(Found {
        worlds: search.worlds.len(),
        moves: search.moves.len(),
        completed: count(|order| matches!(order, Order::Completed { .. })),
        settled: count(|order| matches!(order, Order::Settled { .. })),
    })
}

impl Search {
    fn reach(&mut self, from: u32, happens: Move, after: World) {
        let new = self.worlds.len() as u32;
        let number = *self.numbers.entry(after).or_insert(new);
        if number == new {
            self.worlds.push(after);
            self.origins.push(Some((from, happens)));
        }
        self.moves.push((from, number));
    }

    fn every_world_has_a_way_to_an_end(&self, ends: &[u32]) -> Result<(), Violation> {
        let mut backwards: Vec<(u32, u32)> = self.moves.iter().map(|(from, to)| (*to, *from)).collect();
        backwards.sort_unstable();
        let mut good = vec![false; self.worlds.len()];
        let mut queue = ends.to_vec();
        while let Some(world) = queue.pop() {
            if !std::mem::replace(&mut good[world as usize], true) {
                let first = backwards.partition_point(|(to, _)| *to < world);
                let sources = backwards[first..].iter().take_while(|(to, _)| *to == world);
                queue.extend(sources.map(|(_, from)| *from));
            }
        }
        match good.iter().position(|good| !good) {
            Some(stuck) => Err(self.violation(stuck, None, "no way leads from here to an end".to_owned())),
            None => Ok(()),
        }
    }

    fn violation(&self, index: usize, last: Option<Move>, what: String) -> Violation {
        let mut trace: Vec<String> = last.into_iter().map(|happens| self.tell(index, happens)).collect();
        let mut here = index;
        while let Some((from, happens)) = self.origins[here] {
            here = from as usize;
            trace.push(self.tell(here, happens));
        }
        trace.reverse();
        Violation { what, trace }
    }

    fn tell(&self, world: usize, happens: Move) -> String {
        let name = |symbol| self.cast.symbols.message(symbol).message_type().trim_start_matches("fulfil.");
        match happens {
            Move::Starts => "the order is sent".to_owned(),
            Move::Asks(symbol) => format!("the edge asks {}", name(symbol)),
            Move::Reads { reader, topic, index, again } => {
                let again = if again { ", again" } else { "" };
                let symbol = self.worlds[world].topics[topic].get(index);
                format!("{} reads {} from {}{again}", SERVICES[reader], name(symbol), TOPICS[topic])
            }
            Move::Releases(service) => format!("{} takes up what was too early", SERVICES[service]),
            Move::DeadlineIsReached => "the deadline is reached".to_owned(),
            Move::Calls(operation) => format!("payment-service asks the provider: {}", operation.as_str()),
            Move::Decides(operation, yes) => format!("the provider decides {}: {yes}", operation.as_str()),
            Move::Answers(operation, yes) => format!("the provider answers {}: {yes}", operation.as_str()),
            Move::Repeats(operation, yes) => {
                format!("the provider answers {} late: {yes}", operation.as_str())
            }
            Move::IsSilent(operation) => format!("the provider is silent about {}", operation.as_str()),
            Move::AsksForRecord => "payment-service asks for the record".to_owned(),
            Move::RecordArrives => "the record arrives".to_owned(),
            Move::CallsBack => "a callback comes".to_owned(),
            Move::Reconciles => "payment-service reconciles".to_owned(),
            Move::ChangesItsMind(operation) => {
                format!("the provider changes its mind about {}", operation.as_str())
            }
            Move::Lies(operation, yes) => {
                format!("the provider answers {} against its books: {yes}", operation.as_str())
            }
            Move::Restores { service, length } => {
                format!("{} is restored and takes back its log up to {length}", SERVICES[service])
            }
        }
    }
}

impl Cast {
    /// What holds in every world.
    fn check(&self, world: &World) -> Result<(), String> {
        let order = self.orders.state(world.nodes[ORDERS]);
        let reservation = self.inventory.state(world.nodes[INVENTORY]);
        let stock = self.stock(world);
        let payment = self.payments.state(world.nodes[PAYMENTS]);
        let held: i64 = match reservation.reservation() {
            Some(Reservation::Reserved { lines }) => lines.iter().map(|line| line.quantity).sum(),
            _ => 0,
        };
        let gone: i64 = match reservation.reservation() {
            Some(Reservation::Committed { lines }) => lines.iter().map(|line| line.quantity).sum(),
            _ => 0,
        };
        let Stock { on_hand, reserved } = stock;
        if !(0 <= reserved && reserved <= on_hand) {
            return Err(format!("{reserved} reserved of {on_hand} on hand"));
        }
        if reserved != held || on_hand + gone != self.in_stock() {
            return Err(format!("stock does not add up: {stock:?}, {reservation:?}"));
        }
        match order {
            Order::Completed { .. } => {
                if !matches!(reservation.reservation(), Some(Reservation::Committed { .. })) {
                    return Err(format!("completed, but the stock is {reservation:?}"));
                }
                if payment.stage != Stage::Captured {
                    return Err(format!("completed, but the payment is {payment:?}"));
                }
                // A free order asks nobody.
                if payment.amount.is_some() && world.books.held() != Held::Captured {
                    return Err("completed, but the provider has taken no money".to_owned());
                }
            }
            Order::Settled { .. } => {
                if matches!(
                    reservation.reservation(),
                    None | Some(Reservation::Reserved { .. } | Reservation::Committed { .. })
                ) {
                    return Err(format!("settled, but the stock is {reservation:?}"));
                }
                // What a provider that contradicts itself, or a payment that was lost, leaves behind is found by
                // reconciliation; at the end it must be gone.
                let surprising = world.contradicted || (world.restored && self.loses_payments());
                if !surprising && world.books.held() != Held::Nothing {
                    return Err(format!("settled, but the provider holds money: {:?}", world.books));
                }
            }
            Order::None | Order::Created { .. } | Order::Confirmed { .. } | Order::Cancelled { .. } => {}
        }
        Ok(())
    }

    /// What holds where nothing is left to do.
    fn check_end(&self, world: &World) -> Result<(), String> {
        let order = self.orders.state(world.nodes[ORDERS]);
        match order {
            Order::Completed { .. } => {}
            Order::Settled { .. } => {
                if world.books.held() != Held::Nothing {
                    return Err(format!("settled for good, but the provider holds money: {:?}", world.books));
                }
            }
            _ => return Err(format!("nothing is left to do, and the order is {}", order.name())),
        }
        let held = world.held.iter().flat_map(|held| held.iter());
        let held: Vec<&Message> = held.map(|symbol| self.symbols.message(symbol)).collect();
        if !held.is_empty() {
            return Err(format!("nothing is left to do, and these are still held: {held:?}"));
        }
        Ok(())
    }

    fn stock(&self, world: &World) -> Stock {
        self.inventory.state_of(world.nodes[INVENTORY], &StreamName::stock(&samples::sku())).stock()
    }
}
