//! Whole lives of one payment, drawn at random: messages late and repeated, calls slow, silent and refused, the
//! database restored to before what was never published. In the end no cent is lost or made.

use std::collections::BTreeMap;

use payment_service::{
    Payments,
    domain::{
        Answer, Call, Closing, Command, Limits, Payment, Rejection, Stage, decide, differs, evolve, owes,
        record::Held,
    },
    provider::{
        Request,
        behaviour::Behaviour,
        books::{Books, Judged, Reply},
    },
};
use proptest::{prelude::*, sample::Index};
use shared::{
    contract::{
        money::{Currency, Money},
        payment::PaymentEvent,
    },
    decider::{Decider, Task, TaskChange},
};
use uuid::Uuid;

use crate::given::{folded, order, stream};

/// What happens next. An index picks among what there is.
#[derive(Debug, Clone)]
enum Move {
    ReserveStock,
    /// The customer or the deadline: the order takes it unless it has ended.
    Cancel,
    /// A message of the order comes, for the first time or again.
    Deliver(Index),
    /// What stands in the log is published, and the order hears it.
    Publish,
    TaskDue(Index),
    /// A call reaches the provider.
    Arrive(Index),
    /// An answer reaches us; it may come again.
    Answer(Index, bool),
    Callback,
    /// The process dies, its calls stay under way, and the log is as it was last published.
    Restore,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let index = || any::<Index>();
    let one = prop_oneof![
        2 => Just(Move::ReserveStock),
        1 => Just(Move::Cancel),
        4 => index().prop_map(Move::Deliver),
        4 => Just(Move::Publish),
        4 => index().prop_map(Move::TaskDue),
        4 => index().prop_map(Move::Arrive),
        4 => (index(), any::<bool>()).prop_map(|(index, again)| Move::Answer(index, again)),
        1 => Just(Move::Callback),
        1 => Just(Move::Restore),
    ];
    prop::collection::vec(one, 0..60)
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    (0..400_u32, any::<u64>()).prop_map(|(rate, seed)| Behaviour {
        declined_per_mille: rate / 4,
        capture_failed_per_mille: rate / 2,
        undoing_refused_per_mille: rate / 2,
        unavailable_per_mille: rate / 4,
        unanswered_per_mille: rate / 4,
        late_per_mille: rate / 2,
        seed,
        ..Behaviour::default()
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Created,
    Confirmed,
    Completed,
    Cancelled,
}

struct World {
    amount: Money,
    behaviour: Behaviour,
    books: Books,
    log: Vec<PaymentEvent>,
    published: usize,
    tasks: BTreeMap<&'static str, i32>,
    calls: Vec<(Call, bool)>,
    answers: Vec<Command>,
    order: Order,
    /// What the order said, oldest first; a message comes again only after those before it came once.
    said: Vec<Command>,
    delivered: usize,
    reserved: bool,
    restored: bool,
}

/// `true`: the answer to the call has nobody to go to.
const ORPHAN: bool = true;

impl World {
    fn new(amount_minor: i64, behaviour: Behaviour) -> Self {
        Self {
            amount: Money::new(amount_minor, Currency::EUR),
            behaviour,
            books: Books::default(),
            log: vec![],
            published: 0,
            tasks: BTreeMap::new(),
            calls: vec![],
            answers: vec![],
            order: Order::Created,
            said: vec![],
            delivered: 0,
            reserved: false,
            restored: false,
        }
    }

    fn payment(&self) -> Payment {
        folded(&self.log)
    }

    fn version(&self) -> i64 {
        self.log.len() as i64
    }

    /// What `execute` does with a decision: events, then tasks as the new state owes them, then those by hand.
    fn tell(&mut self, command: &Command) -> Result<(), Rejection> {
        let before = self.payment();
        let decision = decide(&before, self.version(), command, &Limits::default())?;
        let after =
            decision.events.iter().fold(before.clone(), |state, decided| evolve(state, &decided.event));
        self.log.extend(decision.events.into_iter().map(|decided| decided.event));
        let (owed_before, owed_after) = (owes(&before), owes(&after));
        if owed_before != owed_after {
            owed_before.map(|owed| self.tasks.remove(owed.kind));
            owed_after.map(|owed| self.tasks.insert(owed.kind, 1));
        }
        for change in decision.tasks {
            match change {
                TaskChange::Set { kind, attempt, .. } => self.tasks.insert(kind, attempt),
                TaskChange::Drop { kind, .. } => self.tasks.remove(kind),
            };
        }
        self.calls.extend(decision.calls.into_iter().map(|call| (call, !ORPHAN)));
        Ok(())
    }

    fn hear(&mut self) {
        for event in &self.log[self.published..] {
            let (order, said) = match (self.order, event) {
                (Order::Created, PaymentEvent::Authorized(_)) => {
                    (Order::Confirmed, Some(Command::CapturePayment { order_id: order() }))
                }
                (Order::Confirmed, PaymentEvent::Captured(_)) => (Order::Completed, None),
                (Order::Created, PaymentEvent::Declined(_))
                | (Order::Confirmed, PaymentEvent::CaptureFailed(_)) => {
                    (Order::Cancelled, Some(Command::ReversePayment { order_id: order() }))
                }
                (order, _) => (order, None),
            };
            self.order = order;
            self.said.extend(said);
        }
        self.published = self.log.len();
    }

    fn arrive(&mut self, (call, orphan): (Call, bool)) {
        let answer = match call {
            Call::Operation { order_id, operation, amount, idempotency_key, attempt } => {
                let request = Request { payment_id: order_id, operation, amount, idempotency_key };
                let judged = self.books.judge(&request, Default::default(), &self.behaviour);
                let answer = match judged.expect("we make no mistakes") {
                    Judged::Repeated(said) => Answer::Said(said),
                    Judged::New(entry) => {
                        self.books.apply(&entry);
                        match entry.reply {
                            Reply::Said(said) => Answer::Said(said),
                            Reply::Contradicted => Answer::Said(Reply::contradiction()),
                            Reply::Late(_) | Reply::Never | Reply::Unavailable => Answer::Silent,
                        }
                    }
                };
                Command::TakeAnswer { order_id, operation, attempt, answer }
            }
            Call::Enquire { order_id, asked_at_version, .. } => {
                Command::TakeRecord { record: self.books.record(order_id), asked_at_version }
            }
        };
        if !orphan {
            self.answers.push(answer);
        }
    }

    fn step(&mut self, step: Move) -> Result<(), Rejection> {
        match step {
            Move::ReserveStock => self.reserve()?,
            Move::Cancel if matches!(self.order, Order::Created | Order::Confirmed) => {
                self.order = Order::Cancelled;
                self.said.push(Command::ReversePayment { order_id: order() });
            }
            Move::Deliver(index) if !self.said.is_empty() => {
                let index = index.index((self.delivered + 1).min(self.said.len()));
                match self.tell(&self.said[index].clone()) {
                    // Held until its cause is here, in order.
                    Err(Rejection::UnknownOrder) => {}
                    told => {
                        told?;
                        self.delivered = self.delivered.max(index + 1);
                    }
                }
            }
            Move::Publish => self.hear(),
            Move::TaskDue(index) if !self.tasks.is_empty() => {
                let index = index.index(self.tasks.len());
                let task = self.tasks.iter().nth(index).map(|(kind, attempt)| (*kind, *attempt));
                let command = task.and_then(|(kind, attempt)| due(kind, attempt)).expect("a task of ours");
                self.tell(&command)?;
            }
            Move::Arrive(index) if !self.calls.is_empty() => {
                let call = self.calls.remove(index.index(self.calls.len()));
                self.arrive(call);
            }
            Move::Answer(index, again) if !self.answers.is_empty() => {
                let index = index.index(self.answers.len());
                let answer = if again { self.answers[index].clone() } else { self.answers.remove(index) };
                self.tell(&answer)?;
            }
            Move::Callback => match self.tell(&Command::Enquire { order_id: order() }) {
                Err(Rejection::UnknownPayment) => {}
                told => told?,
            },
            Move::Restore => {
                self.log.truncate(self.published);
                self.answers.clear();
                self.calls.iter_mut().for_each(|(_, orphan)| *orphan = ORPHAN);
                self.tasks = owes(&self.payment()).into_iter().map(|owed| (owed.kind, 1)).collect();
                // Positions are as old as the log: what was heard since is heard again.
                (self.delivered, self.reserved, self.restored) = (0, false, true);
            }
            _ => {}
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<(), Rejection> {
        self.reserved = true;
        self.tell(&Command::RequestPayment { order_id: order(), amount: self.amount })
    }

    /// Everything that is under way arrives once more, until nothing is.
    fn settle(&mut self) -> Result<(), Rejection> {
        if !self.reserved {
            self.reserve()?;
        }
        for _ in 0..1_000 {
            self.hear();
            for index in self.delivered..self.said.len() {
                self.tell(&self.said[index].clone())?;
            }
            self.delivered = self.said.len();
            for (kind, attempt) in self.tasks.clone() {
                self.tell(&due(kind, attempt).expect("a task of ours"))?;
            }
            for call in std::mem::take(&mut self.calls) {
                self.arrive(call);
            }
            for answer in std::mem::take(&mut self.answers) {
                self.tell(&answer)?;
            }
            if self.tasks.is_empty() && self.published == self.log.len() {
                return Ok(());
            }
        }
        panic!("it never ends: {:?}, owed {:?}", self.log, self.tasks)
    }
}

fn due(kind: &str, attempt: i32) -> Option<Command> {
    let (id, due_at) = (Uuid::nil(), Default::default());
    Payments::default().due(&Task {
        id,
        stream: stream(),
        kind: kind.into(),
        due_at,
        attempt,
        cause: id,
        traceparent: None,
    })
}

fn live(amount_minor: i64, behaviour: Behaviour, moves: Vec<Move>) -> World {
    let mut world = World::new(amount_minor, behaviour);
    for step in moves {
        let before = world.payment().stage;
        world.step(step).expect("no message is impossible");
        assert!(
            !matches!(before, Stage::Captured) || !matches!(world.payment().stage, Stage::Requested { .. }),
            "money is taken once"
        );
    }
    world.settle().expect("no message is impossible");
    let record = world.books.record(order());
    // After a restore nobody may know of a charge, nor after a no that was none: reconciliation finds it. Else it has
    // nothing to find.
    let contradicted = amount_minor % 100 == 18;
    assert!(
        world.restored || contradicted || !differs(&world.payment(), &record),
        "{:?} and {record:?}",
        world.payment()
    );
    world.tell(&Command::CompareRecord { record }).expect("no message is impossible");
    world.settle().expect("no message is impossible");
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn every_payment_ends_and_the_books_agree(
        amount_minor in prop::sample::select(vec![0, 3998, 1013, 1014, 1015, 1016, 1017, 1018]),
        behaviour in behaviours(),
        moves in moves(),
    ) {
        let world = live(amount_minor, behaviour, moves);
        let (payment, record) = (world.payment(), world.books.record(order()));
        let expected = match (world.order, payment.stage) {
            (Order::Completed, Stage::Captured) if amount_minor > 0 => Held::Captured,
            (Order::Completed, Stage::Captured) => Held::Nothing,
            (Order::Cancelled, Stage::Declined | Stage::Closed { .. }) => Held::Nothing,
            (order, stage) => return Err(TestCaseError::fail(format!("{order:?} and {stage:?}"))),
        };
        prop_assert_eq!(record.held(), expected);
        prop_assert!(record.charges <= 1, "{} charges", record.charges);
        prop_assert!(!differs(&payment, &record));
        prop_assert_eq!(record.charges > 0 && amount_minor == 0, false, "nothing to pay, nothing asked");
    }

    /// What the folds rest on: a message that is heard twice changes nothing the second time.
    #[test]
    fn a_message_heard_again_appends_nothing(
        behaviour in behaviours(),
        moves in moves(),
        last in prop::sample::select(vec![0, 1, 2]),
    ) {
        let mut world = World::new(3998, behaviour);
        for step in moves {
            world.step(step).expect("no message is impossible");
        }
        let command = [
            Command::RequestPayment { order_id: order(), amount: world.amount },
            Command::CapturePayment { order_id: order() },
            Command::ReversePayment { order_id: order() },
        ][last].clone();
        if world.tell(&command).is_ok() {
            let log = world.log.clone();
            prop_assert!(world.tell(&command).is_ok());
            prop_assert_eq!(&world.log, &log);
        }
    }

    /// A snapshot, should streams ever grow, is the state and nothing but.
    #[test]
    fn a_state_survives_being_written_down(moves in moves(), behaviour in behaviours()) {
        let world = live(3998, behaviour, moves);
        for length in 0..=world.log.len() {
            let payment = folded(&world.log[..length]);
            let text = serde_json::to_string(&payment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Payment>(&text).unwrap(), payment);
        }
    }
}

#[test]
fn the_lives_above_reach_every_ending() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut endings = std::collections::HashSet::new();
    for _ in 0..2_000 {
        let (behaviour, moves) = (behaviours(), moves()).new_tree(&mut runner).unwrap().current();
        endings.insert(live(3998, behaviour, moves).payment().stage);
    }
    for ending in [
        Stage::Captured,
        Stage::Declined,
        Stage::Closed { how: Closing::Tombstone },
        Stage::Closed { how: Closing::Abandoned },
        Stage::Closed { how: Closing::Voided },
        Stage::Closed { how: Closing::Refunded },
    ] {
        assert!(endings.contains(&ending), "{ending:?} was never reached");
    }
}
