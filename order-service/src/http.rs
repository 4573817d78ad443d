//! The HTTP edge of order-service: a request in, a command for the order, its answer out.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        ids::{OrderId, StreamName, UserId, named},
        limits::HTTP_BODY_BYTES_MAX,
        money::{Currency, Money},
        order::{CancelOrder, Canceller, CreateOrder, Line, sum_minor},
    },
    engine::inbox::Inbox,
    http::{
        IdempotencyKey, JsonOrNothing, PathParam, Problem, Token, Trace,
        body::{json_bytes, read},
        documented,
        problem::{OfAnyCommand, ProblemBody},
    },
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{Orders, domain::Command};

pub fn routes(inbox: Inbox<Orders>) -> axum::Router {
    documented(described().with_state(inbox))
}

/// The routes with what is written about them, before they know whom to ask.
pub fn described() -> OpenApiRouter<Inbox<Orders>> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(create)).routes(routes!(cancel))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "order-service",
    description = "Creates and cancels orders. What becomes of one is asked of the projector, with the token of the \
                   answer."
))]
struct Document;

/// One of two shapes
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum CreateBody {
    Lines(LinesBody),
    Product(ProductBody),
}

#[derive(Debug, Deserialize, ToSchema)]
struct LinesBody {
    #[schema(min_length = 1, max_length = 128, example = "u1")]
    user_id: String,
    #[schema(min_items = 1, max_items = 200)]
    lines: Vec<LineBody>,
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct LineBody {
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$", example = "SKU-1")]
    sku: String,
    #[schema(minimum = 1, maximum = 1_000_000, example = 2)]
    quantity: i64,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 1999)]
    unit_price_minor: i64,
}

