//! The HTTP edge of inventory-service: what comes into stock and what is corrected.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        ids::Sku,
        stock::{AdjustStock, ReceiveStock, StockCommand, StockEvent},
    },
    decider::Existing,
    engine::inbox::{Answer, Inbox},
    http::{
        self, PathParam, Problem, Token, Trace, documented,
        problem::{OfAnyCommand, ProblemBody},
    },
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{Inventory, domain::InventoryEvent, reactions::asked};

pub fn routes(inbox: Inbox<Inventory>) -> axum::Router {
    documented(described().with_state(inbox))
}

/// The routes with what is written about them, before they know whom to ask.
pub fn described() -> OpenApiRouter<Inbox<Inventory>> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(receive)).routes(routes!(adjust))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "inventory-service",
    description = "Receives and corrects stock. Levels are asked of the projector, with the token of the answer."
))]
struct Document;

#[derive(Debug, Deserialize, ToSchema)]
struct ReceiveBody {
    #[schema(minimum = 1, maximum = 1_000_000, example = 100)]
    quantity: i64,
    /// The same reference for the same sku counts once
    #[schema(min_length = 1, max_length = 512, example = "delivery-4711")]
    reference: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct AdjustBody {
    /// Of either sign, not zero
    #[schema(minimum = -1_000_000, maximum = 1_000_000, example = -2)]
    delta: i64,
    #[schema(min_length = 1, max_length = 512, example = "broken in the warehouse")]
    reason: String,
    /// The same reference for the same sku counts once
    #[schema(min_length = 1, max_length = 512, example = "count-2026-11")]
    reference: Option<String>,
}

/// The levels right after the change; a repeat is answered with those of then.
#[derive(Debug, Serialize, ToSchema)]
struct Levels {
    #[schema(value_type = String, example = "SKU-1")]
    sku: Sku,
    on_hand: i64,
    reserved: i64,
    /// For `?after=` of the projector
    #[schema(value_type = String, example = "stock-SKU-1:7")]
    token: Token,
}

/// Receive stock
#[utoipa::path(
    post,
    path = "/stock/{sku}/receive",
    params(("sku" = String, Path, description = "1 to 64 of A-Z a-z 0-9 . _ -")),
    request_body(content = ReceiveBody, content_type = "application/json"),
    responses(
        (status = 202, description = "It is in stock", body = Levels),
        OfAnyCommand,
    )
)]
async fn receive(
    State(inbox): State<Inbox<Inventory>>,
    trace: Trace,
    PathParam(sku): PathParam<Sku>,
    http::Json(body): http::Json<ReceiveBody>,
) -> Result<(StatusCode, Json<Levels>), Problem> {
    let ReceiveBody { quantity, reference } = body;
    changed(&inbox, ReceiveStock { sku, quantity, reference }.into(), trace).await
}

/// Correct stock
#[utoipa::path(
    post,
    path = "/stock/{sku}/adjust",
    params(("sku" = String, Path, description = "1 to 64 of A-Z a-z 0-9 . _ -")),
    request_body(content = AdjustBody, content_type = "application/json"),
    responses(
        (status = 202, description = "It is corrected", body = Levels),
        (status = 409, description = "`insufficient-stock`: less would be left than is reserved", body = ProblemBody, content_type = "application/problem+json"),
        OfAnyCommand,
    )
)]
async fn adjust(
    State(inbox): State<Inbox<Inventory>>,
    trace: Trace,
    PathParam(sku): PathParam<Sku>,
    http::Json(body): http::Json<AdjustBody>,
) -> Result<(StatusCode, Json<Levels>), Problem> {
    let AdjustBody { delta, reason, reference } = body;
    changed(&inbox, AdjustStock { sku, delta, reason, reference }.into(), trace).await
}

async fn changed(
    inbox: &Inbox<Inventory>,
    command: StockCommand,
    trace: Trace,
) -> Result<(StatusCode, Json<Levels>), Problem> {
    command.validate()?;
    // Lacking a reference, the request itself is one: it counts each time that it is sent.
    let id = Uuid::now_v7();
    let answer = inbox.ask(id, asked(&command, id), Some(trace.traceparent())).await?;
    Ok((StatusCode::ACCEPTED, Json(levels(&answer).ok_or_else(Problem::internal)?)))
}

/// What the change left: of the event that it appended, or of the one that had been appended under its reference.
fn levels(answer: &Answer<Inventory>) -> Option<Levels> {
    let (stream, version, event) = match (&answer.existing, answer.events.first()) {
        (Some(Existing { stream, version, event }), _) => (stream, *version, event),
        (None, event) => (&answer.stream, answer.version, event?),
    };
    let InventoryEvent::Stock(event) = event else { return None };
    let (on_hand, reserved) = StockEvent::levels(event);
    Some(Levels { sku: event.sku().clone(), on_hand, reserved, token: Token::new(stream.clone(), version) })
}
