//! HTTP requests: the routes that take a body, each with its service's own decider behind it or, behind the projector's, a view
//! that is away, and behind the operator's, a loop that is gone; and what the payment provider answers.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, http::StatusCode};
use inventory_service::Inventory;
use order_service::Orders;
use payment_service::{Payments, domain::record};
use projector::{
    commands::Commands,
    consumers::Consumers,
    http::{App, Projections},
    live::Live,
    project::{lag::Lag, waiters::Waiters},
    read_model::reads::Reads,
    view::awaiting::Limits,
};
use shared::{
    broker::BrokerSettings,
    consumer::console,
    contract::envelope::Mode,
    decider::{Decider, FoldedStreams, Streams, Told, Via},
    engine::inbox::{self, Answer, Asked, Unanswered},
    http::{self, Readiness},
    shutdown,
    telemetry::Metrics,
    testing::memory,
};
use tokio::{runtime::Runtime, sync::mpsc};
use tower::ServiceExt;

use super::frame::Frame;

const ROUTES: u8 = 10;
/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// The routers, and where what those that decide ask comes out.
struct Edge {
    runtime: Runtime,
    orders: (Router, mpsc::Receiver<Asked<Orders>>),
    stock: (Router, mpsc::Receiver<Asked<Inventory>>),
    payments: (Router, mpsc::Receiver<Asked<Payments>>),
    letters: Router,
    operator: Router,
}

thread_local! {
    static EDGE: std::cell::RefCell<Edge> = std::cell::RefCell::new(Edge::new());
}

pub fn run(input: &[u8]) {
    let frame = Frame::read(input);
    let key: String = frame.key.iter().flatten().map(|byte| format!("%{byte:02x}")).collect();
    let path = match frame.choice % ROUTES {
        0 => "/orders".to_owned(),
        1 => format!("/orders/{key}/cancel"),
        2 => format!("/stock/{key}/receive"),
        3 => format!("/stock/{key}/adjust"),
        4 => "/provider/callbacks".to_owned(),
        6 => format!("/dead-letters/{key}/redrive"),
        7 => format!("/dead-letters/{key}/discard"),
        8 => "/consumer/resume".to_owned(),
        9 => "/send".to_owned(),
        _ => {
            let _ = serde_json::from_slice::<record::Said>(&frame.value);
            let _ = serde_json::from_slice::<record::Record>(&frame.value);
            return;
        }
    };
    let mut request = Request::post(path);
    for (name, value) in &frame.headers {
        request = request.header(name.as_slice(), value.as_deref().unwrap_or_default());
    }
    // What cannot be a header does not reach a handler.
    let Ok(request) = request.body(Body::from(frame.value)) else { return };
    EDGE.with_borrow_mut(|edge| {
        let Edge { runtime, orders, stock, payments, letters, operator } = edge;
        let status = runtime.block_on(async {
            match frame.choice % ROUTES {
                0 | 1 => answered(&orders.0, &mut orders.1, &Orders::default(), request).await,
                2 | 3 => answered(&stock.0, &mut stock.1, &Inventory, request).await,
                4 => answered(&payments.0, &mut payments.1, &Payments::default(), request).await,
                8 => said(operator, request).await,
                _ => said(letters, request).await,
            }
        });
        let is_away = frame.choice % ROUTES > 5 && status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_away || !status.is_server_error(), "answered {status}");
    });
}

impl Edge {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
        let (orders, asked_orders) = inbox::channel(10);
        let (stock, asked_stock) = inbox::channel(10);
        let (payments, asked_payments) = inbox::channel(10);
        Self {
            runtime,
            orders: (order_service::http::routes(orders), asked_orders),
            stock: (inventory_service::http::routes(stock), asked_stock),
            payments: (payment_service::http::routes(payments), asked_payments),
            letters: projector::http::routes(view_that_is_away()),
            operator: loop_that_is_gone(),
        }
    }
}

fn loop_that_is_gone() -> Router {
    let (console, _) = console();
    let database_url = format!("postgres://fuzz@{NOWHERE}/fuzz");
    http::admin::routes("fuzz", "1", Readiness::new(&[]), Metrics::new("fuzz", "1"), console, &database_url)
}

fn view_that_is_away() -> App {
    let (broker, database_url) =
        (BrokerSettings::new(NOWHERE), format!("postgres://projector@{NOWHERE}/projector"));
    let commands = Commands::new(&broker);
    App {
        reads: Reads::new(&database_url),
        waiters: Waiters::default(),
        lag: Lag::new(chrono::DateTime::UNIX_EPOCH),
        limits: Limits { completion: Duration::ZERO, compensation: Duration::ZERO },
        commands: commands.unwrap_or_else(|error| panic!("no producer: {error}")),
        projections: Projections::new(&database_url, &broker),
        bulk: Default::default(),
        mode: Mode::Development,
        live: Live::default(),
        shutdown: shutdown::manual().1,
        consumers: Consumers::new(&broker, &[]),
        overviews: Default::default(),
    }
}

async fn said(router: &Router, request: Request) -> StatusCode {
    router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}).status()
}

/// Without what surrounds the handlers in a service, which would answer a panic.
async fn answered<D: Decider>(
    router: &Router,
    asked: &mut mpsc::Receiver<Asked<D>>,
    decider: &D,
    request: Request,
) -> StatusCode {
    let deciding = async {
        while let Some(Asked { id, command, traceparent, reply }) = asked.recv().await {
            let told = Told { via: Via::Http, traceparent, ..memory::told(id, chrono::DateTime::UNIX_EPOCH) };
            let _ = reply.send(decided(decider, &command, &told));
        }
    };
    tokio::select! {
        status = said(router, request) => status,
        () = deciding => unreachable!("the router asks as long as it lives"),
    }
}

/// Over an empty log, so that an input means the same whatever came before it.
fn decided<D: Decider>(decider: &D, command: &D::Command, told: &Told) -> Result<Answer<D>, Unanswered> {
    let stream = decider.streams(command).into_iter().next().ok_or(Unanswered::Failed)?;
    let none: FoldedStreams<D::State> = FoldedStreams::default();
    let decision = decider.decide(&Streams::new(&none, None), command, told).map_err(Unanswered::Refused)?;
    let events: Vec<D::Event> = decision.events.into_iter().map(|decided| decided.event).collect();
    let state = shared::decider::fold(decider, D::State::default(), &events);
    Ok(Answer { stream, version: events.len() as i64, state, events, existing: None })
}
