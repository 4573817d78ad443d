//! Asking the view for orders that ended: the answer comes when it has them.
//!
//! One question a partition at a time, for the newest end that was heard there. A view has what is before that on the
//! partition as well, so its answer counts for all of them: none is left out, whatever the rate, and the view is asked no
//! more often than it answers.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{book::Book, ends::Ended};

/// As long as the projector waits at most.
const WAIT_SECONDS: u64 = 25;
/// Before it is asked again where it did not answer.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Sight {
    projector: String,
    client: Client,
    /// How long the view may take for one end.
    patience: Duration,
}

impl Sight {
    pub(super) fn new(projector: &str, patience: Duration) -> anyhow::Result<Self> {
        Ok(Self { projector: projector.to_owned(), client: crate::service::client()?, patience })
    }

    /// Until nobody is left who could tell of more, and all that was told of is seen or given up.
    pub(super) async fn watch(
        self,
        mut heard: mpsc::UnboundedReceiver<Ended>,
        book: Arc<Book>,
        begun: Instant,
    ) {
        let mut partitions: HashMap<i32, mpsc::UnboundedSender<Ended>> = HashMap::new();
        let mut watching = JoinSet::new();
        while let Some(ended) = heard.recv().await {
            let of_partition = partitions.entry(ended.partition).or_insert_with(|| {
                let (told, hearing) = mpsc::unbounded_channel();
                watching.spawn(self.clone().watch_one(hearing, Arc::clone(&book), begun));
                told
            });
            // Its task lives as long as this end of it.
            let _ = of_partition.send(ended);
        }
        drop(partitions);
        watching.join_all().await;
    }

    async fn watch_one(self, mut heard: mpsc::UnboundedReceiver<Ended>, book: Arc<Book>, begun: Instant) {
        let mut ends = Vec::new();
        while heard.recv_many(&mut ends, usize::MAX).await > 0 {
            let orders: Vec<_> = ends.iter().map(|ended| ended.order).collect();
            if let Some(newest) = ends.drain(..).next_back()
                && self.has(&newest).await
            {
                book.seen(&orders, begun.elapsed());
            }
        }
    }

    /// False where the view does not get there.
    async fn has(&self, ended: &Ended) -> bool {
        let deadline = Instant::now() + self.patience;
        let url = format!("{}/orders/{}", self.projector, ended.order);
        let query = [("after", ended.token.to_string()), ("wait", WAIT_SECONDS.to_string())];
        loop {
            let answer = self.client.get(&url).query(&query).send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(PAUSE).await;
        }
    }
}
