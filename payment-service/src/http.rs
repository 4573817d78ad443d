//! The HTTP edge of payment-service: where the payment provider calls back.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    contract::ids::OrderId,
    engine::inbox::Inbox,
    http::{
        self, Problem, Trace, documented,
        problem::{OfAnyCommand, ProblemBody},
    },
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{Payments, domain::Command};

pub fn routes(inbox: Inbox<Payments>) -> axum::Router {
    documented(described().with_state(inbox))
}

/// The routes with what is written about them, before they know whom to ask.
pub fn described() -> OpenApiRouter<Inbox<Payments>> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(called_back))
}

#[derive(OpenApi)]
#[openapi(info(title = "payment-service", description = "Takes the payment provider's hints."))]
struct Document;

#[derive(Debug, Deserialize, ToSchema)]
struct Callback {
    /// Equals the order id
    #[schema(format = Uuid)]
    payment_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Accepted {
    #[schema(value_type = Uuid)]
    payment_id: OrderId,
}

/// Take a hint
///
/// Nothing of it is believed: the service asks the provider what happened, so a forged callback does nothing.
#[utoipa::path(
    post,
    path = "/provider/callbacks",
    request_body(content = Callback, content_type = "application/json"),
    responses(
        (status = 202, description = "The provider will be asked", body = Accepted),
        (status = 404, description = "No such payment", body = ProblemBody, content_type = "application/problem+json"),
        OfAnyCommand,
    )
)]
async fn called_back(
    State(inbox): State<Inbox<Payments>>,
    trace: Trace,
    http::Json(callback): http::Json<Callback>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let order_id: OrderId =
        callback.payment_id.parse().map_err(|wrong| Problem::invalid("/payment_id", wrong))?;
    inbox.ask(Uuid::now_v7(), Command::Enquire { order_id }, Some(trace.traceparent())).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { payment_id: order_id })))
}
