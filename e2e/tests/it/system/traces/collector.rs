//! A collector of spans, as far as a test needs one: OTLP over HTTP, in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

/// A span, with all ids in hexadecimal.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// The resource's name.
    pub(super) service: String,
    pub(super) trace_id: String,
    pub(super) span_id: String,
    /// Empty where it has none.
    pub(super) parent: String,
    pub(super) kind: i32,
    pub(super) name: String,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) attributes: BTreeMap<String, String>,
    /// The message of an error.
    pub(super) failed: Option<String>,
    /// Trace and span.
    pub(super) links: Vec<(String, String)>,
}

pub(super) struct Collector {
    pub(super) url: String,
    drawn: Arc<Mutex<Vec<Drawn>>>,
    /// Of its own, so that it can go away with all its connections.
    runtime: Option<Runtime>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let drawn = Arc::<Mutex<Vec<Drawn>>>::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&drawn));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
        Self { url, drawn, runtime: Some(runtime) }
    }

    /// All that have come so far.
    pub(super) fn drawn(&self) -> Vec<Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn of_trace(&self, trace_id: &str) -> Vec<Drawn> {
        self.drawn().into_iter().filter(|span| span.trace_id == trace_id).collect()
    }
}

/// Without waiting, which a test may not.
impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drawn {
    pub(super) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

async fn take(State(drawn): State<Arc<Mutex<Vec<Drawn>>>>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut all = drawn.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let said = attributes(resource.resource.unwrap_or_default().attributes);
        let service = said.get("service.name").cloned().unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| read(&service, span)));
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn read(service: &str, span: Span) -> Drawn {
    let status = span.status.unwrap_or_default();
    Drawn {
        service: service.to_owned(),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind,
        name: span.name,
        began_ns: span.start_time_unix_nano,
        ended_ns: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        failed: (status.code == 2).then_some(status.message),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
    }
}

fn attributes(said: Vec<KeyValue>) -> BTreeMap<String, String> {
    said.into_iter().map(|KeyValue { key, value, .. }| (key, value.map_or_else(String::new, text))).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
