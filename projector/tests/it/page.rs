//! The screens over a real view, without script: what a browser gets, and where its links lead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use projector::read_model::schema;
use serde_json::json;
use shared::{
    consumer::console,
    contract::envelope::Raw,
    http::{Readiness, admin},
    telemetry::Metrics,
};
use uuid::Uuid;

use crate::{
    http::{Api, id, orders},
    letter_groups::{change, letter},
    project::{take_all, with_a_broken_confirmation},
    sagas::{Path, place},
};

/// As a browser sends it.
const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    kind: String,
    policy: String,
    location: String,
    text: String,
}

impl Api {
    /// Comes again where a slow machine has it told to.
    pub(crate) async fn browse(&self, address: &str) -> Seen {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = Request::get(address).header(header::ACCEPT, ACCEPT).body(Body::empty()).unwrap();
            let response = self.call(request).await;
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap().to_owned())
                    .unwrap_or_default()
            };
            let (kind, policy) = (header(header::CONTENT_TYPE), header(header::CONTENT_SECURITY_POLICY));
            let (status, location) = (response.status(), header(header::LOCATION));
            let bytes = to_bytes(response.into_body(), 1 << 22).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            if status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
                return Seen { status, kind, policy, location, text };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn screen(&self, address: &str) -> String {
        let seen = self.browse(address).await;
        assert_eq!((seen.status, &*seen.kind), (StatusCode::OK, "text/html; charset=utf-8"), "{address}");
        assert!(seen.policy.contains("default-src 'self'"), "{address}");
        seen.text
    }
}

/// The values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn every_link_of_every_screen_leads_to_a_screen_and_nothing_comes_from_elsewhere() {
    let mut api = Api::new().await;
    let paths =
        [Path::Completed, Path::Open, Path::Declined, Path::CaptureFailed, Path::CancelledAfterCapture];
    let numbered: Vec<_> = (1..).zip(paths).map(|(number, path)| (number, path, "SKU-1")).collect();
    take_all(&mut api.projection, orders(&numbered).in_order()).await;
    take_all(&mut api.projection, with_a_broken_confirmation().0).await;
    let (mut known, mut next) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(address) = next.pop() {
        assert!(known.len() < 400, "it does not end: {known:?}");
        if !known.insert(address.clone()) {
            continue;
        }
        if address.starts_with("/assets/") || address == "/favicon.ico" {
            let asset = api.browse(&address).await;
            assert!(asset.status == StatusCode::OK && !asset.text.is_empty(), "{address}");
            continue;
        }
        let html = api.screen(&address).await;
        assert_eq!(html.matches("<h1>").count(), 1, "{address}");
        let links =
            [attributes(&html, "href"), attributes(&html, "src"), attributes(&html, "hx-get")].concat();
        for link in links {
            assert!(link.starts_with(['/', '#']) && !link.starts_with("//"), "{address}: {link}");
            if let Some(place) = link.strip_prefix('#') {
                assert!(html.contains(&format!("id=\"{place}\"")), "{address}: {link}");
            } else {
                next.push(link.replace("&#38;", "&").replace("&amp;", "&"));
            }
        }
    }
    for screen in
        ["/orders", "/stock", "/sales", "/consumers", "/projections", "/dead-letters", "/events", "/send"]
    {
        assert!(known.contains(screen), "{screen}");
    }
    for (number, ..) in numbered {
        assert!(known.contains(&format!("/orders/{}", id(number))), "{number}");
    }
}

#[tokio::test]
async fn an_order_says_why_it_ended_so_and_what_it_still_waits_for() {
    let mut api = Api::new().await;
    let told = BTreeMap::from([
        (1, (Path::OutOfStock, "cancelled by the system: out of stock")),
        (2, (Path::Declined, "payment-service told: payment declined")),
        (3, (Path::CaptureFailed, "payment-service told: payment capture failed")),
        (4, (Path::Open, "waits for <b>")),
        (5, (Path::CancelledAfterCapture, "cancelled by the operator")),
    ]);
    let numbered: Vec<_> = told.iter().map(|(number, (path, _))| (*number, *path, "SKU-1")).collect();
    take_all(&mut api.projection, orders(&numbered).in_order()).await;
    for (number, (_, says)) in told {
        let html = api.screen(&format!("/orders/{}", id(number))).await;
        let why = html.split("<b>Why:</b>").nth(1).and_then(|rest| rest.split("</p>").next());
        assert!(why.unwrap_or(&html).contains(says), "{number}: {says}: {why:?}");
        assert!(html.contains(&format!("fulfil order timeline {}", id(number))), "{number}");
    }
    // What each event moved, and how it stood after one of them.
    let address = format!("/orders/{}", id(3));
    let html = api.screen(&address).await;
    let moves = [
        "<td>+2 reserved SKU-1</td>",
        "<td>−2 reserved SKU-1, +2 shipped SKU-1</td>",
        "<td>+5.00 EUR authorized</td>",
        "<td>−5.00 EUR authorized</td>",
    ];
    for said in moves {
        assert!(html.contains(said), "{said}: {html}");
    }
    assert!(html.contains("aria-label=\"order created, then stock reserved"), "{html}");
    let past = api.screen(&format!("{address}?event=6")).await;
    assert!(past.contains("As it stood after event 6"), "{past}");
    assert!(past.contains(&format!("fulfil order get {} --event 6", id(3))));
}

