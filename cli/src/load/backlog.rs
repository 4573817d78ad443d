//! Orders that lie on the topic before anybody reads it, and that nobody here waits for: how a system stands them is
//! looked at from elsewhere. A run tells of each of its orders; of a million that would be half of what is measured.

use anyhow::bail;
use shared::{
    broker::BrokerSettings,
    contract::{order::OrderCommand, topics::Topic},
};

use super::{
    run::receive,
    topic::record,
    traffic::{Shape, Traffic},
};
use crate::kafka::Publisher;

/// As many as a run has unless it is told otherwise.
const SKUS: usize = 100;
const SEED: u64 = 1;

/// Orders of one line each, which can all complete.
pub struct Backlog {
    traffic: Traffic,
    orders: usize,
}

impl Backlog {
    /// Stock for all of them: inventory-service must run.
    pub async fn stocked(inventory_service: &str, orders: usize) -> anyhow::Result<Self> {
        let run = format!("{:08x}", rand::random::<u32>());
        let shape = Shape {
            mix: "completed=1".parse().map_err(anyhow::Error::msg)?,
            skus: SKUS,
            lines: 1,
            hot_share: 0.0,
        };
        let traffic = Traffic::new(shape, &run, SEED)?;
        receive(inventory_service, &traffic, orders).await?;
        Ok(Self { traffic, orders })
    }

    /// Returns when the broker has all of them, whoever runs or not.
    pub async fn send(self, broker: BrokerSettings) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.send_blocking(&broker)).await?
    }

    fn send_blocking(mut self, broker: &BrokerSettings) -> anyhow::Result<()> {
        let publisher = Publisher::open(broker, [Topic::OrdersCommands])?;
        for _ in 0..self.orders {
            let create = self.traffic.order().create;
            let order = create.order_id.uuid();
            publisher.send(&record(OrderCommand::Create(create), order));
        }
        match publisher.finish().into_iter().find_map(Result::err) {
            Some(reason) => bail!("not all orders came to the topic: {reason}"),
            None => Ok(()),
        }
    }
}
