//! Payments through the unit of work: what its answers become in the log.

use std::{collections::HashSet, sync::Arc, time::Duration};

use payment_service::{
    Payments,
    domain::{Answer, Call, Command, record::Record},
};
use shared::{
    consumer::{Position, heard::queues},
    contract::{
        Timestamp,
        envelope::{Mode, Recorded},
        message::Event,
        payment::{Operation::*, PaymentEvent},
        topics::Topic,
    },
    decider::Task,
    engine::{gather::Gather, inbox::Asked},
    execute::{Execute, ExecuteSettings, Input, Outcome, Step},
    log::{Append, Appended, Loaded},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::given::*;

/// A database that takes everything, and the tasks that stand in it.
struct Service {
    execute: Execute<Payments>,
    log: Vec<Recorded>,
    tasks: Vec<Task>,
}

impl Service {
    fn new() -> Self {
        let settings = ExecuteSettings {
            mode: Mode::Production,
            partitions: 4,
            hold_limit: Duration::from_secs(60),
            cache_streams_max: 100,
            snapshot_every: 100,
        };
        Self {
            execute: Execute::new(Arc::new(Payments::default()), settings, (0, None)),
            log: vec![],
            tasks: vec![],
        }
    }

    fn run(&mut self, input: Input<Payments>) -> Outcome<Payments> {
        let mut step = self.execute.begin(vec![input], Timestamp::default());
        loop {
            step = match step {
                Step::Load(load) => {
                    let streams = load.streams.into_iter().map(|stream| (stream, None, vec![])).collect();
                    self.execute.loaded(Loaded { streams, ..Loaded::default() })
                }
                Step::Append(append) => {
                    self.write(&append);
                    self.execute.appended(&Appended::Done { now: Timestamp::default() })
                }
                Step::Done(outcome) => return outcome,
                Step::Fetch(_) | Step::Tail { .. } => panic!("there is nothing to fetch"),
            }
        }
    }

    fn write(&mut self, append: &Append) {
        self.log.extend(append.events.iter().cloned());
        let replaced: Vec<_> = append.tasks.iter().map(|owned| owned.task.id).collect();
        self.tasks.retain(|task| {
            !append.tasks_done.iter().any(|done| done.id == task.id) && !replaced.contains(&task.id)
        });
        self.tasks.extend(append.tasks.iter().map(|owned| owned.task.clone()));
    }

    fn ask(&mut self, id: u128, command: Command) {
        let (reply, _) = oneshot::channel();
        let traceparent = Some(trace(id));
        self.run(Input::Asked(Asked { id: Uuid::from_u128(id), command, traceparent, reply }));
    }

    /// Runs the task of this kind: its call, and what the call came to.
    fn answer(&mut self, kind: &str, answer: impl FnOnce(Call) -> Command) {
        let task = self.tasks.iter().find(|task| task.kind == kind).cloned();
        let task = task.unwrap_or_else(|| panic!("no task {kind} among {:?}", self.tasks));
        let mut outcome = self.run(Input::Task(task));
        assert_eq!(outcome.calls.len(), 1, "{kind}");
        let (call, task) = outcome.calls.remove(0);
        self.run(Input::Answer { task, command: answer(call), again: false });
    }

    fn events(&self) -> Vec<PaymentEvent> {
        let decode = |recorded: &Recorded| PaymentEvent::decode(&recorded.event_type, &recorded.data)?.ok();
        self.log.iter().filter_map(decode).collect()
    }
}

#[test]
fn a_call_that_is_owed_at_once_is_made_after_the_commit_that_owes_it() {
    let mut service = Service::new();
    let places = (0..4).map(|partition| Position { place: (Topic::InventoryEvents, partition), next: None });
    service.execute.assign(&places.collect::<Vec<_>>(), &[]);
    let (_, heard) = queues(1);
    let (asked, answers, compared) = (mpsc::channel(1).1, mpsc::unbounded_channel().1, mpsc::channel(1).1);
    let mut gather = Gather::<Payments>::new(heard, asked, answers, compared);
    let mut ask = |id, command| {
        let (reply, _) = oneshot::channel();
        let input = Input::Asked(Asked { id: Uuid::from_u128(id), command, traceparent: None, reply });
        let mut outcome = service.run(input);
        gather.settle(&mut outcome);
        let mut decided = Vec::new();
        gather.take(&mut decided);
        assert!(decided.is_empty(), "and not after one more");
        outcome.calls
    };
    let calls = ask(1, Command::RequestPayment { order_id: order(), amount: due() });
    assert!(
        matches!(&calls[..], [(Call::Operation { operation: Authorize, attempt: 1, .. }, _)]),
        "{calls:?}"
    );
    let calls = ask(2, Command::Enquire { order_id: order() });
    // Over the state that the batch leaves.
    assert!(matches!(&calls[..], [(Call::Enquire { asked_at_version: 1, .. }, _)]), "{calls:?}");
    assert_eq!(ask(3, Command::Enquire { order_id: order() }), vec![], "the answer to the first is out");
}

/// The record as the answer to an enquiry.
fn shows(record: Record) -> impl FnOnce(Call) -> Command {
    move |call| match call {
        Call::Enquire { asked_at_version, .. } => Command::TakeRecord { record, asked_at_version },
        Call::Operation { operation, .. } => panic!("{operation:?} is no enquiry"),
    }
}

/// A cancelled payment that the provider captured unasked: every answer goes back to one message, and still every
/// event is itself.
fn reversed_twice() -> Service {
    let mut service = Service::new();
    service.ask(1, Command::RequestPayment { order_id: order(), amount: due() });
    service.answer("authorize", |_| silence(Authorize));
    service.ask(2, Command::ReversePayment { order_id: order() });
    service.answer("authorize", |_| answer(Authorize, yes()));
    service.answer("void", |_| answer(Void, no()));
    service.answer("enquire", shows(record(&[(Authorize, yes()), (Capture, yes())])));
    service.answer("refund", |_| answer(Refund, yes()));
    service
}

#[test]
fn a_refused_void_is_looked_into_and_becomes_a_refund() {
    let service = reversed_twice();
    let expected = vec![
        requested(),
        outcome_unknown(Authorize),
        reversal(Authorize),
        reversal(Void),
        reversal(Refund),
        refunded(),
    ];
    assert_eq!(service.events(), expected);
    assert_eq!(service.tasks, vec![], "nothing is owed");
}

fn trace(id: u128) -> String {
    format!("00-{id:032x}-00f067aa0ba902b7-01")
}

#[test]
fn what_a_call_comes_to_is_in_the_trace_of_what_asked_for_it() {
    let service = reversed_twice();
    assert!(service.log.len() > 2);
    for recorded in &service.log {
        let asked = recorded.causation_id.as_u128();
        assert_eq!(recorded.traceparent, Some(trace(asked)), "{}", recorded.event_type);
    }
}

#[test]
fn events_that_go_back_to_one_message_have_ids_of_their_own() {
    let service = reversed_twice();
    let ids: HashSet<_> = service.log.iter().map(|recorded| recorded.event_id).collect();
    assert_eq!(ids.len(), service.log.len());
}

/// The record that is on its way was made before the provider called.
#[test]
fn a_callback_during_an_enquiry_is_enquired_about_after_it() {
    let mut service = Service::new();
    service.ask(1, Command::RequestPayment { order_id: order(), amount: due() });
    service.answer("authorize", |_| answer(Authorize, yes()));
    service.ask(2, Command::Enquire { order_id: order() });
    let enquiry = service.tasks[0].clone();
    let (call, task) = service.run(Input::Task(enquiry)).calls.remove(0);
    service.ask(3, Command::Enquire { order_id: order() });
    let old = shows(record(&[(Authorize, yes())]))(call);
    service.run(Input::Answer { task, command: old, again: true });
    assert_eq!(service.tasks.len(), 1, "the second call is not forgotten");
    service.answer("enquire", shows(record(&[(Authorize, yes()), (Capture, yes())])));
    assert_eq!(service.events().last(), Some(&captured()));
    assert_eq!(service.tasks, vec![]);
}

#[test]
fn an_answer_that_comes_twice_is_appended_once() {
    let mut service = Service::new();
    service.ask(1, Command::RequestPayment { order_id: order(), amount: due() });
    let task = service.tasks[0].clone();
    for _ in 0..2 {
        let command = Command::TakeAnswer {
            order_id: order(),
            operation: Authorize,
            attempt: 1,
            answer: Answer::Said(yes()),
        };
        service.run(Input::Answer { task: task.clone(), command, again: false });
    }
    assert_eq!(service.events(), vec![requested(), authorized()]);
    assert_eq!(service.tasks, vec![]);
}
