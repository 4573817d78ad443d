//! The provider's books: every call that it took, and what each makes of a payment. The same books serve the
//! provider inside a process and the one that is a process; how they are kept is not their affair.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use shared::contract::{Timestamp, ids::OrderId, money::Money, payment::Operation};
use uuid::Uuid;

use super::{
    Request,
    behaviour::{Behaviour, Fault},
};
use crate::domain::{
    idempotency_key,
    record::{Record, Said},
};

/// The fold of all entries.
#[derive(Debug, Default)]
pub struct Books {
    accounts: HashMap<OrderId, Account>,
    /// Under which payment an idempotency key was used.
    keys: HashMap<Uuid, OrderId>,
    /// Forgotten, but for what it takes to make their accounts again: what was taken may have to be given back.
    captured: HashMap<OrderId, Money>,
    /// Which payment the entry of this number changed last.
    changes: BTreeMap<u64, OrderId>,
    entries: u64,
}

/// A call that was taken: one line of the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub payment_id: OrderId,
    pub operation: Operation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    pub idempotency_key: Uuid,
    pub reply: Reply,
}

/// How a call is answered. What is [`Reply::Never`] or [`Reply::Unavailable`] did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Said(Said),
    /// It happened, but who asked will have gone.
    Late(Said),
    /// It happened, and who asked is told that it did not. Whoever asks again is told the truth.
    Contradicted,
    Never,
    Unavailable,
}

/// Such a call is a mistake of the caller: it is not taken into the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    #[error("the idempotency key was used for another call")]
    KeyReused,
    #[error("an authorization has an amount above zero")]
    NoAmount,
    #[error("an amount belongs to an authorization alone")]
    Amount,
}

/// What to do about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It was answered before.
    Repeated(Said),
    /// To be written before it is answered.
    New(Entry),
}

/// A record with what people and audits look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    #[serde(flatten)]
    pub record: Record,
    /// Taken and not given back.
    pub captured_minor: i64,
    /// Set aside and neither taken nor given back.
    pub authorized_minor: i64,
    pub changed_at: Timestamp,
}

#[derive(Debug)]
struct Account {
    /// One, unless somebody lost an idempotency key.
    charges: Vec<Charge>,
    amount: Option<Money>,
    /// Final ones, in order.
    answers: Vec<Answer>,
    /// By operation.
    asked: [u32; Operation::ALL.len()],
    /// Who asked last knows what happened, and does not ask for the same again.
    is_told: bool,
    changed: u64,
    changed_at: Timestamp,
}

#[derive(Debug)]
struct Answer {
    request: Request,
    said: Said,
}

#[derive(Debug)]
struct Charge {
    minor: i64,
    state: ChargeState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChargeState {
    Authorized,
    Voided,
    Captured,
    Refunded,
}

impl Books {
    /// Judges a call. Nothing changes until the entry is applied.
    ///
    /// # Errors
    /// Where the call makes no sense whatever the books say.
    pub fn judge(&self, request: &Request, at: Timestamp, behaviour: &Behaviour) -> Result<Judged, Mistake> {
        if let Some(answer) = self.answer(request.idempotency_key) {
            return if answer.request == *request {
                Ok(Judged::Repeated(answer.said.clone()))
            } else {
                Err(Mistake::KeyReused)
            };
        }
        match (request.operation, request.amount) {
            (Operation::Authorize, Some(amount)) if amount.minor > 0 => {}
            (Operation::Authorize, _) => return Err(Mistake::NoAmount),
            (_, Some(_)) => return Err(Mistake::Amount),
            (_, None) => {}
        }
        Ok(Judged::New(Entry {
            at,
            payment_id: request.payment_id,
            operation: request.operation,
            amount: request.amount,
            idempotency_key: request.idempotency_key,
            reply: self.reply(request, behaviour),
        }))
    }

    fn answer(&self, idempotency_key: Uuid) -> Option<&Answer> {
        let account = self.accounts.get(self.keys.get(&idempotency_key)?)?;
        account.answers.iter().find(|answer| answer.request.idempotency_key == idempotency_key)
    }

