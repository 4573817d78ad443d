//! Three services on their databases, one broker, one provider, an edge; and what goes wrong with them until it is
//! calm. One seed is one run, for ever.

use inventory_service::Inventory;
use order_service::Orders;
use payment_service::Payments;
use rand::{Rng, seq::IndexedRandom};
use shared::{decider::Decider, log::OwnedTask};

use super::{
    Bug, audit,
    broker::{self, PARTITIONS},
    consumer::Consumer,
    edge::Edge,
    env::{Due, Env, Who},
    process::Service,
    provider::Provider,
    site::Site,
};
use crate::faults::Faults;

const SERVICES: usize = 3;
/// Things go wrong for so long.
const TROUBLED_MS: u64 = 70_000;
/// Beyond this something never ends.
const LAST_MS: u64 = 4 * 3_600_000;

pub(super) struct World {
    pub(super) env: Env,
    pub(super) orders: Site<Orders>,
    pub(super) inventory: Site<Inventory>,
    pub(super) payments: Site<Payments>,
    pub(super) provider: Provider,
    pub(super) edge: Edge,
    pub(super) order_count: usize,
    pub(super) completed: usize,
    pub(super) settled: usize,
}

/// The same for each site.
macro_rules! of_service {
    ($world:expr, $service:expr, $site:ident => $do:expr) => {
        match $service {
            0 => {
                let $site = &mut $world.orders;
                $do
            }
            1 => {
                let $site = &mut $world.inventory;
                $do
            }
            _ => {
                let $site = &mut $world.payments;
                $do
            }
        }
    };
}

impl World {
    pub(super) fn new(seed: u64, order_count: usize, bug: Option<Bug>) -> Self {
        let mut env = Env::new(seed, bug);
        let seconds = std::time::Duration::from_secs;
        let decider = Orders {
            order_deadline: seconds(40),
            completion_limit: seconds(60),
            compensation_limit: seconds(60),
        };
        let orders = Site::new(&mut env, 0, decider);
        let inventory = Site::new(&mut env, 1, Inventory);
        let payments = Site::new(&mut env, 2, Payments::default());
        let edge = Edge::new(&mut env, order_count);
        env.at(1_000, Due::Fault);
        let provider = Provider::new(seed);
        Self { env, orders, inventory, payments, provider, edge, order_count, completed: 0, settled: 0 }
    }

