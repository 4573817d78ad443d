//! The consumer groups: how far behind, who reads what, and what stands still.

use axum::{Json, extract::State};
use serde::Serialize;
use shared::{
    contract::Timestamp,
    http::{Problem, problem::ProblemBody},
};
use utoipa::ToSchema;

use super::App;
use crate::{
    consumers::{GROUPS, Partition, Process},
    intake::GROUP,
    read_model::{letter_groups::open_by_group, pulse},
};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumersBody {
    /// Why Kafka does not say how any of the groups stands, or where the topics end; null where it does.
    pub broker: Option<String>,
    pub groups: Vec<ConsumerGroupBody>,
    /// Of those that `SERVICE_ADMIN_URLS` names, the ones that do not say how they stand: of which group they are is not known.
    pub silent: Vec<SilentBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SilentBody {
    #[schema(example = "http://127.0.0.1:9081")]
    pub admin: String,
    pub why: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerGroupBody {
    #[schema(example = "order-service")]
    pub group: &'static str,
    /// What the broker did not say of it, and why; what it said stands beside it.
    pub unanswered: Vec<String>,
    /// As the broker names it; null where it says nothing, and not who is in the group.
    #[schema(example = "Stable")]
    pub state: Option<String>,
    /// Of all its partitions; null where the broker does not say what is committed, or where the topics end.
    pub messages: Option<i64>,
    /// How long the oldest of them has waited; null where that could not be read in time.
    pub seconds: Option<f64>,
    /// Keys on which messages wait; null where no process of the group was asked or answered.
    pub held_keys: Option<i64>,
    /// Whether a process of it pauses after too much poison; null where none was asked or answered.
    pub paused: Option<bool>,
    /// Dead letters of it that wait for somebody.
    pub dead_letters: i64,
    pub partitions: Vec<PartitionBody>,
    /// Of those that `SERVICE_ADMIN_URLS` names.
    pub processes: Vec<ProcessBody>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PartitionBody {
    #[schema(example = "orders.events")]
    pub topic: &'static str,
    pub partition: i32,
    /// The next offset, as the group told Kafka a moment after its database; null where it never did.
    pub committed: Option<i64>,
    pub end: Option<i64>,
    /// Null where the end is not known.
    pub messages: Option<i64>,
    pub seconds: Option<f64>,
    /// The instance that reads it; null where nobody does, or the broker does not say who is in the group.
    pub member: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessBody {
    #[schema(example = "http://127.0.0.1:9081")]
    pub admin: String,
    /// Of the pause after too much poison.
    pub paused_ms: u64,
    pub held_keys: i64,
    /// Partitions that it does not read, since messages are missing there.
    pub suspected: Vec<String>,
}

/// How the consumer groups stand
#[utoipa::path(get, path = "/consumers", tag = "consumers",
    responses((status = 200, body = ConsumersBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<ConsumersBody>, Problem> {
    standing(&app).await.map(Json)
}

pub(crate) async fn standing(app: &App) -> Result<ConsumersBody, Problem> {
    let asked = app.read(|mut connection| async move {
        let held = pulse::held_keys(&mut connection).await?;
        Ok((held, open_by_group(&mut connection).await?))
    });
    let (seen, asked) = tokio::join!(app.consumers.standing(), asked);
    let (held, letters) = asked?;
    let now_ms = Timestamp::from(std::time::SystemTime::now()).timestamp_millis();
    let group = |name: &'static str| {
        let known = seen.groups.iter().find(|group| group.name == name);
        let measured = known.and_then(|group| group.partitions.as_deref());
        let processes: Vec<ProcessBody> =
            seen.processes.iter().filter_map(|process| ProcessBody::of(name, process)).collect();
        let partitions: Vec<PartitionBody> =
            measured.unwrap_or_default().iter().map(|of| PartitionBody::of(of, now_ms)).collect();
        let is_asked = !processes.is_empty();
        ConsumerGroupBody {
            group: name,
            unanswered: known.map(|group| group.unanswered.clone()).unwrap_or_default(),
            state: known.and_then(|group| group.state.clone()),
            messages: measured.and_then(|_| partitions.iter().map(|of| of.messages).sum()),
            // One that is not known may be the oldest.
            seconds: measured.and_then(|_| {
                partitions
                    .iter()
                    .try_fold(0.0, |oldest: f64, of| of.seconds.map(|seconds| oldest.max(seconds)))
            }),
            held_keys: match is_asked {
                true => Some(processes.iter().map(|process| process.held_keys).sum()),
                // The view's own are in its database.
                false => (name == GROUP).then_some(held),
            },
            paused: is_asked.then(|| processes.iter().any(|process| process.paused_ms > 0)),
            dead_letters: letters.iter().find(|(group, _)| group == name).map_or(0, |(_, letters)| *letters),
            partitions,
            processes,
        }
    };
    let silent = seen.processes.iter().filter_map(|Process { admin, said }| {
        said.as_ref().err().map(|why| SilentBody { admin: admin.clone(), why: why.clone() })
    });
    Ok(ConsumersBody {
        broker: seen.broker.clone(),
        groups: GROUPS.map(group).into(),
        silent: silent.collect(),
    })
}

impl PartitionBody {
    fn of(of: &Partition, now_ms: i64) -> Self {
        let messages = of.messages();
        Self {
            topic: of.topic.name(),
            partition: of.partition,
            committed: of.committed,
            end: of.end,
            messages,
            seconds: match messages {
                Some(0) => Some(0.0),
                // The broker's clock may be ahead of ours.
                _ => of.since_ms.map(|since_ms| (now_ms - since_ms).max(0) as f64 / 1_000.0),
            },
            member: of.member.clone(),
        }
    }
}

impl ProcessBody {
    /// `None` where it is of another group, or did not say.
    fn of(group: &str, process: &Process) -> Option<Self> {
        let said = process.said.as_ref().ok().filter(|said| said.service == group)?;
        Some(Self {
            admin: process.admin.clone(),
            paused_ms: said.paused_ms,
            held_keys: said.held_keys,
            suspected: said.suspected.clone(),
        })
    }
}
