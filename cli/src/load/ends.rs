//! Hearing on `orders.events` that orders ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use shared::{
    broker::BrokerSettings,
    contract::{envelope::Raw, ids::StreamName, topics::Topic},
    http::Token,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::book::{Book, End};
use crate::kafka::{From, Reader};

const POLL: Duration = Duration::from_millis(100);

/// The last event of an order, as it came.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) order: Uuid,
    pub(super) partition: i32,
    /// What the view is asked for.
    pub(super) token: Token,
}

/// A thread that reads until this is stopped or dropped.
pub(super) struct Ends {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// At the end of the topic as it is now.
pub(super) async fn open(broker: BrokerSettings) -> anyhow::Result<Reader> {
    tokio::task::spawn_blocking(move || Reader::open(&broker, &[Topic::OrdersEvents], None, From::End))
        .await?
}

impl Ends {
    /// Notes in the book what is heard, and tells of it.
    pub(super) fn follow(
        mut reader: Reader,
        book: Arc<Book>,
        begun: Instant,
        heard: mpsc::UnboundedSender<Ended>,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Some(raw) = reader.next(POLL)? else { continue };
                let Some((end, ended)) = end_of(&raw) else { continue };
                if book.ended(ended.order, end, ended.token.version, begun.elapsed()) {
                    // Gone only where the whole run is.
                    let _ = heard.send(ended);
                }
            }
            Ok(())
        });
        Self { stopped, thread: Some(thread) }
    }

    /// It failed, and [`Self::stop`] says why.
    pub(super) fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(|| thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the reader of orders.events panicked"))?
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// By the headers alone: a generator that parsed every event would be measured as well.
fn end_of(raw: &Raw) -> Option<(End, Ended)> {
    let end = match raw.headers.text("ce_type")?.split('.').nth(2)? {
        "completed" => End::Completed,
        "settled" => End::Settled,
        _ => return None,
    };
    let version = raw.headers.text("ce_sequence")?.parse().ok()?;
    let order: Uuid = std::str::from_utf8(raw.key.as_deref()?).ok()?.parse().ok()?;
    let stream = StreamName::parse(&format!("order-{order}"))?;
    Some((end, Ended { order, partition: raw.partition, token: Token::new(stream, version) }))
}

#[cfg(test)]
mod tests {
    use shared::contract::envelope::Headers;

    use super::*;

    fn raw(message_type: &str) -> Raw {
        let header = |name: &str, value: &str| (Headers::name(name), Some(value.to_owned().into()));
        Raw {
            topic: Topic::OrdersEvents,
            partition: 0,
            offset: 0,
            key: Some("0198f3c2-0000-7000-8000-000000000001".into()),
            value: None,
            headers: Headers::Readable(vec![
                header("ce_type", message_type),
                header("ce_sequence", "0000000006"),
            ]),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn the_last_event_of_an_order_names_what_the_view_must_have() {
        let (end, ended) = end_of(&raw("fulfil.order.completed.v1")).unwrap();
        assert_eq!(end, End::Completed);
        assert_eq!(ended.token.to_string(), "order-0198f3c2-0000-7000-8000-000000000001:6");
        assert_eq!(end_of(&raw("fulfil.order.settled.v1")).unwrap().0, End::Settled);
        assert!(end_of(&raw("fulfil.order.cancelled.v1")).is_none());
    }
}