    fn reply(&self, request: &Request, behaviour: &Behaviour) -> Reply {
        let account = self.accounts.get(&request.payment_id);
        let amount = request.amount.or(account.and_then(|account| account.amount));
        let asked = account.map_or(0, |account| account.asked[request.operation as usize]);
        let said = self.possible(request).map_or(Said::Yes, |code| Said::No { code: code.into() });
        let no = |code: &str| Reply::Said(Said::No { code: code.into() });
        match behaviour.fault(request.operation, amount, request.idempotency_key, asked) {
            Some(Fault::Unavailable) => Reply::Unavailable,
            Some(Fault::Unanswered) => Reply::Never,
            Some(Fault::Late) => Reply::Late(said),
            Some(Fault::Contradicts) if said == Said::Yes => Reply::Contradicted,
            Some(Fault::Declined) => no("card-declined"),
            Some(Fault::CaptureFailed) if said == Said::Yes => no("capture-failed"),
            Some(Fault::UndoingRefused) if said == Said::Yes => no("try-again"),
            Some(Fault::CaptureFailed | Fault::UndoingRefused | Fault::Contradicts) | None => {
                Reply::Said(said)
            }
        }
    }

    /// `None`: it is. Else why it is not.
    fn possible(&self, request: &Request) -> Option<&'static str> {
        let charge = self.accounts.get(&request.payment_id).and_then(|account| account.charges.last());
        match (request.operation, charge.map(|charge| charge.state)) {
            // Another key is another charge: that is what the key is for.
            (Operation::Authorize, _) => None,
            (Operation::Capture | Operation::Void, Some(ChargeState::Authorized)) => None,
            (Operation::Refund, Some(ChargeState::Captured)) => None,
            (_, None) => Some("no-charge"),
            (Operation::Refund, Some(ChargeState::Authorized)) => Some("not-captured"),
            (_, Some(ChargeState::Voided)) => Some("already-voided"),
            (Operation::Capture | Operation::Void, Some(ChargeState::Captured)) => Some("already-captured"),
            (_, Some(ChargeState::Refunded)) => Some("already-refunded"),
        }
    }

    pub fn apply(&mut self, entry: &Entry) {
        self.entries += 1;
        let number = self.entries;
        let account = self.accounts.entry(entry.payment_id).or_insert_with(|| Account {
            charges: Vec::new(),
            amount: None,
            answers: Vec::new(),
            asked: Default::default(),
            is_told: false,
            changed: number,
            changed_at: entry.at,
        });
        self.changes.remove(&account.changed);
        self.changes.insert(number, entry.payment_id);
        (account.changed, account.changed_at) = (number, entry.at);
        account.amount = entry.amount.or(account.amount);
        account.asked[entry.operation as usize] += 1;
        account.is_told = false;
        let said = match &entry.reply {
            Reply::Said(said) | Reply::Late(said) => said,
            Reply::Contradicted => &Said::Yes,
            Reply::Never | Reply::Unavailable => return,
        };
        if *said == Said::Yes {
            account.charge(entry);
        }
        let refused = matches!(entry.operation, Operation::Void | Operation::Refund) && *said != Said::Yes;
        if !refused {
            account.is_told = matches!(entry.reply, Reply::Said(_));
            account.answers.push(Answer { request: entry.request(), said: said.clone() });
            self.keys.insert(entry.idempotency_key, entry.payment_id);
        }
    }

    /// An answer was given again.
    pub fn repeated(&mut self, payment_id: OrderId) {
        if let Some(account) = self.accounts.get_mut(&payment_id) {
            account.is_told = true;
        }
    }

    /// Forgets the payments that were settled longest ago, but for so many of all. One that is not settled is not forgotten,
    /// nor what changed after it. Of a captured one it stays known that it was: [`Books::recall`].
    pub fn forget_settled(&mut self, kept: usize) {
        while self.accounts.len() > kept
            && let Some(longest) = self.changes.first_entry()
            && self.accounts.get(longest.get()).is_none_or(|account| account.is_settled(*longest.get()))
        {
            let payment_id = longest.remove();
            let account = self.accounts.remove(&payment_id);
            if let Some(amount) = account.as_ref().and_then(|account| account.captured(payment_id)) {
                self.captured.insert(payment_id, amount);
            }
            for answer in account.into_iter().flat_map(|account| account.answers) {
                self.keys.remove(&answer.request.idempotency_key);
            }
        }
    }