/// The first shape: one line without a price.
#[derive(Debug, Deserialize, ToSchema)]
struct ProductBody {
    #[schema(min_length = 1, max_length = 128, example = "u1")]
    user_id: String,
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$", example = "SKU-1")]
    product_id: String,
    #[schema(minimum = 1, maximum = 1_000_000, example = 2)]
    quantity: i64,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct CancelBody {
    /// Becomes the note of the cancellation.
    #[schema(max_length = 512)]
    reason: Option<String>,
    #[schema(pattern = "^(customer|operator)$", default = "customer")]
    by: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Accepted {
    #[schema(value_type = Uuid)]
    order_id: OrderId,
    #[schema(example = "created")]
    status: &'static str,
    /// For `?after=` of the projector.
    #[schema(value_type = String, example = "order-0198f3c2-0000-7000-8000-000000000001:1")]
    token: Token,
}

/// Create an order
///
/// With an Idempotency-Key a repeat is the same order, and is answered as the first time whatever became of it.
#[utoipa::path(
    post,
    path = "/orders",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters, per user")),
    request_body(content = inline(CreateBody), content_type = "application/json"),
    responses(
        (status = 202, description = "The order is created", body = Accepted, headers(("Location" = String))),
        OfAnyCommand,
    )
)]
async fn create(
    State(inbox): State<Inbox<Orders>>,
    trace: Trace,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Response, Problem> {
    let body = json_bytes(request, HTTP_BODY_BYTES_MAX).await?;
    let create = parsed(&body.0)?.command(key.as_deref())?;
    let order_id = create.order_id;
    let id = named(&["create-order", &order_id.to_string()]);
    inbox.ask(id, Command::Create(create), Some(trace.traceparent())).await?;
    // The token of the first version, not of the last: a repeat gets the answer that the first one got.
    let token = Token::new(StreamName::order(order_id), 1);
    let location = [(header::LOCATION, format!("/orders/{order_id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(Accepted { order_id, status: "created", token }))
        .into_response())
}

/// Cancel an order
///
/// What has happened already is undone. Cancelling twice is cancelling once.
#[utoipa::path(
    post,
    path = "/orders/{id}/cancel",
    params(("id" = Uuid, Path, description = "The order")),
    request_body(content = Option<CancelBody>, content_type = "application/json"),
    responses(
        (status = 202, description = "The order is cancelled", body = Accepted),
        (status = 404, description = "No such order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`order-state`: it is completed", body = ProblemBody, content_type = "application/problem+json"),
        OfAnyCommand,
    )
)]
async fn cancel(
    State(inbox): State<Inbox<Orders>>,
    trace: Trace,
    PathParam(order_id): PathParam<OrderId>,
    JsonOrNothing(body): JsonOrNothing<CancelBody>,
) -> Result<Response, Problem> {
    let by = match body.by.as_deref() {
        None | Some("customer") => Canceller::Customer,
        Some("operator") => Canceller::Operator,
        Some(_) => return Err(Problem::invalid("/by", "is not customer or operator")),
    };
    let cancel = CancelOrder { order_id, reason: body.reason, by: Some(by) };
    cancel.validate()?;
    let answer = inbox.ask_urgent(Uuid::now_v7(), Command::Cancel(cancel), Some(trace.traceparent())).await?;
    let token = Token::new(answer.stream, answer.version);
    Ok((StatusCode::ACCEPTED, Json(Accepted { order_id, status: answer.state.name(), token }))
        .into_response())
}

/// The second shape has lines, and where both could be meant it is the second. Each is read as itself and not by
/// trying both, so that what is wrong is said of the right one.
fn parsed(bytes: &[u8]) -> Result<CreateBody, Problem> {
    #[derive(Deserialize)]
    struct Shape {
        lines: Option<serde::de::IgnoredAny>,
        product_id: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = read(bytes)?;
    if shape.lines.is_none() && shape.product_id.is_some() {
        return read(bytes).map(CreateBody::Product);
    }
    read(bytes).map(CreateBody::Lines)
}

impl CreateBody {
    fn command(self, idempotency_key: Option<&str>) -> Result<CreateOrder, Problem> {
        let is_one_product = matches!(self, Self::Product(_));
        let (user_id, lines, currency) = match self {
            Self::Lines(body) => {
                let lines: Result<_, Problem> = body.lines.into_iter().enumerate().map(line).collect();
                let currency = body.currency.parse().map_err(|wrong| Problem::invalid("/currency", wrong))?;
                (body.user_id, lines?, currency)
            }
            Self::Product(body) => {
                let sku = body.product_id.parse().map_err(|wrong| Problem::invalid("/product_id", wrong))?;
                (
                    body.user_id,
                    vec![Line { sku, quantity: body.quantity, unit_price_minor: 0 }],
                    Currency::EUR,
                )
            }
        };
        let user_id: UserId = user_id.parse().map_err(|wrong| Problem::invalid("/user_id", wrong))?;
        // A sum out of range is refused by the check below, which says so.
        let amount = Money::new(sum_minor(&lines).unwrap_or_default(), currency);
        let order_id = order_id(&user_id, idempotency_key)?;
        let create = CreateOrder { order_id, user_id, lines, amount, deadline_at: None };
        create.validate().map_err(|mut malformed| {
            if is_one_product && malformed.pointer == "/lines/0/quantity" {
                malformed.pointer = "/quantity".to_owned();
            }
            malformed
        })?;
        Ok(create)
    }
}

fn line((index, body): (usize, LineBody)) -> Result<Line, Problem> {
    let sku = body.sku.parse().map_err(|wrong| Problem::invalid(format!("/lines/{index}/sku"), wrong))?;
    Ok(Line { sku, quantity: body.quantity, unit_price_minor: body.unit_price_minor })
}

/// Of user and key where there is one, so that a repeat meets its order.
fn order_id(user_id: &UserId, idempotency_key: Option<&str>) -> Result<OrderId, Problem> {
    let id = idempotency_key.map_or_else(Uuid::now_v7, |key| named(&["order", user_id.as_str(), key]));
    OrderId::new(id).ok_or_else(Problem::internal)
}
