//! What the clients were told, and what was planted, compared with what is there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use shared::contract::{dead_letter::header, envelope::Raw, topics::Topic};
use uuid::Uuid;

use super::{Load, System, planted_letters, until};

/// Longer is a failure of its own.
const LIMIT: Duration = Duration::from_secs(200);

impl System {
    /// What was accepted ends, what was refused is not there, each planted message is a dead letter of each of its
    /// readers, and no other message since the load began is one, but for a cancel of an order that nobody created in time.
    ///
    /// # Panics
    /// Where that is not so within 200 seconds.
    pub async fn all_accounted_for(&self, load: &Load) {
        let open = || load.journal.accepted.iter().find(|order| self.seen.end(**order).is_none());
        self.in_time(async || open().is_none(), || format!("order {:?} does not end", open())).await;
        self.comes_out(load).await;
        let wrong = load.journal.refused.iter().find(|order| !self.seen.story(**order).is_empty());
        assert_eq!(wrong, None, "an order that was refused is there");

        let wanted = planted_letters(&self.seen);
        let missing = || {
            let there = self.letters_on_topic();
            let missing = wanted.iter().filter(|(id, _)| !there.contains(id)).map(|(_, what)| what.clone());
            missing.collect::<Vec<String>>()
        };
        self.in_time(async || missing().is_empty(), || format!("no dead letter for {:?}", missing())).await;
        let good: Vec<String> = self
            .seen
            .on(Topic::DeadLetters)
            .iter()
            // What became of a letter says nothing of where its message was, and is of the letter.
            .filter(|raw| raw.headers.text(header::TOPIC).is_some())
            .filter(|raw| !id(raw).is_some_and(|id| wanted.contains_key(&id)) && !is_of_nobody(raw, load))
            .filter(|raw| self.died(raw).is_none_or(|died| died.timestamp_ms >= load.begun_ms))
            .map(|raw| format!("{:?}", raw.headers))
            .collect();
        assert!(good.is_empty(), "good messages are dead letters: {good:?}");
    }

    /// The provider calls back about what it had said no to and done, and is asked to give it back.
    async fn comes_out(&self, load: &Load) {
        for order in &load.contradicted {
            let made_good = async || {
                if self.money(*order).await.1 == 0 {
                    return Some(());
                }
                self.post("payment-service", "/provider/callbacks", &json!({"payment_id": order})).await;
                None
            };
            until(&format!("the money of {order} to be given back"), LIMIT, made_good).await;
        }
    }

    async fn in_time(&self, mut is_so: impl AsyncFnMut() -> bool, otherwise: impl Fn() -> String) {
        let waiting = until("what must come", LIMIT * 2, async || is_so().await.then_some(()));
        assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "{}", otherwise());
    }

    /// The message of a letter, where it is on its topic.
    fn died(&self, letter: &Raw) -> Option<Arc<Raw>> {
        let text = |name| letter.headers.text(name);
        let topic = Topic::parse(text(header::TOPIC)?)?;
        let (partition, offset) =
            (text(header::PARTITION)?.parse().ok()?, text(header::OFFSET)?.parse().ok()?);
        self.seen.on(topic).into_iter().find(|raw| (raw.partition, raw.offset) == (partition, offset))
    }

    fn letters_on_topic(&self) -> BTreeSet<Uuid> {
        let letters = self.seen.on(Topic::DeadLetters);
        letters.iter().filter_map(|raw| id(raw)).collect()
    }
}

fn id(raw: &Raw) -> Option<Uuid> {
    raw.headers.text(header::ID)?.parse().ok()
}

/// Held until its limit for an order whose creation was never accepted.
fn is_of_nobody(raw: &Raw, load: &Load) -> bool {
    let key = raw.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
    raw.headers.text(header::CODE) == Some("unknown-order")
        && key.is_some_and(|order: Uuid| !load.journal.accepted.contains(&order))
}
