//! A message by hand: for trying what becomes of it. In development only, since nobody asks who sends it.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    contract::{
        Malformed, Timestamp,
        catalogue::{Entry, entries},
        envelope::{Manual, Mode},
        message::Message,
        topics::Topic,
    },
    http::{Problem, Trace, problem::ProblemBody},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::commands::{Delivered, SOURCE};

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SendBody {
    #[serde(rename = "type")]
    #[schema(example = "fulfil.order.create.v2")]
    message_type: String,
    /// As the JSON Schema of the type says.
    #[schema(value_type = Object)]
    data: Value,
}

/// Where the message is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SentBody {
    topic: &'static str,
    partition: i32,
    offset: i64,
    /// Of the message.
    id: Uuid,
    /// Order id or sku.
    key: String,
}

/// Commands, and events as if their service had written them. What is asked about a dead letter has an address of its own.
pub(crate) fn sendable() -> impl Iterator<Item = Entry> {
    entries().into_iter().filter(|entry| entry.topic != Topic::DeadLettersCommands)
}

/// Publish a command or an event. In development mode only
#[utoipa::path(post, path = "/send", tag = "send", request_body = SendBody,
    responses(
        (status = 202, body = SentBody), (status = 400, body = ProblemBody),
        (status = 403, description = "It is production", body = ProblemBody),
        (status = 422, description = "It is not as its schema says, or names no type", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub(super) async fn send(
    State(app): State<App>,
    trace: Trace,
    shared::http::Json(SendBody { message_type, data }): shared::http::Json<SendBody>,
) -> Result<(StatusCode, Json<SentBody>), Problem> {
    if app.mode != Mode::Development {
        let detail = "messages are sent by hand in development mode only";
        return Err(Problem::new(StatusCode::FORBIDDEN, "production", detail));
    }
    let unknown = || Problem::invalid("/type", "is none of the types that can be sent");
    let entry = sendable().find(|entry| entry.message_type == message_type).ok_or_else(unknown)?;
    let data = data.to_string();
    let message = Message::decode(&message_type, &data).ok_or_else(unknown)?.map_err(wrong)?;
    let key = message.key().ok_or_else(Problem::internal)?;
    let (id, traceparent) = (Uuid::now_v7(), trace.traceparent());
    let manual = Manual {
        message_type: &message_type,
        data: &data,
        id,
        source: SOURCE,
        time: Timestamp::from(std::time::SystemTime::now()),
        traceparent: Some(&traceparent),
    };
    let outgoing = manual.encode(entry.topic, &key).map_err(wrong)?;
    let Delivered { partition, offset } = app.send(outgoing, Some(key.clone().into())).await?;
    let topic = entry.topic.name();
    Ok((StatusCode::ACCEPTED, Json(SentBody { topic, partition, offset, id, key })))
}

fn wrong(Malformed { pointer, detail, .. }: Malformed) -> Problem {
    Problem::invalid(format!("/data{pointer}"), detail)
}
