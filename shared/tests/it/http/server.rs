//! The server under clients that are many, slow, or gone.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures_util::stream;
use shared::{
    http::Limits,
    testing::http::{Served, listen, served},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time,
};

const REQUEST: &str = "GET /now HTTP/1.1\r\nhost: test\r\n\r\n";

/// `/now` answers at once, `/later` when the gate lets it.
async fn service(limits: Limits) -> (Served, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let later = async move || {
        let _passed = waiting.acquire().await;
        "later"
    };
    let router = Router::new().route("/now", get(async || "now")).route("/later", get(later));
    (served(router, limits).await, gate)
}

/// On the slowest machine.
const REPLY_MAX: Duration = Duration::from_secs(120);

/// One request and its answer on a connection that stays open.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let (mut heard, mut bytes) = (String::new(), [0_u8; 1024]);
    while !heard.ends_with("now") {
        let read = time::timeout(REPLY_MAX, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {heard:?}");
        heard += &String::from_utf8_lossy(&bytes[..read]);
    }
    heard
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (service, _gate) = service(Limits::default()).await;
    let mut stream = service.connect_and_say("").await;
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_drips_and_a_connection_that_idles_are_closed() {
    let (service, _gate) =
        service(Limits { head_read_max: Duration::from_millis(200), ..Limits::default() }).await;
    let dripping = service.connect_and_say("GET /now HTTP/1.1\r\nhost: te").await;
    let silent = service.connect_and_say("").await;
    let mut idle = service.connect_and_say("").await;
    ask(&mut idle).await;
    for stream in [dripping, silent, idle] {
        assert_eq!(listen(stream).await.status, 0);
    }
    assert_eq!(service.get("/now").await.body, "now");
}

#[tokio::test]
async fn connections_past_the_limit_are_told_and_the_others_go_on() {
    let (service, _gate) =
        service(Limits { connections_max: 2, head_read_max: Duration::from_secs(600), ..Limits::default() })
            .await;
    let (mut first, mut second) = (service.connect_and_say("").await, service.connect_and_say("").await);
    ask(&mut first).await;
    ask(&mut second).await;

    let refused = service.say(REQUEST).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.json()["code"], "unavailable");
    ask(&mut first).await;

    drop(first);
    // The slot comes back as soon as the server sees the end of the connection.
    let taken = async {
        while service.get("/now").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(REPLY_MAX, taken).await.unwrap();
    ask(&mut second).await;
}

#[tokio::test]
async fn clients_that_go_away_leave_nothing_behind() {
    let (service, gate) = service(Limits { connections_max: 8, ..Limits::default() }).await;
    for round in 0..100 {
        let said = match round % 4 {
            0 => "",
            1 => "GET /la",
            2 => "GET /later HTTP/1.1\r\nhost: test\r\n\r\n",
            _ => "POST /now HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n{",
        };
        drop(service.connect_and_say(said).await);
    }
    let answered = async {
        while service.get("/now").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(REPLY_MAX, answered).await.unwrap();
    assert_eq!(gate.available_permits(), 0);
}

/// As long as it is connected it has a place that others may want. The reader has a thread that the server does not share, and so
/// long that no stall of the machine makes it one that does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_of_an_answer_without_end_is_cut_off_and_one_that_reads_is_not() {
    let places = Arc::new(Semaphore::new(2));
    let free = Arc::clone(&places);
    let endless = async move || {
        let place = Arc::clone(&free).acquire_owned().await.unwrap();
        Body::from_stream(stream::unfold(place, async |place| {
            Some((Ok::<_, Infallible>(vec![b'x'; 64 * 1024]), place))
        }))
    };
    let limits = Limits { untaken_max: Duration::from_secs(5), ..Limits::default() };
    let service = served(Router::new().route("/endless", get(endless)), limits).await;
    let request = "GET /endless HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut reading = service.connect_and_say(request).await;
    let silent = service.connect_and_say(request).await;
    let mut bytes = vec![0_u8; 64 * 1024];
    let cut_off = async {
        let mut both_had_one = false;
        loop {
            assert!(reading.read(&mut bytes).await.unwrap() > 0);
            match places.available_permits() {
                0 => both_had_one = true,
                _ if both_had_one => return,
                _ => {}
            }
        }
    };
    time::timeout(REPLY_MAX, cut_off).await.unwrap();
    assert_eq!(places.available_permits(), 1);
    assert!(reading.read(&mut bytes).await.unwrap() > 0);
    drop(silent);
}

#[tokio::test]
async fn stopping_answers_what_was_begun_and_takes_nothing_new() {
    let (service, gate) = service(Limits::default()).await;
    let mut idle = service.connect_and_say("").await;
    ask(&mut idle).await;
    let begun = service.connect_and_say("GET /later HTTP/1.1\r\nhost: test\r\n\r\n").await;
    // Its handler waits at the gate once a request that came after it was answered, on the same thread.
    assert_eq!(service.get("/now").await.status, 200);

    service.trigger.stop();
    assert_eq!(listen(idle).await.status, 0, "an idle connection is closed");
    gate.add_permits(1);
    assert_eq!(listen(begun).await.body, "later");
    time::timeout(REPLY_MAX, service.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(service.addr).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_what_never_ends() {
    let limits = Limits { drain_max: Duration::from_millis(50), ..Limits::default() };
    let (service, _gate) = service(limits).await;
    let begun = service.connect_and_say("GET /later HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(service.get("/now").await.status, 200);
    service.trigger.stop();
    time::timeout(REPLY_MAX, service.ended).await.unwrap().unwrap();
    drop(begun);
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let (service, _gate) = service(Limits::default()).await;
    let reply = service.say(&format!("GET /now HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024))).await;
    assert!([431, 0].contains(&reply.status), "{reply:?}");
    assert_eq!(service.get("/now").await.status, 200);
}