#[tokio::test]
async fn what_others_wrote_is_text_and_never_markup() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    let hurt = [
        r#"update order_view set order_state = replace(order_state, '"user-', '"<script>alert(1)</script>-')"#,
        r#"update timeline set service = '<script>', data = '{"code": "</pre><script>"}', type = 'fulfil."><script>.v1'"#,
    ];
    for sql in hurt {
        let done = sqlx::query(sql).execute(&mut api.database.connection).await.unwrap();
        assert!(done.rows_affected() > 0);
    }
    let order = format!("/orders/{}", id(1));
    for address in ["/", "/orders", &order, "/orders/%3Cscript%3E", "/orders?user_id=%22%3E%3Cscript%3E"] {
        let html = api.browse(address).await.text;
        // Those of ours have an address.
        let ours = html.matches("<script src=\"/assets/").count();
        assert_eq!(html.matches("<script").count(), ours, "{address}: {html}");
    }
}

#[tokio::test]
async fn a_message_that_died_is_shown_as_it_is_wherever_it_came_from() {
    let mut api = Api::new().await;
    let died = letter(7, "the key", "order-service", ("invalid-json", "f1"), 1.0);
    take_all(&mut api.projection, place([died])).await;
    let id = Uuid::from_u128(7);
    let hurt = "update dead_letter_view
                set value = '{</textarea></pre><script>', message = '<script> (line 1, column 2)', key = '\"><script>',
                    changed_by = '<script>', changed_reason = '<script>', fingerprint = '\"><script>',
                    headers = '[{\"name\":\"<script>\",\"value_base64\":\"PHNjcmlwdD4=\"}]'";
    assert!(sqlx::query(hurt).execute(&mut api.database.connection).await.unwrap().rows_affected() > 0);
    for address in ["/", "/dead-letters", &format!("/dead-letters/{id}")] {
        let html = api.screen(address).await;
        let ours = html.matches("<script src=\"/assets/").count();
        assert_eq!(html.matches("<script").count(), ours, "{address}: {html}");
        assert_eq!(html.matches("</textarea").count(), html.matches("<textarea").count(), "{address}");
    }
    let html = api.screen(&format!("/dead-letters/{id}")).await;
    assert!(html.contains("<pre tabindex=\"0\">{<mark>&#60;</mark>/textarea&#62;"), "{html}");
}

#[tokio::test]
async fn a_parked_letter_stays_in_sight_until_it_is_mended_or_given_up() {
    let mut api = Api::new().await;
    let reason = ("invalid-json", "f1");
    let records = [
        letter(7, "k1", "order-service", reason, 2.0),
        letter(8, "k2", "order-service", reason, 1.0),
        change(7, "k1", "parked"),
        change(8, "k2", "discarded"),
    ];
    take_all(&mut api.projection, place(records)).await;
    let (parked, done) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let html = api.screen(&format!("/dead-letters/{parked}")).await;
    let forms =
        |id: Uuid| ["redrive", "discard"].map(|verb| format!("data-post=\"/dead-letters/{id}/{verb}\""));
    assert!(forms(parked).iter().all(|form| html.contains(form)), "{html}");
    assert!(
        html.contains("⚠ parked") && html.contains("It failed again 3 times, so redrives of many"),
        "{html}"
    );
    let html = api.screen(&format!("/dead-letters/{done}")).await;
    assert!(forms(done).iter().all(|form| !html.contains(form)), "{html}");
    for address in ["/dead-letters", "/dead-letters?status=open", "/dead-letters?status=parked"] {
        let html = api.screen(address).await;
        assert!(html.contains(&format!("id=\"letter-{parked}\"")), "{address}: {html}");
        assert!(html.contains("1 that wait, 1 of them parked</h2>"), "{address}: {html}");
        assert!(html.contains("data-post=\"/dead-letters/bulk\""), "{address}");
    }
    let all = |verb| json!({"verb": verb, "all": true, "by": "me", "reason": "old"});
    let (status, none) = api.post("/dead-letters/bulk", &all("redrive")).await;
    let why = "no dead letter that waits matches; 1 more is parked after 3 redrives and left out";
    assert_eq!((status, &none["detail"]), (404, &json!(why)));
    assert_eq!(api.post("/dead-letters/bulk", &all("discard")).await.0, 202);
}

