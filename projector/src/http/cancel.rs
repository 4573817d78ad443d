//! An operator's cancellation, which goes to order-service as a command on its topic.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        ids::OrderId,
        message::Message,
        order::{CancelOrder, Canceller},
        topics::Topic,
    },
    http::{PathParam, Problem, Trace, problem::ProblemBody},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, orders::order};

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CancelBody {
    /// Becomes the note of the cancellation.
    #[schema(max_length = 512)]
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CancelAsked {
    order_id: Uuid,
    command_id: Uuid,
}

/// Ask for an order to be cancelled; what has happened already is undone
///
/// What becomes of it is seen in the order: a completed one stays as it is, and says so in its timeline.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders", params(("id" = Uuid, Path)), request_body = CancelBody,
    responses(
        (status = 202, body = CancelAsked),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub(super) async fn cancel(
    State(app): State<App>,
    PathParam(order_id): PathParam<OrderId>,
    trace: Trace,
    shared::http::Json(CancelBody { reason }): shared::http::Json<CancelBody>,
) -> Result<(StatusCode, Json<CancelAsked>), Problem> {
    let cancel = CancelOrder { order_id, reason, by: Some(Canceller::Operator) };
    cancel.validate()?;
    if order(&app, order_id).await?.is_none() {
        return Err(Problem::not_found(format!("there is no order {order_id}")));
    }
    let key = order_id.to_string();
    let message = Message::OrderCommand(cancel.into());
    let command_id = app.ask(Topic::OrdersCommands, &message, &key, Some(key.clone().into()), &trace).await?;
    Ok((StatusCode::ACCEPTED, Json(CancelAsked { order_id: order_id.uuid(), command_id })))
}
