//! The orders of a load: of one user and with skus that no other run has, drawn from a seed.

use std::collections::HashSet;

use rand::{Rng, SeedableRng, rngs::StdRng};
use shared::contract::{
    ids::{OrderId, Sku, UserId, named},
    money::{Currency, Money},
    order::{CreateOrder, Line, sum_minor},
};

use super::mix::{Fate, Mix};

/// Of one piece, in minor units; the provider declines an amount that ends in 13.
const PRICE_MINOR: i64 = 1_000;
const DECLINED_MINOR: i64 = 13;

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) mix: Mix,
    pub(super) skus: usize,
    pub(super) lines: usize,
    /// Share of the orders whose first line is of one and the same sku.
    pub(super) hot_share: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) fate: Fate,
    /// By this key the order has its id over HTTP, too.
    pub(super) key: String,
    pub(super) create: CreateOrder,
}

pub(super) struct Traffic {
    shape: Shape,
    user: UserId,
    skus: Vec<Sku>,
    empty: Sku,
    rng: StdRng,
    run: String,
    next: u64,
}

impl Traffic {
    /// `run`: some letters and digits, which no other run in the same system has.
    pub(super) fn new(shape: Shape, run: &str, seed: u64) -> anyhow::Result<Self> {
        let parsed = |text: String| text.parse::<Sku>().map_err(anyhow::Error::msg);
        Ok(Self {
            user: format!("load-{run}").parse().map_err(anyhow::Error::msg)?,
            skus: (0..shape.skus)
                .map(|number| parsed(format!("LOAD-{run}-{number}")))
                .collect::<Result<_, _>>()?,
            empty: parsed(format!("LOAD-{run}-none"))?,
            rng: StdRng::seed_from_u64(seed),
            run: run.to_owned(),
            next: 0,
            shape,
        })
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    /// What must be received before the first order.
    pub(super) fn skus(&self) -> &[Sku] {
        &self.skus
    }

    pub(super) fn order(&mut self) -> Order {
        let key = format!("{}-{}", self.run, self.next);
        self.next += 1;
        let fate = self.shape.mix.draw(&mut self.rng);
        let mut taken = HashSet::new();
        let mut lines = Vec::with_capacity(self.shape.lines);
        while lines.len() < self.shape.lines {
            let sku = self.sku(fate, lines.len());
            if taken.insert(sku.clone()) {
                let declined = fate == Fate::Declined && lines.is_empty();
                let unit_price_minor = PRICE_MINOR + if declined { DECLINED_MINOR } else { 0 };
                lines.push(Line { sku, quantity: 1, unit_price_minor });
            }
        }
        let amount = Money::new(sum_minor(&lines).unwrap_or_default(), Currency::EUR);
        let id = named(&["order", self.user.as_str(), &key]);
        let order_id = OrderId::new(id).unwrap_or_else(|| unreachable!("a hash is not nil"));
        let create = CreateOrder { order_id, user_id: self.user.clone(), lines, amount, deadline_at: None };
        Order { fate, key, create }
    }

    fn sku(&mut self, fate: Fate, line: usize) -> Sku {
        if fate == Fate::OutOfStock && line == 0 {
            return self.empty.clone();
        }
        let hot = line == 0 && self.rng.random_bool(self.shape.hot_share);
        // Where there is a hot one, nobody else wants it first.
        let others = usize::from(line == 0 && self.shape.hot_share > 0.0 && self.skus.len() > 1);
        let index = if hot { 0 } else { self.rng.random_range(others..self.skus.len()) };
        self.skus[index].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(mix: &str, lines: usize, hot_share: f64) -> Traffic {
        let shape = Shape { mix: mix.parse().unwrap(), skus: 20, lines, hot_share };
        Traffic::new(shape, "0a1b", 7).unwrap()
    }

    #[test]
    fn every_order_is_valid_and_of_its_own() {
        let mut traffic = traffic("completed=1,out_of_stock=1,declined=1,cancelled=1", 20, 0.5);
        let mut ids = HashSet::new();
        for _ in 0..200 {
            let Order { fate, create, .. } = traffic.order();
            create.validate().unwrap();
            assert!(ids.insert(create.order_id));
            assert_eq!(create.amount.minor % 100 == 13, fate == Fate::Declined);
            let is_out = create.lines.iter().any(|line| line.sku == traffic.empty);
            assert_eq!(is_out, fate == Fate::OutOfStock);
        }
    }

    #[test]
    fn a_seed_and_a_run_are_one_load() {
        let (mut one, mut other) = (traffic("completed=1", 3, 0.2), traffic("completed=1", 3, 0.2));
        for _ in 0..50 {
            assert_eq!(one.order().create, other.order().create);
        }
    }

    #[test]
    fn so_many_want_the_hot_sku() {
        let mut traffic = traffic("completed=1", 1, 0.9);
        let hot = traffic.skus()[0].clone();
        let wanted = (0..1_000).filter(|_| traffic.order().create.lines[0].sku == hot).count();
        assert!((870..930).contains(&wanted), "{wanted}");
    }
}