#[tokio::test]
async fn a_letter_of_ours_names_what_waits_behind_it() {
    let mut api = Api::new().await;
    take_all(
        &mut api.projection,
        place([letter(7, "the key", "order-service", ("invalid-json", "f1"), 1.0)]),
    )
    .await;
    take_all(&mut api.projection, with_a_broken_confirmation().0).await;
    let others = format!("/dead-letters/{}", Uuid::from_u128(7));
    let unknown = api.screen(&others).await;
    let why = "only to order-service: SERVICE_ADMIN_URLS names no admin port of its service";
    assert!(unknown.contains(why), "{unknown}");
    let stored = "select letter_id from dead_letter where holds_key is not null";
    let ours: Uuid = sqlx::query_scalar(stored).fetch_one(&mut api.database.connection).await.unwrap();
    let held = "select count(*) from held_message";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&mut api.database.connection).await.unwrap();
    assert!(held > 0);
    // As its letter comes back from the topic.
    let known = "update dead_letter_view set id = $1, \"group\" = 'projector'";
    assert_eq!(
        sqlx::query(known).bind(ours).execute(&mut api.database.connection).await.unwrap().rows_affected(),
        1
    );
    let html = api.screen(&format!("/dead-letters/{ours}")).await;
    assert!(html.contains(&format!("⏸ {held} of the same key")), "{html}");
    let first: String = sqlx::query_scalar(
        "select topic || '[' || partition || ']@' || \"offset\" from held_message order by id limit 1",
    )
    .fetch_one(&mut api.database.connection)
    .await
    .unwrap();
    assert!(html.contains(&format!("order completed <code class=\"dim\">{first}</code>")), "{first}: {html}");
    // Its admin port, which knows of no view, tells the same.
    let url = schema::inside(&api.database.url, schema::SERVED);
    let metrics = Metrics::new("projector", "test");
    let admin = admin::routes("projector", "1", Readiness::new(&[]), metrics, console().0, &url);
    let (status, told) = Api::get_from(&admin, &format!("/dead-letters/{ours}/followers")).await;
    assert_eq!((status, &told["messages"]), (200, &json!(held)), "{told}");
    assert_eq!(told["first"][0]["message_type"], "fulfil.order.completed.v1");
}

#[tokio::test]
async fn lines_of_a_figure_differ_not_by_colour_alone() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    let html = api.screen("/").await;
    let style = api.browse("/assets/style.css").await.text;
    let lines: BTreeSet<&str> =
        attributes(&html, "class").into_iter().filter(|class| class.starts_with("line-")).collect();
    assert!(lines.len() > 2, "{lines:?}");
    let dash = |line: &str| {
        let rule = style.split(&format!(".plot .{line} {{ stroke-dasharray: ")).nth(1);
        rule.map_or("none", |rule| rule.split(';').next().unwrap())
    };
    let dashes: BTreeSet<&str> = lines.iter().map(|line| dash(line)).collect();
    assert_eq!(dashes.len(), lines.len(), "{dashes:?}");
    assert!(
        html.contains(
            "<svg class=\"key\" viewBox=\"0 0 30 8\" aria-hidden=\"true\"><polyline class=\"line-1\""
        )
    );
}

#[tokio::test]
async fn what_has_no_screen_is_answered_as_ever_and_what_a_form_sends_empty_is_not_asked_for() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    for address in ["/stock/SKU-1", "/dead-letters/groups", "/openapi.json"] {
        let seen = api.browse(address).await;
        assert_eq!((seen.status, &*seen.kind), (StatusCode::OK, "application/json"), "{address}");
    }
    api.screen("/dead-letters?status=&group=&code=&fingerprint=").await;
    let html = api.screen("/orders?status=&user_id=&sku=&since=").await;
    assert!(html.contains(&id(1).to_string()));
}

#[tokio::test]
async fn a_page_from_elsewhere_changes_nothing() {
    let api = Api::new().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 409), ("none", 409)] {
        let request = Request::post("/projections/drop").header("sec-fetch-site", site).body(Body::empty());
        // 409: there is no second view.
        assert_eq!(api.call(request.unwrap()).await.status(), status, "{site}");
    }
}

