//! Asking the view for orders that ended: the answer comes when it has them.

use std::{sync::Arc, time::Instant};

use reqwest::{Client, StatusCode};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{book::Book, ends::Ended};

/// Beyond so many questions at once an order is left out; those that are asked for are a sample then.
const QUESTIONS_MAX: usize = 32;
/// As long as the projector waits at most.
const WAIT_SECONDS: u64 = 25;
/// How often the projector may say that it does not have it yet.
const TRIES: usize = 12;

#[derive(Clone)]
pub(super) struct Sight {
    projector: String,
    client: Client,
}

impl Sight {
    pub(super) fn new(projector: &str) -> anyhow::Result<Self> {
        Ok(Self { projector: projector.to_owned(), client: crate::service::client()? })
    }

    /// Asks for as many as there is room for, until nobody is left who could tell of more.
    pub(super) async fn watch(
        self,
        mut heard: mpsc::UnboundedReceiver<Ended>,
        book: Arc<Book>,
        begun: Instant,
    ) {
        let room = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut questions = JoinSet::new();
        while let Some(ended) = heard.recv().await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (sight, book) = (self.clone(), Arc::clone(&book));
            questions.spawn(async move {
                let _place = place;
                if sight.has(&ended).await {
                    book.seen(ended.order, begun.elapsed());
                }
            });
            while questions.try_join_next().is_some() {}
        }
        questions.join_all().await;
    }

    /// Waits until the view has all of them. False where it does not get there.
    pub(super) async fn has_all(&self, last: Vec<Ended>) -> bool {
        let asked = last.iter().map(async |ended| {
            for _ in 0..TRIES {
                if self.has(ended).await {
                    return true;
                }
            }
            false
        });
        futures_util::future::join_all(asked).await.into_iter().all(|has| has)
    }

    async fn has(&self, ended: &Ended) -> bool {
        let url = format!("{}/orders/{}", self.projector, ended.order);
        let query = [("after", ended.token.to_string()), ("wait", WAIT_SECONDS.to_string())];
        let answer = self.client.get(url).query(&query).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}