    /// Runs until nothing is left to do, and checks all that must hold then.
    pub(super) fn run_to_the_end(&mut self) -> Result<(), String> {
        let mut reconciled = 0;
        while let Some(due) = self.env.pop() {
            let at_ms = self.env.now_ms;
            self.happen(due).map_err(|what| format!("at {at_ms} ms: {what}"))?;
            if at_ms > LAST_MS {
                return Err(format!("it does not come to rest: {}", audit::unrest(self)));
            }
            if self.env.calm && self.env.queue_is_empty() {
                if !self.goes_on() {
                    if reconciled == 2 {
                        return audit::ended(self);
                    }
                    reconciled += 1;
                    self.reconcile();
                }
                self.pulse();
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn happen(&mut self, due: Due) -> Result<(), String> {
        let env = &mut self.env;
        match due {
            Due::Asked(number) => self.edge.ask(env, &mut self.orders, number),
            Due::Answered(number) => self.edge.answered(env, number),
            Due::Operator => {
                self.look_after_letters();
                if !self.env.calm {
                    self.env.within(10_000, Due::Operator);
                }
            }
            Due::Lands { from, query, back_ms } => {
                return of_service!(self, from.who.service, site => site.lands(env, from, *query, back_ms));
            }
            Due::To { who, run, what } => {
                return of_service!(self, who.service, site => site.happens(env, who, run, what));
            }
            Due::Group { service, generation } => {
                of_service!(self, service, site => site.group(env, generation));
            }
            Due::Expired { who, run } => {
                of_service!(self, who.service, site => site.expired(env, who.replica, run));
            }
            Due::Arrives { producer, partition } => broker::arrive(env, producer, partition),
            Due::Called { who, run, call, task } => return self.provider.called(env, who, run, call, task),
            Due::Restart(who) => of_service!(self, who.service, site => site.start(env, who.replica)),
            Due::Fault => self.fault(),
        }
        Ok(())
    }

    /// Breaks something, until it is time to be calm.
    fn fault(&mut self) {
        if self.env.now_ms >= TROUBLED_MS {
            return self.be_calm();
        }
        let env = &mut self.env;
        let service = env.rng.random_range(0..SERVICES);
        let replicas = of_service!(self, service, site => site.replicas.len());
        let who = Who { service, replica: env.rng.random_range(0..replicas) };
        match env.rng.random_range(0..12) {
            0..=2 => {
                of_service!(self, service, site => site.kill(env, who.replica));
                let down_ms = [50, 1_000, 8_000][env.rng.random_range(0..3)];
                env.within(down_ms, Due::Restart(who));
            }
            3..=4 => {
                let within_ms = [300, 3_000, 15_000][env.rng.random_range(0..3)];
                let for_ms = env.rng.random_range(1..within_ms);
                of_service!(self, service, site => site.freeze(env, who.replica, for_ms));
            }
            5 => {
                env.faults.count("database killed");
                let for_ms = env.rng.random_range(50..5_000);
                of_service!(self, service, site => site.database.kill(env, for_ms));
            }
            6 => {
                env.faults.count("connections terminated");
                of_service!(self, service, site => site.database.cut_off(env, 1));
            }
            7 => {
                env.faults.count("broker away");
                env.broker.away_until_ms = env.now_ms + env.rng.random_range(100..5_000);
            }
            8 => of_service!(self, service, site => site.rebalance(env)),
            _ => {
                let topics = of_service!(self, service, site => topics_of(site));
                let Some(topic) = topics.choose(&mut env.rng).copied() else { return };
                env.faults.count("topic late");
                let place = (topic, env.rng.random_range(0..PARTITIONS));
                let within_ms = [500, 5_000, 60_000][env.rng.random_range(0..3)];
                let until_ms = env.now_ms + env.rng.random_range(1..within_ms);
                env.broker.late_until_ms.insert((service, place), until_ms);
            }
        }
        self.pulse();
        let wait_ms = [200, 1_000, 5_000][self.env.rng.random_range(0..3)];
        self.env.within(wait_ms, Due::Fault);
    }

    /// Nothing goes wrong from here on: who is dead or frozen comes back.
    fn be_calm(&mut self) {
        self.env.calm = true;
        self.env.broker.late_until_ms.clear();
        for service in 0..SERVICES {
            let replicas = of_service!(self, service, site => site.replicas.len());
            for replica in 0..replicas {
                self.env.within(1_000, Due::Restart(Who { service, replica }));
            }
        }
        self.pulse();
    }

    /// Looks at everything soon, and when the next thing that somebody waits for is due.
    fn pulse(&mut self) {
        for service in 0..SERVICES {
            let env = &mut self.env;
            of_service!(self, service, site => site.pulse(env));
        }
    }

    /// Whether something is left to do once the queue is empty; then time goes on to it.
    fn goes_on(&mut self) -> bool {
        let quiet = self.orders.is_quiet(&self.env)
            && self.inventory.is_quiet(&self.env)
            && self.payments.is_quiet(&self.env);
        let (now_ms, cared_for) = (self.env.now_ms, self.look_after_letters());
        if !(quiet && cared_for && self.edge.is_done()) {
            self.env.now_ms = now_ms + 200;
            return true;
        }
        let touched = &self.edge.touched;
        let open = |owned: &&OwnedTask| !is_touched(touched, owned);
        let stores =
            [&self.orders.database.store, &self.inventory.database.store, &self.payments.database.store];
        let due = stores.into_iter().flat_map(|store| store.tasks.values()).filter(open);
        let Some(next) = due.map(|owned| owned.task.due_at.timestamp_millis() as u64).min() else {
            return false;
        };
        self.env.now_ms = next.max(now_ms + 200);
        true
    }

    fn look_after_letters(&mut self) -> bool {
        let (env, edge) = (&mut self.env, &mut self.edge);
        let orders = edge.look_after(env, Orders::NAME, &self.orders.database.store);
        let inventory = edge.look_after(env, Inventory::NAME, &self.inventory.database.store);
        edge.look_after(env, Payments::NAME, &self.payments.database.store) && inventory && orders
    }

    /// Payment-service compares the provider's records with its own.
    fn reconcile(&mut self) {
        for number in 0..self.order_count {
            let record = self.provider.books.record(crate::saga_model::traffic::order_id(number));
            let command = payment_service::domain::Command::CompareRecord { record };
            let id = uuid::Uuid::from_u128(self.env.rng.random());
            let (reply, _) = tokio::sync::oneshot::channel();
            let asked = shared::engine::inbox::Asked { id, command, traceparent: None, reply };
            self.payments.ask(&mut self.env, number % self.payments.replicas.len(), asked);
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.env.faults
    }
}

fn topics_of<D: Service>(_: &Site<D>) -> Vec<shared::contract::topics::Topic> {
    Consumer::topics::<D>()
}

/// Of an order about which somebody wrote an event by hand.
pub(super) fn is_touched(touched: &std::collections::HashSet<u128>, owned: &OwnedTask) -> bool {
    owned.task.stream.key().parse::<uuid::Uuid>().is_ok_and(|id| touched.contains(&id.as_u128()))
}