    /// Before anything is asked about a payment: its account again, where it was forgotten after its capture.
    pub fn recall(&mut self, payment_id: OrderId, at: Timestamp) {
        let Some(amount) = self.captured.remove(&payment_id) else { return };
        for request in captured_with(payment_id, amount) {
            let Request { payment_id, operation, amount, idempotency_key } = request;
            self.apply(&Entry {
                at,
                payment_id,
                operation,
                amount,
                idempotency_key,
                reply: Reply::Said(Said::Yes),
            });
        }
    }

    /// `None` for a payment that no call was about.
    pub fn page(&self, payment_id: OrderId) -> Option<Page> {
        let account = self.accounts.get(&payment_id)?;
        let said = |operation| account.said(operation).cloned();
        let sum = |state| {
            account.charges.iter().filter(|charge| charge.state == state).map(|charge| charge.minor).sum()
        };
        let record = Record {
            payment_id,
            amount: account.amount,
            authorize: said(Operation::Authorize),
            capture: said(Operation::Capture),
            void: said(Operation::Void),
            refund: said(Operation::Refund),
            charges: u32::try_from(account.charges.len()).unwrap_or(u32::MAX),
        };
        Some(Page {
            record,
            captured_minor: sum(ChargeState::Captured),
            authorized_minor: sum(ChargeState::Authorized),
            changed_at: account.changed_at,
        })
    }

    pub fn record(&self, payment_id: OrderId) -> Record {
        self.page(payment_id).map_or_else(|| Record::nothing(payment_id), |page| page.record)
    }

    /// Pages that changed since then, the longest unchanged first, each with the number of its last entry; `after`
    /// is such a number.
    pub fn pages(&self, since: Option<Timestamp>, after: u64) -> impl Iterator<Item = (u64, Page)> {
        self.changes
            .range(after.saturating_add(1)..)
            .filter_map(|(number, payment_id)| Some((*number, self.page(*payment_id)?)))
            .filter(move |(_, page)| since.is_none_or(|since| since <= page.changed_at))
    }
}

/// How payment-service takes an amount.
fn captured_with(payment_id: OrderId, amount: Money) -> [Request; 2] {
    [(Operation::Authorize, Some(amount)), (Operation::Capture, None)].map(|(operation, amount)| Request {
        payment_id,
        operation,
        amount,
        idempotency_key: idempotency_key(payment_id, operation),
    })
}

impl Account {
    /// The last answer.
    fn said(&self, operation: Operation) -> Option<&Said> {
        let mut answers = self.answers.iter().rev();
        Some(&answers.find(|answer| answer.request.operation == operation)?.said)
    }

    /// Nothing is set aside, who asked knows it, and what was taken can be made known again.
    fn is_settled(&self, payment_id: OrderId) -> bool {
        let is_past = |charge: &Charge| matches!(charge.state, ChargeState::Voided | ChargeState::Refunded);
        self.is_told && (self.charges.iter().all(is_past) || self.captured(payment_id).is_some())
    }

    /// What was taken, where nothing but what payment-service asks for happened.
    fn captured(&self, payment_id: OrderId) -> Option<Money> {
        let [Charge { state: ChargeState::Captured, .. }] = self.charges[..] else { return None };
        let amount = self.amount?;
        let asked = captured_with(payment_id, amount);
        let is_usual = self.answers.len() == asked.len()
            && self
                .answers
                .iter()
                .zip(&asked)
                .all(|(answer, asked)| answer.request == *asked && answer.said == Said::Yes);
        is_usual.then_some(amount)
    }

    fn charge(&mut self, entry: &Entry) {
        let state = match entry.operation {
            Operation::Authorize => {
                let minor = entry.amount.map_or(0, |amount| amount.minor);
                // Nearly always the only one.
                self.charges.reserve_exact(1);
                return self.charges.push(Charge { minor, state: ChargeState::Authorized });
            }
            Operation::Capture => ChargeState::Captured,
            Operation::Void => ChargeState::Voided,
            Operation::Refund => ChargeState::Refunded,
        };
        if let Some(charge) = self.charges.last_mut() {
            charge.state = state;
        }
    }
}

impl Reply {
    /// What is told to who asked where it is the opposite of what happened.
    pub fn contradiction() -> Said {
        Said::No { code: "try-another".into() }
    }
}

