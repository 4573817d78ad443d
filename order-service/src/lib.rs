//! order-service owns the fate of every order: created, confirmed or cancelled, completed or settled.

pub mod domain;
pub mod reactions;
pub mod http;

use std::{convert::Infallible, time::Duration};

use shared::{
    contract::{
        envelope::Envelope,
        ids::{OrderId, StreamName},
        message::Message,
        order::OrderEvent,
        topics::Topic,
    },
    decider::{Decided, Decider, Decision, Due, Owed, Refusal, Streams, Task, TaskChange, Told},
};
use uuid::Uuid;

use domain::{Command, Order};

/// The service's decider. Its limits are settings.
#[derive(Debug, Clone)]
pub struct Orders {
    /// How long an order may take to be confirmed, where its creator names no deadline.
    pub order_deadline: Duration,
    /// How long a confirmed order may take to complete before somebody looks at it.
    pub completion_limit: Duration,
    /// How long a cancelled order may take to settle before somebody looks at it.
    pub compensation_limit: Duration,
}

/// Kinds of task.
pub const DEADLINE: &str = "deadline";
pub const PROGRESS_OVERDUE: &str = "progress-overdue";
pub const COMPENSATION_OVERDUE: &str = "compensation-overdue";

impl Default for Orders {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { order_deadline: minutes(15), completion_limit: minutes(5), compensation_limit: minutes(5) }
    }
}

impl Decider for Orders {
    type State = Order;
    type Event = OrderEvent;
    type Command = Command;
    /// order-service asks nobody outside.
    type Call = Infallible;

    const NAME: &'static str = "order-service";
    const READS: &'static [Topic] = &[Topic::OrdersCommands, Topic::InventoryEvents, Topic::PaymentsEvents];
    const BEGINS: &'static [Topic] = &[Topic::OrdersCommands];
    const ADOPTS: Option<Topic> = Some(Topic::OrdersEvents);
    const WRITES: &'static [Topic] = &[Topic::OrdersEvents];
    /// The answer that confirms an order may still wait on a topic.
    const WAITS_FOR_BACKLOG: &'static [&'static str] = &[DEADLINE];
    /// Of two receipts the first informs; what goes on goes on with the second.
    const NOBODY_WAITS_FOR: &'static [&'static str] = &["fulfil.order.progressed.v1"];
    const FINGERPRINT: &'static str = "order-1";

    fn react(&self, message: &Message, envelope: &Envelope) -> Option<Command> {
        reactions::react(message, envelope)
    }

    fn streams(&self, command: &Command) -> Vec<StreamName> {
        vec![StreamName::order(command.order_id())]
    }

    fn identity(&self, _: &Command, _: &Told) -> Option<Uuid> {
        None
    }

    fn decide(
        &self,
        streams: &Streams<'_, Order, OrderEvent>,
        command: &Command,
        told: &Told,
    ) -> Result<Decision<OrderEvent, Infallible>, Refusal> {
        let stream = StreamName::order(command.order_id());
        let order = streams.state(&stream);
        let events = domain::decide(&order, command, told, self.order_deadline)?;
        let decided = |event| Decided { stream: stream.clone(), event, id: None };
        let mut decision =
            Decision { events: events.into_iter().map(decided).collect(), ..Decision::default() };
        if let Some((kind, limit)) = self.overdue(&order, command) {
            let attempt = told.via.attempt() + 1;
            decision.counted = Some(kind);
            decision.tasks.push(TaskChange::Set { stream, kind, due: Due::After(limit), attempt });
        }
        Ok(decision)
    }

    fn evolve(&self, order: Order, event: &OrderEvent) -> Order {
        domain::evolve(order, event)
    }

    fn owes(&self, _: &StreamName, order: &Order) -> Vec<Owed> {
        match order {
            Order::Created { deadline_at: Some(at), .. } => {
                vec![Owed { kind: DEADLINE, due: Due::At(*at) }]
            }
            Order::Confirmed { .. } => {
                vec![Owed { kind: PROGRESS_OVERDUE, due: Due::After(self.completion_limit) }]
            }
            Order::Cancelled { .. } => {
                vec![Owed { kind: COMPENSATION_OVERDUE, due: Due::After(self.compensation_limit) }]
            }
            Order::None | Order::Created { .. } | Order::Completed { .. } | Order::Settled { .. } => vec![],
        }
    }

    fn due(&self, task: &Task) -> Option<Command> {
        let order_id: OrderId = task.stream.key().parse().ok()?;
        match task.kind.as_str() {
            DEADLINE => Some(Command::DeadlineReached(order_id)),
            PROGRESS_OVERDUE => Some(Command::ProgressOverdue(order_id)),
            COMPENSATION_OVERDUE => Some(Command::CompensationOverdue(order_id)),
            _ => None,
        }
    }

    fn goes_on(&self, _: &StreamName, order: &Order) -> bool {
        match order {
            Order::None | Order::Created { .. } | Order::Confirmed { .. } | Order::Cancelled { .. } => true,
            Order::Completed { .. } | Order::Settled { .. } => false,
        }
    }

    fn snapshots(&self, _: &StreamName) -> bool {
        false
    }
}

impl Orders {
    /// Which limit an order is past: counted and shown, and looked at again after the same time.
    fn overdue(&self, order: &Order, command: &Command) -> Option<(&'static str, Duration)> {
        match (order, command) {
            (Order::Confirmed { .. }, Command::ProgressOverdue(_)) => {
                Some((PROGRESS_OVERDUE, self.completion_limit))
            }
            (Order::Cancelled { .. }, Command::CompensationOverdue(_)) => {
                Some((COMPENSATION_OVERDUE, self.compensation_limit))
            }
            _ => None,
        }
    }
}
