//! Events of the log to what the producer is given.

use std::hint::black_box;

use shared::decider::Decider;

use crate::{
    measure::Measure,
    service::{Hop, Service},
};

pub(crate) fn measure<D: Decider + Clone>(measure: &mut Measure, hop: &Hop<D>) {
    let Some(case) = measure.case("encode", D::NAME) else { return };
    let inputs = hop.inputs(1);
    let messages = inputs.len();
    let decided = Service::of(hop).decide(inputs);
    let encode = |()| {
        for event in &decided.events {
            assert!(black_box(black_box(event).encode(D::NAME)).is_some(), "its stream has a topic");
        }
    };
    case.run(messages, decided.events.len(), || (), encode);
}
