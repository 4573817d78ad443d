//! How the whole does: what is counted by the minute, and what is answered of it.

use std::time::{Duration, Instant};

use projector::read_model::pulse::{self, DAY, HOUR};
use serde_json::{Value, json};

use crate::{
    http::{Api, orders},
    letter_groups::letter,
    project::take_all,
    sagas::{Path, place},
};

/// As if all of it had happened some minutes ago.
const MOVED: &str = "update pace set minute = date_trunc('minute', now()) - interval '7 minutes'";

async fn counted() -> Api {
    let mut api = Api::new().await;
    let numbered = [
        (1, Path::Completed, "SKU-1"),
        (2, Path::Open, "SKU-1"),
        (3, Path::Declined, "SKU-2"),
        (4, Path::Completed, "SKU-1"),
    ];
    take_all(&mut api.projection, orders(&numbered).in_order()).await;
    let moved = sqlx::query(MOVED).execute(&mut api.database.connection).await.unwrap();
    assert!(moved.rows_affected() >= 4);
    api
}

#[tokio::test]
async fn orders_are_counted_in_the_part_in_which_they_were_created() {
    let mut api = counted().await;
    let connection = &mut api.database.connection;
    for (span, from_the_end) in [(HOUR, 1), (DAY, 0)] {
        // The minute may end meanwhile.
        let parts = pulse::over(connection, span).await.unwrap();
        assert_eq!(parts.len(), span.parts);
        let at = parts.iter().position(|part| part.created > 0).unwrap();
        assert!(span.parts - 1 - at <= from_the_end, "{at}");
        let part = &parts[at];
        assert_eq!((part.created, part.completed, part.cancelled), (4, 2, 1));
        assert!(part.cancelled_percent().is_some_and(|percent| (percent - 33.3).abs() < 0.1));
        assert_eq!(part.took.values().sum::<i64>(), 3);
        // The saga takes eleven events of seven milliseconds each.
        assert!(part.percentile_ms(0.99).is_some_and(|ms| ms > 30.0 && ms < 130.0), "{part:?}");
        assert!(parts.iter().enumerate().all(|(other, part)| other == at || part.created == 0));
        assert_eq!(parts[0].percentile_ms(0.5).or(parts[0].cancelled_percent()), None);
    }
}

#[tokio::test]
async fn the_overview_is_answered_to_programs_as_it_is_shown_to_people() {
    let mut api = counted().await;
    let died = (20..24).map(|number| letter(number, "key", "order-service", ("invalid-json", "f1"), 2.0));
    take_all(&mut api.projection, place(died)).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let body = loop {
        let (status, body) = api.get("/overview?over=day").await;
        assert_eq!(status, 200, "{body}");
        // It is read once in two seconds.
        if body["dead_letters"] == 4 || Instant::now() > deadline {
            break body;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((&body["open"], &body["dead_letters"], &body["over"]), (&json!(1), &json!(4), &json!("day")));
    assert_eq!(body["funnel"]["created"], 4);
    assert_eq!(body["lost"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&body["lost"][0]["reason"], &body["lost"][0]["orders"]),
        (&json!("payment_declined"), &json!(1))
    );
    let parts = body["parts"].as_array().unwrap();
    let sum = |field: &str| parts.iter().filter_map(|part| part[field].as_i64()).sum::<i64>();
    assert_eq!((parts.len(), sum("created"), sum("dead_letters")), (96, 4, 4));
    let alarms: Vec<&Value> =
        body["attention"].as_array().unwrap().iter().map(|alarm| &alarm["kind"]).collect();
    // The deadline of the open one was in 2023.
    assert!(
        alarms.contains(&&json!("rising dead letters")) && alarms.contains(&&json!("overdue")),
        "{alarms:?}"
    );
    assert_eq!(api.get("/overview").await.1["parts"].as_array().unwrap().len(), 12);
    assert_eq!(api.get("/overview?over=year").await.0, 400);
}