#[tokio::test]
async fn what_is_typed_is_found_as_an_order_a_sku_or_a_user() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Completed, "SKU-1")]).in_order()).await;
    let order = id(1).to_string();
    for (typed, found) in [
        (&order[..], format!("/orders/{order}")),
        (&order[..13], format!("/orders/{order}")),
        ("SKU-1", "/orders?sku=SKU-1".to_owned()),
        ("user%201", "/orders?user_id=user+1".to_owned()),
        ("%20", "/orders".to_owned()),
    ] {
        let seen = api.browse(&format!("/orders?find={typed}")).await;
        assert_eq!((seen.status, seen.location), (StatusCode::SEE_OTHER, found), "{typed}");
    }
}

#[tokio::test]
async fn orders_that_have_not_ended_are_found_among_all() {
    let mut api = Api::new().await;
    let numbered = [(1, Path::Completed, "SKU-1"), (2, Path::Open, "SKU-1"), (3, Path::Declined, "SKU-1")];
    take_all(&mut api.projection, orders(&numbered).in_order()).await;
    for address in ["/orders?open=true", "/orders?open=true&sku=SKU-1"] {
        let html = api.screen(address).await;
        let ids = attributes(&html, "id").into_iter();
        let rows: Vec<&str> = ids.filter_map(|id| id.strip_prefix("order-")).collect();
        assert_eq!(rows, [id(2).to_string()], "{address}");
    }
    let open = "<span class=\"name\">open</span>\n    <span class=\"value\">1</span>";
    assert!(api.screen("/").await.contains(open));
}

#[tokio::test]
async fn the_newest_events_are_a_page_of_their_own_and_say_where_to_go_on() {
    let mut api = Api::new().await;
    let empty = api.screen("/events").await;
    assert_eq!(attributes(&empty, "data-source"), ["/events?"]);
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let mut again = messages[0].clone();
    again.offset += 1_000;
    take_all(&mut api.projection, messages.clone()).await;
    take_all(&mut api.projection, vec![again]).await;
    let html = api.screen("/events").await;
    let places: Vec<&str> = html.split("<code data-is=\"place\">").skip(1).collect();
    // The last is of the row that is copied.
    assert_eq!(places.len(), messages.len() + 2);
    let newest = &messages[messages.len() - 1];
    assert!(places[1].starts_with(&format!("{}[{}]@{}<", newest.topic, newest.partition, newest.offset)));
    assert_eq!(html.matches("↻ again").count(), 1);
    let last = api.projection.live.id(messages.len() as u64);
    assert_eq!(attributes(&html, "data-source"), [format!("/events?after={last}")]);
    let html = api.screen("/events?type=payment&order=0000").await;
    let rows = messages.iter().filter(|raw| raw.topic.name() == "payments.events").count();
    assert_eq!(html.matches("<td data-is=\"type\">payment ").count(), rows);
    assert!(attributes(&html, "data-copy")[0].contains("--where"), "{html}");
    assert_eq!(api.browse("/events?topic=eaten").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sales_are_drawn_and_told_without_script() {
    let mut api = Api::new().await;
    assert!(api.screen("/sales").await.contains("Nothing was sold yet"));
    let both = orders(&[(1, Path::Completed, "SKU-1"), (2, Path::Completed, "SKU-1")]).in_order();
    let is_first = |raw: &&Raw| raw.key.as_deref().is_some_and(|key| key.ends_with(b"1"));
    take_all(&mut api.projection, both.iter().filter(is_first).cloned().collect()).await;
    let html = api.screen("/sales").await;
    assert!(html.contains("<td><time>2023-11-14 22:00</time></td><td class=\"number\">1</td>"), "{html}");
    assert_eq!(attributes(&html, "data-plot"), Vec::<String>::new(), "of one hour there is no line");
    // The other one an hour later.
    let later = both.iter().filter(|raw| !is_first(raw)).cloned().map(|raw| {
        let text = String::from_utf8(raw.value.clone().unwrap().to_vec()).unwrap();
        Raw { value: Some(text.replace("2023-11-14T22:", "2023-11-14T23:").into()), ..raw }
    });
    take_all(&mut api.projection, later.collect()).await;
    let html = api.screen("/sales").await;
    assert!(html.contains("<td><time>2023-11-14 23:00</time></td><td class=\"number\">1</td>"), "{html}");
    assert!(html.contains("<polyline class=\"line-0\" points=\"0.0,2.0 600.0,2.0\"/>"), "{html}");
    let data = attributes(&html, "data-plot")[0].replace("&#34;", "\"");
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["lines"][0]["values"], serde_json::json!([1.0, 1.0]));
    let html = api.screen("/sales?by=sku").await;
    assert!(html.contains("<a href=\"/sales?by=hour&#38;sku=SKU-1\" data-row>SKU-1</a>"), "{html}");
    assert!(html.contains("10.00 EUR"), "{html}");
    let html = api.screen("/sales?by=hour&sku=SKU-1&since=").await;
    assert!(html.contains("fulfil sales --by hour --sku SKU-1"), "{html}");
}
