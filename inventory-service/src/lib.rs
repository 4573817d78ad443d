//! inventory-service owns the stock of every sku and what is reserved of it for an order.

pub mod domain;
pub mod reactions;
pub mod http;

use std::convert::Infallible;

use shared::{
    contract::{
        envelope::Envelope,
        ids::{self, Sku, StreamName},
        message::Message,
        topics::Topic,
    },
    decider::{Decided, Decider, Decision, Owed, Refusal, Streams, Task, Told},
};
use uuid::Uuid;

use domain::{Command, InventoryEvent, Reservation, Seen, State};

/// The service's decider.
#[derive(Debug, Clone, Default)]
pub struct Inventory;

impl Decider for Inventory {
    type State = State;
    type Event = InventoryEvent;
    type Command = Command;
    /// inventory-service asks nobody outside.
    type Call = Infallible;

    const NAME: &'static str = "inventory-service";
    const READS: &'static [Topic] = &[Topic::InventoryCommands, Topic::OrdersEvents];
    const ADOPTS: Option<Topic> = None;
    const WRITES: &'static [Topic] = &[Topic::InventoryEvents, Topic::InventoryStock];
    const FINGERPRINT: &'static str = "inventory-1";

    fn react(&self, message: &Message, envelope: &Envelope) -> Option<Command> {
        reactions::react(message, envelope)
    }

    fn streams(&self, command: &Command) -> Vec<StreamName> {
        let mut streams = vec![command.stream()];
        if let Command::Reserve(reserve) = command {
            streams.extend(reserve.lines.iter().map(|line| StreamName::stock(&line.sku)));
            streams[1..].sort_unstable();
            streams.dedup();
        }
        streams
    }

    fn further(&self, command: &Command, own: &State) -> Vec<StreamName> {
        match command {
            Command::Commit(_) | Command::Return(_) => {
                own.lines().iter().map(|line| StreamName::stock(&line.sku)).collect()
            }
            Command::Reserve(_) | Command::Receive(_) | Command::Adjust(_) => vec![],
        }
    }

    fn identity(&self, command: &Command, _: &Told) -> Option<Uuid> {
        identity(command)
    }

    fn decide(
        &self,
        streams: &Streams<'_, State, InventoryEvent>,
        command: &Command,
        _: &Told,
    ) -> Result<Decision<InventoryEvent, Infallible>, Refusal> {
        let own = streams.state(&command.stream());
        let stock = |sku: &Sku| (sku.clone(), streams.state(&StreamName::stock(sku)).stock());
        let seen = Seen {
            reservation: own.reservation(),
            stocks: match command {
                Command::Reserve(reserve) => reserve.lines.iter().map(|line| stock(&line.sku)).collect(),
                Command::Commit(_) | Command::Return(_) => {
                    own.lines().iter().map(|line| stock(&line.sku)).collect()
                }
                Command::Receive(receive) => [stock(&receive.sku)].into(),
                Command::Adjust(adjust) => [stock(&adjust.sku)].into(),
            },
            existing: streams.existing.map(|existing| &existing.event),
        };
        let id = identity(command);
        let decided = |event: InventoryEvent| Decided { stream: event.stream(), event, id };
        let events = domain::decide(&seen, command)?.into_iter().map(decided).collect();
        Ok(Decision { events, ..Decision::default() })
    }

    fn evolve(&self, state: State, event: &InventoryEvent) -> State {
        domain::evolve(state, event)
    }

    fn owes(&self, _: &StreamName, _: &State) -> Vec<Owed> {
        vec![]
    }

    fn due(&self, _: &Task) -> Option<Command> {
        None
    }

    /// What was committed can come back, which is rare. What was rejected is cancelled next.
    fn goes_on(&self, _: &StreamName, state: &State) -> bool {
        match state {
            State::None | State::Stock(_) => true,
            State::Reservation(Reservation::Reserved { .. } | Reservation::Rejected) => true,
            State::Reservation(
                Reservation::Committed { .. } | Reservation::Released | Reservation::Restocked,
            ) => false,
        }
    }

    /// A sku that sells has as many events as orders; a reservation has three.
    fn snapshots(&self, stream: &StreamName) -> bool {
        stream.category() == "stock"
    }
}

/// The same reference for the same sku is the same event, however often it is told.
fn identity(command: &Command) -> Option<Uuid> {
    command.reference().map(|reference| ids::named(&[command.stream().as_str(), reference]))
}
