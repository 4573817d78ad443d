//! Bytes and headers to a message of the contract.

use std::hint::black_box;

use shared::{
    contract::{
        envelope::{self, Mode},
        message::Message,
    },
    decider::Decider,
};

use crate::{measure::Measure, service::Hop};

pub(crate) fn measure<D: Decider>(measure: &mut Measure, hop: &Hop<D>) {
    let Some(case) = measure.case("decode", D::NAME) else { return };
    let batch = hop.batch(0);
    let decode = |()| {
        for raw in &batch {
            let envelope = envelope::decode(black_box(raw), Mode::Production).expect("is valid");
            let message = Message::decode(&envelope.message_type, &envelope.data);
            assert!(matches!(black_box(message), Some(Ok(_))), "is of the contract");
        }
    };
    case.run(batch.len(), batch.len(), || (), decode);
}
