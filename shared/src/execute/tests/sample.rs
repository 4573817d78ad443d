//! The smallest service with every class of answer: orders that are created, confirmed and cancelled.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    contract::{
        envelope::Envelope,
        ids::StreamName,
        message::Message,
        order::{
            CancelReason, CancelStage, CancelledBy, OrderCancelled, OrderCommand, OrderConfirmed,
            OrderCreated, OrderEvent,
        },
        payment::PaymentEvent,
        topics::Topic,
    },
    decider::{Class, Decided, Decider, Decision, Due, Owed, Refusal, Streams, Task, Told},
};

pub(crate) struct Sample;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    #[default]
    None,
    Created,
    Confirmed,
    Cancelled,
}

pub(crate) const PANICS: &str = "PANIC";
pub(crate) const DEADLINE: &str = "deadline";

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Order(OrderCommand),
    Authorized(crate::contract::ids::OrderId),
    Deadline(crate::contract::ids::OrderId),
}

impl Command {
    fn order_id(&self) -> crate::contract::ids::OrderId {
        match self {
            Self::Order(command) => command.order_id(),
            Self::Authorized(id) | Self::Deadline(id) => *id,
        }
    }
}

impl Decider for Sample {
    type State = State;
    type Event = OrderEvent;
    type Command = Command;
    type Call = Infallible;

    const NAME: &'static str = "order-service";
    const READS: &'static [Topic] = &[Topic::OrdersCommands, Topic::PaymentsEvents];
    const ADOPTS: Option<Topic> = Some(Topic::OrdersEvents);
    const WRITES: &'static [Topic] = &[Topic::OrdersEvents];
    const FINGERPRINT: &'static str = "sample";

    fn react(&self, message: &Message, _: &Envelope) -> Option<Command> {
        match message {
            Message::OrderCommand(command) => Some(Command::Order(command.clone())),
            Message::Payment(PaymentEvent::Authorized(event)) => Some(Command::Authorized(event.order_id)),
            _ => None,
        }
    }

    fn streams(&self, command: &Command) -> Vec<StreamName> {
        vec![StreamName::order(command.order_id())]
    }

    fn identity(&self, _: &Command, _: &Told) -> Option<Uuid> {
        None
    }

    fn decide(
        &self,
        streams: &Streams<'_, State, OrderEvent>,
        command: &Command,
        _: &Told,
    ) -> Result<Decision<OrderEvent, Infallible>, Refusal> {
        let order_id = command.order_id();
        let stream = StreamName::order(order_id);
        let refuse = |class, code| Err(Refusal { class, code, detail: "says the sample".to_owned() });
        let event: OrderEvent = match (command, streams.state(&stream)) {
            (Command::Order(OrderCommand::Create(create)), _) if create.user_id.as_str() == PANICS => {
                panic!("planted by the test")
            }
            (Command::Order(OrderCommand::Create(create)), State::None) => OrderCreated {
                order_id,
                user_id: create.user_id.clone(),
                lines: create.lines.clone(),
                amount: create.amount,
                deadline_at: None,
                deadline_given: false,
            }
            .into(),
            (_, State::None) => return refuse(Class::TooEarly, "unknown-order"),
            (Command::Authorized(_), State::Created) => OrderConfirmed { order_id }.into(),
            (Command::Authorized(_), State::Cancelled) => {
                return refuse(Class::Impossible, "no-state-allows");
            }
            (Command::Order(OrderCommand::Cancel(_)), State::Confirmed) => {
                return refuse(Class::Refused, "order-state");
            }
            (Command::Order(OrderCommand::Cancel(_)) | Command::Deadline(_), State::Created) => {
                OrderCancelled {
                    order_id,
                    reason: CancelReason::Customer,
                    by: CancelledBy::Customer,
                    note: None,
                    stage: CancelStage::Created,
                }
                .into()
            }
            _ => return Ok(Decision::default()),
        };
        Ok(Decision { events: vec![Decided { stream, event, id: None }], ..Decision::default() })
    }

    fn evolve(&self, _: State, event: &OrderEvent) -> State {
        match event {
            OrderEvent::Created(_) => State::Created,
            OrderEvent::Cancelled(_) => State::Cancelled,
            _ => State::Confirmed,
        }
    }

    fn owes(&self, _: &StreamName, state: &State) -> Vec<Owed> {
        match state {
            State::Created => {
                vec![Owed { kind: DEADLINE, due: Due::After(std::time::Duration::from_secs(900)) }]
            }
            _ => Vec::new(),
        }
    }

    fn due(&self, task: &Task) -> Option<Command> {
        (task.kind == DEADLINE).then(|| Command::Deadline(task.stream.key().parse().unwrap()))
    }

    fn goes_on(&self, _: &StreamName, state: &State) -> bool {
        *state != State::Cancelled
    }

    fn snapshots(&self, _: &StreamName) -> bool {
        false
    }
}
