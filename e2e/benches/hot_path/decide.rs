//! A batch through the unit of work: decoded, reacted to, decided and folded, and after the commit handed out.

use shared::decider::Decider;

use crate::{
    measure::Measure,
    service::{Hop, Service},
};

pub(crate) fn measure<D: Decider + Clone>(measure: &mut Measure, hop: &Hop<D>) {
    let Some(case) = measure.case("decide", D::NAME) else { return };
    let mut service = Service::of(hop);
    let mut number = 0;
    let inputs = || {
        number += 1;
        hop.inputs(number)
    };
    let decide = |inputs: Vec<_>| {
        let messages = inputs.len();
        drop(service.decide(inputs));
        let outcome = service.commit();
        assert_eq!(outcome.messages, messages, "each is heard once");
        assert_eq!(outcome.recorded.len(), messages * hop.events, "each is answered as it should be");
        outcome
    };
    let messages = hop.batch(0).len();
    case.run(messages, messages * hop.events, inputs, decide);
}
