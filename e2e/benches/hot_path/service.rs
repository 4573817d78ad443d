//! A service as it runs: its unit of work over partitions of its own, answered as the database would at once.

use std::{sync::Arc, time::Duration};

use shared::{
    consumer::Position,
    contract::{
        Timestamp,
        envelope::{Mode, Raw},
        topics::PARTITIONS_DEFAULT,
    },
    decider::Decider,
    engine::gather::BATCH_MAX,
    execute::{Execute, ExecuteSettings, Input, Outcome, Step},
    log::{Append, Appended, Load, Loaded},
};

use crate::sample::{SKUS, Sample};

/// One hop of an order: a service, what it hears, and what comes of that.
pub(crate) struct Hop<D> {
    pub(crate) decider: D,
    /// Before anything is measured.
    pub(crate) heard: Vec<Raw>,
    pub(crate) sample: Sample,
    /// That each message is answered with.
    pub(crate) events: usize,
}

impl<D> Hop<D> {
    /// The messages of a full batch, each about an order of its own; the first batch is 0.
    pub(crate) fn batch(&self, number: usize) -> Vec<Raw> {
        (number * BATCH_MAX..(number + 1) * BATCH_MAX).map(|number| self.sample.about(number)).collect()
    }

    /// The same as the loop hands them to the unit of work.
    pub(crate) fn inputs(&self, number: usize) -> Vec<Input<D>>
    where
        D: Decider,
    {
        self.batch(number).into_iter().map(Input::Message).collect()
    }
}

/// What inventory-service must have heard before it can reserve anything.
pub(crate) fn stock() -> Vec<Raw> {
    let receive = Sample::of("fulfil.stock.receive.v1");
    (0..SKUS).map(|number| receive.about(number)).collect()
}

pub(crate) struct Service<D: Decider> {
    execute: Execute<D>,
    now: Timestamp,
}

impl<D: Decider + Clone> Service<D> {
    /// In production, with an empty log but for what it has heard.
    pub(crate) fn of(hop: &Hop<D>) -> Self {
        // No batch here fills the cache or makes a snapshot of an order.
        let settings = ExecuteSettings {
            mode: Mode::Production,
            partitions: PARTITIONS_DEFAULT,
            hold_limit: Duration::from_secs(15 * 60),
            cache_streams_max: 20_000,
            snapshot_every: 200,
        };
        let mut execute = Execute::new(Arc::new(hop.decider.clone()), settings, (0, None));
        let places = D::READS.iter().flat_map(|topic| (0..PARTITIONS_DEFAULT).map(|number| (*topic, number)));
        let positions: Vec<Position> = places.map(|place| Position { place, next: None }).collect();
        execute.assign(&positions, &[]);
        let mut service = Self { execute, now: now() };
        let heard = hop.heard.iter().cloned().map(Input::Message).collect();
        drop(service.decide(heard));
        drop(service.commit());
        service
    }

    /// Up to the append that the batch comes to.
    pub(crate) fn decide(&mut self, inputs: Vec<Input<D>>) -> Arc<Append> {
        let mut step = self.execute.begin(inputs, self.now);
        loop {
            step = match step {
                Step::Append(append) => return append,
                Step::Load(load) => self.execute.loaded(nothing_yet(load)),
                Step::Fetch(_) | Step::Tail { .. } | Step::Done(_) => {
                    panic!("nothing is held and nobody else appends")
                }
            };
        }
    }

    /// What is done after the commit. Whoever has the append must have dropped it, as the loop does: else it is copied.
    pub(crate) fn commit(&mut self) -> Outcome<D> {
        match self.execute.appended(&Appended::Done { now: self.now }) {
            Step::Done(outcome) => outcome,
            _ => panic!("a batch that was appended is done"),
        }
    }
}

/// Every order is new, and the stock of every sku is cached since it was received.
fn nothing_yet(load: Load) -> Loaded {
    let streams = load.streams.into_iter().map(|stream| (stream, None, Vec::new()));
    Loaded { streams: streams.collect(), ..Loaded::default() }
}

/// The time of the samples.
fn now() -> Timestamp {
    "2026-11-24T10:02:11.034Z".parse().expect("is a time")
}
