//! payment-service: asks a payment provider for the money of an order, and gives it back when the order is
//! cancelled.

pub mod reactions;
pub mod domain;
pub mod provider;
pub mod http;

use shared::{
    contract::{
        envelope::Envelope,
        ids::{OrderId, StreamName},
        message::Message,
        payment::{Operation, PaymentEvent},
        topics::Topic,
    },
    decider::{Decider, Decision, Owed, Refusal, Streams, Task, Told},
};
use uuid::Uuid;

use crate::domain::{Call, Command, ENQUIRE, Limits, Payment, Stage};

/// The service, as the engine runs it.
#[derive(Debug, Clone, Default)]
pub struct Payments {
    pub limits: Limits,
}

impl Decider for Payments {
    type State = Payment;
    type Event = PaymentEvent;
    type Command = Command;
    type Call = Call;

    const NAME: &'static str = "payment-service";
    const READS: &'static [Topic] = &[Topic::InventoryEvents, Topic::OrdersEvents];
    const ADOPTS: Option<Topic> = None;
    const WRITES: &'static [Topic] = &[Topic::PaymentsEvents];
    const FINGERPRINT: &'static str = "payment-1";

    fn react(&self, message: &Message, _: &Envelope) -> Option<Command> {
        reactions::react(message)
    }

    fn streams(&self, command: &Command) -> Vec<StreamName> {
        vec![StreamName::payment(command.order_id())]
    }

    fn identity(&self, _: &Command, _: &Told) -> Option<Uuid> {
        None
    }

    fn decide(
        &self,
        streams: &Streams<'_, Payment, PaymentEvent>,
        command: &Command,
        _: &Told,
    ) -> Result<Decision<PaymentEvent, Call>, Refusal> {
        let stream = StreamName::payment(command.order_id());
        Ok(domain::decide(&streams.state(&stream), streams.version(&stream), command, &self.limits)?)
    }

    fn evolve(&self, payment: Payment, event: &PaymentEvent) -> Payment {
        domain::evolve(payment, event)
    }

    fn owes(&self, _: &StreamName, payment: &Payment) -> Vec<Owed> {
        domain::owes(payment).into_iter().collect()
    }

    fn due(&self, task: &Task) -> Option<Command> {
        let order_id: OrderId = task.stream.key().parse().ok()?;
        if task.kind == ENQUIRE {
            return Some(Command::AskForRecord { order_id, attempt: task.attempt });
        }
        let operation = Operation::ALL.into_iter().find(|operation| operation.as_str() == task.kind)?;
        Some(Command::CallProvider { order_id, operation, attempt: task.attempt })
    }

    /// What was captured can be given back, which is rare.
    fn goes_on(&self, _: &StreamName, payment: &Payment) -> bool {
        match payment.stage {
            Stage::None
            | Stage::Requested { .. }
            | Stage::Authorized
            | Stage::CaptureRequested { .. }
            | Stage::CaptureFailed
            | Stage::Declined
            | Stage::Reversing { .. } => true,
            Stage::Captured | Stage::Closed { .. } => false,
        }
    }

    fn snapshots(&self, _: &StreamName) -> bool {
        false
    }
}
