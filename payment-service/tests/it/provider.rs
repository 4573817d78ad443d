//! The provider as its callers see it: the one inside the process and the one over HTTP behave the same.

use std::{fs, io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use payment_service::{
    domain::{
        Answer, Call, Command, idempotency_key,
        record::{Held, Record, Said},
    },
    provider::{
        PaymentProvider, Request, behaviour::Behaviour, call, choice::Choice, http::HttpProvider,
        reconciliation, server, simulated::SimulatedProvider,
    },
};
use shared::{
    contract::{
        ids::OrderId,
        money::{Currency, Money},
        payment::Operation::{self, *},
    },
    shutdown::{self, Trigger},
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use crate::given::yes;

/// A loaded machine must not turn an answer into a silence; where silence is tested, the caller gives up as soon
/// as the call is in the books.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

struct Server {
    addr: SocketAddr,
    trigger: Trigger,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    async fn start(folder: &Path, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let (trigger, shutdown) = shutdown::manual();
        let folder = folder.to_owned();
        let running =
            tokio::spawn(async move { server::serve(listener, &folder, behaviour, shutdown).await });
        Self { addr, trigger, running }
    }

    fn client(&self) -> Arc<dyn PaymentProvider> {
        let choice: Choice = format!("http://{}", self.addr).parse().expect("a URL");
        choice.open(ANSWER_TIMEOUT).expect("a client")
    }

    async fn stop(self) {
        self.trigger.stop();
        self.running.await.expect("no panic").expect("it served");
    }

    async fn post(&self, path: &str, key: &str, body: &str) -> (u16, String) {
        let response = reqwest::Client::new()
            .post(format!("http://{}{path}", self.addr))
            .header("Idempotency-Key", key)
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }
}

fn payment(number: u128) -> OrderId {
    OrderId::new(Uuid::from_u128(number)).expect("is not nil")
}

fn request(payment_id: OrderId, operation: Operation, minor: i64) -> Request {
    Request {
        payment_id,
        operation,
        amount: (operation == Authorize).then(|| Money::new(minor, Currency::EUR)),
        idempotency_key: idempotency_key(payment_id, operation),
    }
}

/// One of each kind, with fresh books.
async fn both(behaviour: Behaviour) -> (tempfile::TempDir, Server, [Arc<dyn PaymentProvider>; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), behaviour.clone()).await;
    let providers =
        [Arc::new(SimulatedProvider::new(behaviour)) as Arc<dyn PaymentProvider>, server.client()];
    (folder, server, providers)
}

/// Whom a test gives up before its late answers come.
fn never_in_time() -> Behaviour {
    Behaviour { late_ms: 3_600_000, ..Behaviour::default() }
}

/// `"yes"`, the code of a no, or `"silent"`.
async fn ask(provider: &dyn PaymentProvider, payment: OrderId, operation: Operation, minor: i64) -> String {
    match provider.ask(request(payment, operation, minor)).await {
        Ok(Said::Yes) => "yes".to_owned(),
        Ok(Said::No { code }) => code,
        Err(_) => "silent".to_owned(),
    }
}

/// Asks for the first time and gives up unanswered, but not before the provider has taken the call.
async fn give_up(provider: &dyn PaymentProvider, payment: OrderId, minor: i64) {
    let taken = async {
        while provider.record(payment).await.expect("a record").amount.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        said = ask(provider, payment, Authorize, minor) => assert_eq!(said, "silent"),
        taken = tokio::time::timeout(ANSWER_TIMEOUT, taken) => taken.expect("the call never arrived"),
    }
}

#[tokio::test]
async fn the_amount_says_how_the_provider_behaves() {
    // Last two digits, then what is asked and what is said, in order.
    let stories: [(i64, &[(Operation, &str)]); 8] = [
        (3998, &[(Authorize, "yes"), (Capture, "yes"), (Refund, "yes")]),
        (1000, &[(Authorize, "yes"), (Void, "yes"), (Capture, "already-voided")]),
        (1013, &[(Authorize, "card-declined"), (Authorize, "card-declined"), (Void, "no-charge")]),
        (1014, &[(Authorize, "silent"), (Authorize, "yes"), (Capture, "yes")]),
        (1015, &[(Authorize, "silent"), (Authorize, "yes"), (Capture, "yes")]),
        (
            1016,
            &[(Authorize, "yes"), (Capture, "capture-failed"), (Capture, "capture-failed"), (Void, "yes")],
        ),
        (
            1017,
            &[
                (Authorize, "yes"),
                (Capture, "yes"),
                (Refund, "try-again"),
                (Refund, "try-again"),
                (Refund, "yes"),
            ],
        ),
        (1019, &[(Authorize, "yes"), (Refund, "not-captured"), (Capture, "yes"), (Void, "already-captured")]),
    ];
    let (_folder, server, providers) = both(never_in_time()).await;
    for provider in providers {
        for (number, (minor, story)) in (1..).zip(stories) {
            for (operation, expected) in story {
                if *expected == "silent" {
                    give_up(&*provider, payment(number), minor).await;
                    continue;
                }
                let said = ask(&*provider, payment(number), *operation, minor).await;
                assert_eq!(said, *expected, "{minor}: {operation:?}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_came_too_late_is_in_the_record() {
    let (_folder, server, providers) = both(never_in_time()).await;
    for provider in providers {
        let (late, never) = (payment(15), payment(14));
        give_up(&*provider, late, 115).await;
        give_up(&*provider, never, 114).await;
        let record = provider.record(late).await.unwrap();
        assert_eq!((record.held(), record.charges), (Held::Authorized, 1));
        let record = provider.record(never).await.unwrap();
        assert_eq!((record.authorize, record.charges), (None, 0));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_key_is_answered_the_same_and_charged_once() {
    let (_folder, server, providers) = both(Behaviour::default()).await;
    for provider in providers {
        for _ in 0..3 {
            assert_eq!(ask(&*provider, payment(1), Authorize, 500).await, "yes");
            assert_eq!(ask(&*provider, payment(1), Capture, 500).await, "yes");
        }
        let record = provider.record(payment(1)).await.unwrap();
        assert_eq!((record.charges, record.held()), (1, Held::Captured));
        assert_eq!(record.amount, Some(Money::new(500, Currency::EUR)));
    }
    server.stop().await;
}

#[tokio::test]
async fn another_key_is_another_charge_and_the_record_shows_it() {
    let (_folder, server, providers) = both(Behaviour::default()).await;
    for provider in providers {
        for key in 1..=2 {
            let request =
                Request { idempotency_key: Uuid::from_u128(key), ..request(payment(1), Authorize, 500) };
            assert_eq!(provider.ask(request).await, Ok(yes()));
        }
        assert_eq!(provider.record(payment(1)).await.unwrap().charges, 2);
    }
    server.stop().await;
}

#[tokio::test]
async fn another_body_under_the_same_key_is_no_answer() {
    let (_folder, server, providers) = both(Behaviour::default()).await;
    for provider in providers {
        assert_eq!(ask(&*provider, payment(1), Authorize, 500).await, "yes");
        assert_eq!(
            ask(&*provider, payment(1), Authorize, 501).await,
            "silent",
            "a mistake of ours declines nothing"
        );
        assert_eq!(provider.record(payment(1)).await.unwrap().charges, 1);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_tells_a_refusal_from_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let (key, other) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
    let path = format!("/payments/{}", payment(1));
    let euros = |minor: i64| format!(r#"{{"amount":{{"minor":{minor},"currency":"EUR"}}}}"#);
    let authorize = format!("{path}/authorize");
    let yes = (200, r#"{"outcome":"yes"}"#.to_owned());
    assert_eq!(server.post(&authorize, &key, &euros(500)).await, yes);
    assert_eq!(server.post(&authorize, &key, &euros(500)).await, yes);
    for (path, key, body, status, code) in [
        (authorize.clone(), key.as_str(), euros(600), 422, "idempotency-key-reused"),
        (format!("{path}/void"), key.as_str(), String::new(), 422, "idempotency-key-reused"),
        (authorize.clone(), other.as_str(), euros(0), 422, "invalid"),
        (authorize.clone(), other.as_str(), String::new(), 422, "invalid"),
        (format!("{path}/capture"), other.as_str(), euros(500), 422, "invalid"),
        (authorize.clone(), "7", euros(500), 400, "invalid"),
        (authorize, other.as_str(), "{".into(), 400, "invalid"),
        ("/payments/1/authorize".into(), other.as_str(), euros(500), 400, "invalid"),
        (format!("{path}/settle"), other.as_str(), String::new(), 404, "not-found"),
        (format!("{path}/refund"), other.as_str(), String::new(), 402, "not-captured"),
    ] {
        let (answered, text) = server.post(&path, key, &body).await;
        assert!(
            answered == status && text.contains(&format!(r#""code":"{code}""#)),
            "{path} {body}: {answered} {text}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_books_survive_the_process_and_a_torn_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let client = server.client();
    assert_eq!(ask(&*client, payment(1), Authorize, 500).await, "yes");
    give_up(&*client, payment(14), 114).await;
    assert_eq!(ask(&*client, payment(13), Authorize, 113).await, "card-declined");
    // As kill -9 leaves it: nothing is closed, and a line was being written.
    server.running.abort();
    let _ = server.running.await;
    let path = folder.path().join("books.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(br#"{"at":"2026-11-24T10"#).unwrap();

    let server = Server::start(folder.path(), Behaviour::default()).await;
    let client = server.client();
    assert_eq!(client.record(payment(1)).await.unwrap().held(), Held::Authorized);
    assert_eq!(fs::read(&path).unwrap(), whole, "the torn line is gone");
    assert_eq!(ask(&*client, payment(14), Authorize, 114).await, "yes", "the first time was before");
    assert_eq!(ask(&*client, payment(13), Authorize, 113).await, "card-declined");
    assert_eq!(ask(&*client, payment(1), Authorize, 500).await, "yes");
    assert_eq!(client.record(payment(1)).await.unwrap().charges, 1);
    server.stop().await;
}

#[tokio::test]
async fn books_belong_to_one_provider_and_damage_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let client = server.client();
    assert_eq!(ask(&*client, payment(1), Authorize, 500).await, "yes");
    let second = Server::start(folder.path(), Behaviour::default()).await;
    let refused = second.running.await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("belongs to another provider"), "{refused:#}");
    server.stop().await;

    let path = folder.path().join("books.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("not an entry\n{good}")).unwrap();
    let damaged =
        Server::start(folder.path(), Behaviour::default()).await.running.await.unwrap().unwrap_err();
    assert!(format!("{damaged:#}").contains("line 1 is not an entry"), "{damaged:#}");
}

#[tokio::test]
async fn records_come_in_pages_and_only_those_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    // More than two pages, written as the provider writes them.
    let mut lines = String::new();
    for number in 1..=2_500_u128 {
        let (payment_id, day) = (payment(number), if number <= 100 { "2026-01-01" } else { "2026-01-02" });
        lines += &format!(
            "{{\"at\":\"{day}T00:00:00Z\",\"payment_id\":\"{payment_id}\",\"operation\":\"authorize\",\
             \"amount\":{{\"minor\":100,\"currency\":\"EUR\"}},\"idempotency_key\":\"{payment_id}\",\
             \"reply\":{{\"said\":{{\"outcome\":\"yes\"}}}}}}\n"
        );
    }
    fs::write(folder.path().join("books.jsonl"), lines).unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let client = server.client();
    let count = async |since: &str| client.records(since.parse().unwrap()).await.unwrap().len();
    assert_eq!(count("2025-12-31T00:00:00Z").await, 2_500);
    assert_eq!(count("2026-01-02T00:00:00Z").await, 2_400);
    assert_eq!(count("2026-01-03T00:00:00Z").await, 0);
    assert_eq!(ask(&*client, payment(7), Void, 100).await, "yes");
    assert_eq!(count("2026-01-03T00:00:00Z").await, 1, "it changed just now");

    let url = format!("http://{}/records", server.addr);
    let all: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!((all["records"].as_array().unwrap().len(), &all["next"]), (2_500, &serde_json::Value::Null));
    let last = &all["records"][2_499];
    assert_eq!((&last["payment_id"], &last["authorized_minor"]), (&payment(7).to_string().into(), &0.into()));
    server.stop().await;
}

#[tokio::test]
async fn rates_break_calls_and_the_same_key_still_happens_once() {
    let behaviour = Behaviour {
        unavailable_per_mille: 300,
        late_per_mille: 300,
        delay_ms: 1,
        late_ms: 1,
        ..Behaviour::default()
    };
    let (_folder, server, providers) = both(behaviour).await;
    for provider in providers {
        let mut silences = 0;
        for number in 1..=20 {
            while ask(&*provider, payment(number), Authorize, 500).await != "yes" {
                silences += 1;
                assert!(silences < 1_000, "it never answers");
            }
            assert_eq!(provider.record(payment(number)).await.unwrap().charges, 1);
        }
        assert!(silences > 0, "nothing broke");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_call_comes_back_as_a_command_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let order_id = payment(1);
    let authorize = Call::Operation {
        order_id,
        operation: Authorize,
        amount: Some(Money::new(500, Currency::EUR)),
        idempotency_key: idempotency_key(order_id, Authorize),
        attempt: 3,
    };
    let enquire = Call::Enquire { order_id, attempt: 2, asked_at_version: 7 };
    let took = |answer| Command::TakeAnswer { order_id, operation: Authorize, attempt: 3, answer };
    let client = server.client();
    let unknown = Command::TakeRecord { record: Record::nothing(order_id), asked_at_version: 7 };
    assert_eq!(call(&*client, enquire.clone()).await, unknown);
    assert_eq!(call(&*client, authorize.clone()).await, took(Answer::Said(yes())));
    let Command::TakeRecord { record, asked_at_version: 7 } = call(&*client, enquire.clone()).await else {
        panic!("no record")
    };
    assert_eq!(record.held(), Held::Authorized);
    let compared = reconciliation(&*client, Default::default()).await.unwrap();
    assert_eq!(compared, vec![Command::CompareRecord { record }]);

    server.stop().await;
    assert_eq!(call(&*client, authorize).await, took(Answer::Silent));
    assert_eq!(call(&*client, enquire).await, Command::RecordUnanswered { order_id, attempt: 2 });
    assert!(reconciliation(&*client, Default::default()).await.is_err());
}

#[tokio::test]
async fn a_caller_does_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Behaviour::default()).await;
    let url = format!("http://{}", server.addr).parse().unwrap();
    let hurried = HttpProvider::new(url, Duration::from_millis(50)).unwrap();
    assert_eq!(ask(&hurried, payment(14), Authorize, 114).await, "silent");
    server.stop().await;
}

#[tokio::test]
async fn whatever_does_not_say_yes_or_no_is_a_silence() {
    use axum::{Router, http::StatusCode};
    for (status, body) in [
        (200, ""),
        (200, "<html>welcome</html>"),
        (200, r#"{"outcome":"no","code":"x"}"#),
        (302, r#"{"outcome":"yes"}"#),
        (401, r#"{"error":"credentials"}"#),
        (402, r#"{"outcome":"yes"}"#),
        (404, "not found"),
        (429, r#"{"outcome":"no","code":"x"}"#),
        (500, r#"{"outcome":"no","code":"x"}"#),
        (503, r#"{"outcome":"yes"}"#),
    ] {
        let router =
            Router::new().fallback(move || async move { (StatusCode::from_u16(status).unwrap(), body) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stranger = tokio::spawn(async move { axum::serve(listener, router).await });
        let client = HttpProvider::new(url, ANSWER_TIMEOUT).unwrap();
        let said = client.ask(request(payment(1), Authorize, 500)).await;
        assert!(said.is_err(), "{status} {body}: {said:?}");
        assert!(client.record(payment(1)).await.is_err(), "{status} {body}");
        stranger.abort();
    }
}

#[tokio::test]
async fn a_code_is_cut_to_what_our_events_carry() {
    let said: Said = serde_json::from_value(
        serde_json::json!({"outcome": "no", "code": format!("a\0b{}", "x".repeat(600))}),
    )
    .unwrap();
    let Said::No { code } = said else { panic!("a no") };
    assert_eq!((code.len(), &code[..3]), (64, "abx"));
}
