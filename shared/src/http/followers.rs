//! What waits behind a dead letter: only the database of its owner knows, so its owner's admin port tells whoever shows it.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{LetterId, PathParam, Problem};
use crate::{
    contract::envelope::{Mode, decode},
    log::{self, Followers, HeldRow, StoreError, connect},
};

/// Of what waits behind one letter.
pub const FIRST_MAX: i64 = 20;
/// A turn, a connection and two short statements; before the projector gives up.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);
const NAME: &str = "admin";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FollowersBody {
    /// Of the letter's key, until it is redriven or given up.
    pub messages: i64,
    /// The first twenty of them, in the order in which they will be processed.
    pub first: Vec<FollowerBody>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FollowerBody {
    /// Null where it cannot be read.
    #[schema(example = "fulfil.payment.captured.v1")]
    pub message_type: Option<String>,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// One asks after the other, so that a port for operators takes one connection of the database and no more.
#[derive(Clone)]
struct Owner {
    database_url: Arc<str>,
    turn: Arc<Mutex<()>>,
}

/// `GET /dead-letters/{id}/followers`: 404 where the letter is another's.
pub(super) fn routes(database_url: &str) -> Router {
    let owner = Owner { database_url: database_url.into(), turn: Arc::default() };
    Router::new().route("/dead-letters/{id}/followers", get(show)).with_state(owner)
}

async fn show(
    State(owner): State<Owner>,
    PathParam(LetterId(letter)): PathParam<LetterId>,
) -> Result<Json<FollowersBody>, Problem> {
    match timeout(ANSWERS_WITHIN, owner.ask(letter)).await {
        Ok(Ok(Some(followers))) => Ok(Json(followers.into())),
        Ok(Ok(None)) => Err(Problem::not_found(format!("this service has no dead letter {letter}"))),
        Ok(Err(error)) if !error.is_infrastructure() => {
            warn!(%error, %letter, "what waits behind a letter could not be read");
            Err(Problem::internal())
        }
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("the database does not answer", 1)),
    }
}

impl Owner {
    /// Dropped halfway it leaves a connection that ends with it.
    async fn ask(&self, letter: Uuid) -> Result<Option<Followers>, StoreError> {
        let _turn = self.turn.lock().await;
        let connected = connect::connect(&self.database_url, NAME).await;
        let mut connection = connected.map_err(connect::Unfit::after_start)?;
        log::followers(&mut connection, letter, FIRST_MAX).await
    }
}

impl From<Followers> for FollowersBody {
    fn from(Followers { messages, first }: Followers) -> Self {
        Self { messages, first: first.into_iter().map(FollowerBody::from).collect() }
    }
}

impl From<HeldRow> for FollowerBody {
    fn from(row: HeldRow) -> Self {
        let raw = row.held.raw;
        Self {
            message_type: decode(&raw, Mode::Development).ok().map(|envelope| envelope.message_type),
            topic: raw.topic.to_string(),
            partition: raw.partition,
            offset: raw.offset,
        }
    }
}
