//! What the projector's metrics say of orders.

use std::time::Duration;

use projector::{
    read_model::{
        open_orders::{self, OpenOrders},
        pulse::HOUR,
        reads::Reads,
    },
    view::awaiting::Limits,
    watch,
};
use shared::telemetry::{Metrics, metrics::Exposition};

use crate::{
    http::orders,
    project::{Database, take_all},
    sagas::Path,
};

fn says(metrics: &Metrics, line: &str) {
    let text = metrics.text(Exposition::Prometheus);
    assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
}

#[tokio::test]
async fn orders_are_counted_while_they_are_open_and_timed_once_when_they_end() {
    let mut database = Database::new().await;
    let metrics = Metrics::new("projector", "test");
    let mut projection = database.projection_with(metrics.clone()).await;
    let messages = orders(&[
        (1, Path::Completed, "SKU-1"),
        (2, Path::Declined, "SKU-1"),
        (3, Path::Declined, "SKU-2"),
        (4, Path::Open, "SKU-1"),
    ])
    .in_order();
    take_all(&mut projection, messages.clone()).await;
    // What comes again ends nothing again.
    take_all(&mut database.projection_with(metrics.clone()).await, messages).await;
    says(&metrics, r#"fulfil_saga_duration_seconds_count{outcome="completed"} 1"#);
    says(&metrics, r#"fulfil_saga_duration_seconds_count{outcome="payment_declined"} 2"#);

    let limit = Duration::from_secs(300);
    let limits = Limits { completion: limit, compensation: limit };
    watch::count(&Reads::new(&database.url), &limits, &metrics).await.unwrap();
    says(&metrics, r#"fulfil_saga_open{stage="created"} 1"#);
    says(&metrics, r#"fulfil_saga_open{stage="confirmed"} 0"#);
    // Its deadline was in 2023.
    says(&metrics, "fulfil_saga_overdue 1");
    // Of a minute the most stays, and it is told afterwards.
    watch::count(&Reads::new(&database.url), &limits, &metrics).await.unwrap();
    let seen = open_orders::over(&mut database.connection, HOUR).await.unwrap();
    let told: Vec<OpenOrders> = seen.iter().flatten().copied().collect();
    // The part may have ended meanwhile.
    assert!(matches!(told.len(), 1 | 2), "{seen:?}");
    assert!(told.iter().all(|seen| *seen == OpenOrders { open: 1, overdue: 1 }), "{seen:?}");
    assert!(seen.last().unwrap().is_some() || seen[HOUR.parts - 2].is_some(), "{seen:?}");
}