impl Entry {
    fn request(&self) -> Request {
        Request {
            payment_id: self.payment_id,
            operation: self.operation,
            amount: self.amount,
            idempotency_key: self.idempotency_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{money::Currency, payment::Operation::*};

    use super::*;

    const KEPT: usize = 2;

    fn payment(number: u128) -> OrderId {
        OrderId::new(Uuid::from_u128(number)).unwrap()
    }

    fn ask(books: &mut Books, number: u128, operation: Operation, behaviour: &Behaviour) -> Judged {
        let request = Request {
            payment_id: payment(number),
            operation,
            amount: (operation == Authorize).then(|| Money::new(100, Currency::EUR)),
            idempotency_key: idempotency_key(payment(number), operation),
        };
        books.recall(request.payment_id, Timestamp::UNIX_EPOCH);
        let judged = books.judge(&request, Timestamp::UNIX_EPOCH, behaviour).unwrap();
        match &judged {
            Judged::New(entry) => books.apply(entry),
            Judged::Repeated(_) => books.repeated(request.payment_id),
        }
        books.forget_settled(KEPT);
        judged
    }

    fn settle(books: &mut Books, numbers: impl IntoIterator<Item = u128>) {
        for number in numbers {
            ask(books, number, Authorize, &Behaviour::default());
            ask(books, number, Capture, &Behaviour::default());
        }
    }

    fn known(books: &Books, numbers: impl IntoIterator<Item = u128>) -> Vec<u128> {
        numbers.into_iter().filter(|number| books.page(payment(*number)).is_some()).collect()
    }

    #[test]
    fn the_longest_settled_are_forgotten_with_all_that_was_theirs() {
        let mut books = Books::default();
        settle(&mut books, 1..=9);
        assert_eq!(known(&books, 1..=9), [8, 9]);
        assert_eq!((books.accounts.len(), books.keys.len(), books.changes.len()), (KEPT, 4, KEPT));
    }

    #[test]
    fn what_was_taken_is_known_again_and_can_be_given_back_after_it_was_forgotten() {
        let mut books = Books::default();
        settle(&mut books, [1]);
        let before = books.record(payment(1));
        settle(&mut books, 2..=9);
        assert_eq!(known(&books, [1]), [] as [u128; 0]);
        assert_eq!(ask(&mut books, 1, Capture, &Behaviour::default()), Judged::Repeated(Said::Yes));
        assert_eq!(books.record(payment(1)), before);

        settle(&mut books, 2..=9);
        assert_eq!(known(&books, [1]), [] as [u128; 0]);
        let refunded = ask(&mut books, 1, Refund, &Behaviour::default());
        assert!(matches!(refunded, Judged::New(Entry { reply: Reply::Said(Said::Yes), .. })), "{refunded:?}");
        assert_eq!(books.page(payment(1)).map(|page| page.captured_minor), Some(0));
        settle(&mut books, 10..=19);
        assert_eq!(
            ask(&mut books, 1, Refund, &Behaviour::default()),
            Judged::New(Entry {
                at: Timestamp::UNIX_EPOCH,
                payment_id: payment(1),
                operation: Refund,
                amount: None,
                idempotency_key: idempotency_key(payment(1), Refund),
                reply: Reply::Said(Said::No { code: "no-charge".into() }),
            }),
            "it is over, so nothing of it is known"
        );
    }

    #[test]
    fn what_is_set_aside_is_kept_and_what_changed_after_it() {
        let mut books = Books::default();
        settle(&mut books, [1]);
        ask(&mut books, 2, Authorize, &Behaviour::default());
        settle(&mut books, 3..=9);
        assert_eq!(known(&books, 1..=9), [2, 3, 4, 5, 6, 7, 8, 9]);
        ask(&mut books, 2, Void, &Behaviour::default());
        assert_eq!(known(&books, 1..=9), [2, 9]);
    }

    #[test]
    fn what_nobody_heard_of_is_kept_until_it_is_asked_again() {
        let mut books = Books::default();
        ask(&mut books, 1, Authorize, &Behaviour::default());
        let late = ask(&mut books, 1, Capture, &Behaviour { late_per_mille: 1_000, ..Behaviour::default() });
        assert!(matches!(late, Judged::New(Entry { reply: Reply::Late(Said::Yes), .. })), "{late:?}");
        settle(&mut books, 2..=9);
        assert_eq!(known(&books, 1..=9), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let again = ask(&mut books, 1, Capture, &Behaviour::default());
        assert_eq!(again, Judged::Repeated(Said::Yes));
        assert_eq!(known(&books, 1..=9), [8, 9]);
    }
}
