//! Requests to the projector: a few at once, not faster than somebody wants, and those of one key in order.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{LANES, Verb, selection::Selected};
use crate::{
    exit::{self, Exit, ended},
    kafka::Rate,
    service,
};

/// Where requests are handed in.
pub(super) struct Desk {
    pub(super) client: reqwest::Client,
    pub(super) url: String,
    pub(super) verb: Verb,
    pub(super) why: Value,
    pub(super) rate: Rate,
    pub(super) begun: Instant,
}

/// Requests under way. Dropped with whoever listens, no more are made.
pub(super) struct Asked {
    pub(super) told: mpsc::Receiver<(Uuid, anyhow::Result<()>)>,
    _lanes: JoinSet<()>,
}

impl Desk {
    pub(super) fn ask(self, letters: Vec<Selected>) -> Asked {
        let (tell, told) = mpsc::channel(LANES);
        let mut of_lanes = vec![Vec::new(); LANES];
        for (number, letter) in letters.into_iter().enumerate() {
            of_lanes[letter.lane(LANES)].push((number, letter));
        }
        let desk = Arc::new(self);
        let mut lanes = JoinSet::new();
        for lane in of_lanes {
            let (desk, tell) = (Arc::clone(&desk), tell.clone());
            lanes.spawn(async move {
                let mut refused = HashSet::new();
                for (number, letter) in lane {
                    sleep_until(desk.begun + desk.rate.after(number)).await;
                    let told = match letter.about.is_some_and(|about| refused.contains(&about)) {
                        // What died first is tried first.
                        true => Err(ended(Exit::Failed, "an earlier letter of the same key was not taken")),
                        false => desk.hand_in(letter.id).await,
                    };
                    // One that is not there keeps nobody.
                    if told.as_ref().is_err_and(|error| exit::of(error) != Exit::NotFound) {
                        refused.extend(letter.about);
                    }
                    // Neither would the next one be taken.
                    let stops = told.as_ref().is_err_and(|error| exit::of(error) == Exit::Unreachable);
                    if tell.send((letter.id, told)).await.is_err() || stops {
                        return;
                    }
                }
            });
        }
        Asked { told, _lanes: lanes }
    }

    async fn hand_in(&self, id: Uuid) -> anyhow::Result<()> {
        let url = format!("{}/{id}/{}", self.url, self.verb.as_str());
        service::post_with::<Value>(&self.client, &url, &self.why).await?;
        Ok(())
    }
}
