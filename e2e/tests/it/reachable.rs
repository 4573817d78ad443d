//! One service alone, told everything in every order: the states that it can be in, and what it does in each.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::Hash,
};

use inventory_service::{Inventory, domain as inventory};
use order_service::{Orders, domain as order};
use payment_service::{
    Payments,
    domain::{
        self as payment, Answer, Stage,
        record::{Record, Said},
    },
};
use shared::{
    contract::{ids::StreamName, message::Event, payment::Operation},
    decider::{Decider, Folded, FoldedStreams, Streams, Task, Told, Via},
    testing::memory::told,
};
use uuid::Uuid;

use crate::samples;

/// What a service is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A message, by its type.
    Message(&'static str),
    Task(&'static str),
    /// An answer of the payment provider, or its record.
    Answer(&'static str),
}

/// What a service does, whatever the others do. Events are named by their types.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The messages that concern it.
    pub(crate) reacts: BTreeSet<&'static str>,
    pub(crate) publishes: BTreeMap<What, BTreeSet<&'static str>>,
    /// In this state it appends something about this.
    pub(crate) moves: BTreeSet<(&'static str, What)>,
    pub(crate) states: BTreeSet<&'static str>,
    /// By state: the kinds of its tasks.
    pub(crate) owes: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// What a cancellation ends in after this event, where it does anything.
    pub(crate) compensations: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// The folded streams, and the identities that were used: such a command counts once.
#[derive(Clone, PartialEq, Eq, Hash)]
struct States<S> {
    streams: BTreeMap<StreamName, S>,
    identities: BTreeSet<Uuid>,
}

struct Input<D: Decider> {
    what: What,
    command: D::Command,
    via: Via,
}

/// `(order-service, inventory-service, payment-service)`
pub(crate) fn all() -> [(&'static str, Facts); 3] {
    [
        (
            Orders::NAME,
            facts(
                &Orders::default(),
                tasks_of_orders(),
                &StreamName::order(samples::order_id()),
                order::Order::name,
            ),
        ),
        (
            Inventory::NAME,
            facts(&Inventory, vec![], &StreamName::reservation(samples::order_id()), reservation_name),
        ),
        (
            Payments::NAME,
            facts(
                &Payments::default(),
                of_the_provider(),
                &StreamName::payment(samples::order_id()),
                payment_name,
            ),
        ),
    ]
}

fn reservation_name(state: &inventory::State) -> &'static str {
    use inventory::Reservation::*;
    match state.reservation() {
        None => "none",
        Some(Reserved { .. }) => "reserved",
        Some(Committed { .. }) => "committed",
        Some(Rejected) => "rejected",
        Some(Released) => "released",
        Some(Restocked) => "restocked",
    }
}

fn payment_name(payment: &payment::Payment) -> &'static str {
    match payment.stage {
        Stage::None => "none",
        Stage::Requested { .. } => "requested",
        Stage::Authorized => "authorized",
        Stage::CaptureRequested { .. } => "capture_requested",
        Stage::Captured => "captured",
        Stage::CaptureFailed => "capture_failed",
        Stage::Declined => "declined",
        Stage::Reversing { .. } => "reversing",
        Stage::Closed { .. } => "closed",
    }
}

fn task<D: Decider>(decider: &D, kind: &'static str, stream: StreamName) -> Option<Input<D>> {
    let (due_at, cause) = (samples::now(), Uuid::nil());
    let task =
        Task { id: Uuid::nil(), stream, kind: kind.into(), due_at, attempt: 1, cause, traceparent: None };
    Some(Input { what: What::Task(kind), command: decider.due(&task)?, via: Via::Task { attempt: 1 } })
}

fn tasks_of_orders() -> Vec<Input<Orders>> {
    let kinds =
        [order_service::DEADLINE, order_service::PROGRESS_OVERDUE, order_service::COMPENSATION_OVERDUE];
    kinds
        .into_iter()
        .filter_map(|kind| task(&Orders::default(), kind, StreamName::order(samples::order_id())))
        .collect()
}

fn of_the_provider() -> Vec<Input<Payments>> {
    let order_id = samples::order_id();
    let (yes, no) = (|| Some(Said::Yes), || Some(Said::No { code: "no".into() }));
    let via = Via::Task { attempt: 1 };
    let mut inputs = Vec::new();
    for operation in Operation::ALL {
        inputs.extend(task(&Payments::default(), operation.as_str(), StreamName::payment(order_id)));
        let answers = [Answer::Silent, Answer::Said(Said::Yes), Answer::Said(Said::No { code: "no".into() })];
        inputs.extend(answers.map(|answer| Input {
            what: What::Answer(operation.as_str()),
            command: payment::Command::TakeAnswer { order_id, operation, attempt: 1, answer },
            via,
        }));
    }
    for authorize in [None, yes(), no()] {
        for capture in [None, yes(), no()] {
            for (void, refund) in [(None, None), (yes(), None), (None, yes()), (yes(), yes())] {
                let (authorize, capture) = (authorize.clone(), capture.clone());
                let record = Record { authorize, capture, void, refund, ..Record::nothing(order_id) };
                // Version 0 is what a state is folded at here, so that every record is the newest.
                let command = payment::Command::TakeRecord { record, asked_at_version: 0 };
                inputs.push(Input { what: What::Answer(payment::ENQUIRE), command, via });
            }
        }
    }
    inputs
}

fn facts<D: Decider<State: Eq + Hash>>(
    decider: &D,
    others: Vec<Input<D>>,
    own: &StreamName,
    name: fn(&D::State) -> &'static str,
) -> Facts {
    let mut facts = Facts::default();
    let mut inputs = Vec::new();
    let free = shared::contract::message::Message::Reservation(
        shared::contract::stock::StockReserved {
            order_id: samples::order_id(),
            lines: vec![],
            amount: samples::create(0).amount,
        }
        .into(),
    );
    for message in samples::commands().into_iter().chain(samples::events()).chain([free]) {
        let Some(command) = decider.react(&message, &samples::envelope(&message, Some(1))) else { continue };
        facts.reacts.insert(message.message_type());
        inputs.push(Input { what: What::Message(message.message_type()), command, via: Via::Topic });
    }
    inputs.extend(others);

    let mut seen: HashSet<States<D::State>> = HashSet::new();
    let mut after: Vec<(&'static str, States<D::State>)> = Vec::new();
    let mut queue = VecDeque::from([States { streams: BTreeMap::new(), identities: BTreeSet::new() }]);
    while let Some(states) = queue.pop_front() {
        if !seen.insert(states.clone()) {
            continue;
        }
        let here = name(&state(&states, own));
        facts.states.insert(here);
        let owed = decider.owes(own, &state(&states, own)).into_iter().map(|owed| owed.kind);
        facts.owes.entry(here).or_default().extend(owed);
        for input in &inputs {
            let (next, events) = step(decider, &states, input);
            if events.is_empty() {
                continue;
            }
            facts.moves.insert((here, input.what.clone()));
            facts.publishes.entry(input.what.clone()).or_default().extend(&events);
            after.extend(events.iter().map(|event| (*event, next.clone())));
            queue.push_back(next);
        }
    }

    let cancelled = "fulfil.order.cancelled.v1";
    let cancels = inputs.iter().find(|input| input.what == What::Message(cancelled));
    for (event, states) in after {
        let Some(cancels) = cancels else { break };
        let (states, events) = step(decider, &states, cancels);
        // Nothing is appended where nothing is held, or where it is being given back already.
        if !events.is_empty() {
            let ends = ends(decider, own, states, events, &inputs);
            facts.compensations.entry(event).or_default().extend(ends);
        }
    }
    facts
}

/// What a cancellation ends in, once whatever was still out is answered.
fn ends<D: Decider<State: Eq + Hash>>(
    decider: &D,
    own: &StreamName,
    states: States<D::State>,
    events: Vec<&'static str>,
    inputs: &[Input<D>],
) -> BTreeSet<&'static str> {
    let owed = decider.owes(own, &state(&states, own));
    if owed.is_empty() {
        return events.into_iter().collect();
    }
    let awaited = |input: &&Input<D>| match input.what {
        What::Answer(kind) => owed.iter().any(|owed| owed.kind == kind),
        What::Message(_) | What::Task(_) => false,
    };
    let answered = inputs.iter().filter(awaited).map(|input| step(decider, &states, input));
    answered
        .filter(|(_, events)| !events.is_empty())
        .flat_map(|(next, events)| ends(decider, own, next, events, inputs))
        .collect()
}

fn state<S: Clone + Default>(states: &States<S>, stream: &StreamName) -> S {
    states.streams.get(stream).cloned().unwrap_or_default()
}

fn step<D: Decider<State: Eq + Hash>>(
    decider: &D,
    states: &States<D::State>,
    input: &Input<D>,
) -> (States<D::State>, Vec<&'static str>) {
    let folded = |(stream, state): (&StreamName, &D::State)| {
        (stream.clone(), Folded { version: 0, state: state.clone() })
    };
    let seen: FoldedStreams<D::State> = states.streams.iter().map(folded).collect();
    let told = Told { via: input.via, ..told(Uuid::from_u128(7), samples::now()) };
    let identity = decider.identity(&input.command, &told);
    let mut next = states.clone();
    if identity.is_some_and(|id| !next.identities.insert(id)) {
        return (next, vec![]);
    }
    let Ok(decision) = decider.decide(&Streams::new(&seen, None), &input.command, &told) else {
        return (states.clone(), vec![]);
    };
    for decided in &decision.events {
        let before = next.streams.remove(&decided.stream).unwrap_or_default();
        next.streams.insert(decided.stream.clone(), decider.evolve(before, &decided.event));
    }
    let events = decision.events.iter().map(|decided| decided.event.event_type()).collect();
    (next, events)
}
