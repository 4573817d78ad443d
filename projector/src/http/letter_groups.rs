//! Dead letters by what is wrong with them.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use shared::{
    contract::envelope::time_text,
    http::{Problem, Query, problem::ProblemBody},
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{App, letters};
use crate::read_model::letter_groups::{LetterGroup, letter_groups};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupsQuery {
    /// Only letters that are dead, redriven, failed-again, discarded or parked; open: dead, failed-again or parked
    status: Option<String>,
    /// The consumer group that owns them.
    group: Option<String>,
    code: Option<String>,
    fingerprint: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupsBody {
    /// At most 200, of the newest 20,000 letters that match and wait, and of as many that are done with.
    groups: Vec<GroupBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct GroupBody {
    fingerprint: String,
    /// The consumer group that owns them.
    #[schema(example = "order-service")]
    group: String,
    #[schema(example = "invalid-json")]
    code: String,
    /// What the newest of them says, and its id.
    message: String,
    newest_id: Uuid,
    letters: i64,
    /// Those that wait for somebody: dead, failed-again and parked. Redrives of many leave parked ones out.
    open: i64,
    statuses: StatusesBody,
    /// How many different keys (orders, skus) their messages have.
    keys: i64,
    first_failed_at: String,
    last_failed_at: String,
    /// How many died in each five minutes of the last hour, oldest first.
    #[schema(min_items = 12, max_items = 12)]
    trend: Vec<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct StatusesBody {
    dead: i64,
    failed_again: i64,
    parked: i64,
    redriven: i64,
    discarded: i64,
}

/// Dead letters grouped by what is wrong with them, those of which most wait for somebody first
#[utoipa::path(get, path = "/dead-letters/groups", tag = "dead letters", params(GroupsQuery),
    responses((status = 200, body = GroupsBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<GroupsQuery>,
) -> Result<Json<GroupsBody>, Problem> {
    let filter = letters::filter(asked.status, asked.group, asked.code, asked.fingerprint)?;
    let groups =
        app.read(move |mut connection| async move { letter_groups(&mut connection, &filter).await }).await?;
    Ok(Json(GroupsBody { groups: groups.into_iter().map(GroupBody::from).collect() }))
}

impl From<LetterGroup> for GroupBody {
    fn from(group: LetterGroup) -> Self {
        let statuses = group.statuses;
        Self {
            fingerprint: group.fingerprint,
            group: group.group,
            code: group.code,
            message: group.message,
            newest_id: group.newest_id,
            letters: group.letters,
            open: statuses.open(),
            statuses: StatusesBody {
                dead: statuses.dead,
                failed_again: statuses.failed_again,
                parked: statuses.parked,
                redriven: statuses.redriven,
                discarded: statuses.discarded,
            },
            keys: group.keys,
            first_failed_at: time_text(group.first_failed_at),
            last_failed_at: time_text(group.last_failed_at),
            trend: group.trend,
        }
    }
}
