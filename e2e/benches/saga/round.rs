//! The floors and the product, one after the other, on the same servers.

use serde::{Deserialize, Serialize};

use crate::{
    floor::{self, Figures, Floor, Story},
    product::Product,
    run::Run,
    table,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) seven: Figures,
    pub(crate) twelve: Figures,
    pub(crate) ours: Run,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rounds {
    pub(crate) saturated: Vec<Round>,
    pub(crate) paced: Vec<Round>,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Of each saturated run.
    pub(crate) orders: usize,
    pub(crate) runs: usize,
    /// Of the paced ones, a second.
    pub(crate) rate: f64,
    pub(crate) seconds: usize,
}

pub(crate) async fn measure(product: &Product, amount: Amount) -> anyhow::Result<Rounds> {
    let Amount { orders, runs, rate, seconds } = amount;
    let status = product.status().await?;
    let round = async |orders: usize, rate: Option<f64>, load: &[&str]| {
        let floor = |story| floor::run(&status, Floor { story, orders, rate });
        anyhow::Ok(Round {
            seven: floor(Story::Seven).await?,
            twelve: floor(Story::Twelve).await?,
            ours: product.load(load).await?,
        })
    };
    let (mut saturated, mut paced) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let measured = round(orders, None, &["--orders", &orders.to_string()]).await?;
        // The servers' first large batches are thrown away.
        table::tell(if run == 0 { "warm-up" } else { "saturated" }, &measured);
        saturated.extend((run > 0).then_some(measured));
    }
    for _ in 0..runs {
        let orders = (rate * seconds as f64) as usize;
        let (each, duration) = (format!("{rate}/s"), format!("{seconds}s"));
        let measured = round(orders, Some(rate), &["--rate", &each, "--duration", &duration]).await?;
        table::tell("paced", &measured);
        paced.push(measured);
    }
    table::summary("saturated", &saturated);
    table::summary(&format!("at {rate} orders/s"), &paced);
    Ok(Rounds { saturated, paced })
}
