//! What was decided to the parameters of the append, up to where they would be sent.

use std::hint::black_box;

use shared::{decider::Decider, log::append};

use crate::{
    measure::Measure,
    service::{Hop, Service},
};

pub(crate) fn measure<D: Decider + Clone>(measure: &mut Measure, hop: &Hop<D>) {
    let Some(case) = measure.case("columns", D::NAME) else { return };
    let inputs = hop.inputs(1);
    let messages = inputs.len();
    let decided = Service::of(hop).decide(inputs);
    let columns = |()| drop(black_box(append::call(append::CALL, black_box(&decided))));
    case.run(messages, decided.events.len(), || (), columns);
}
