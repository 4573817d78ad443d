//! Dead letters by the hundred: what is asked of the projector, in which order, and how it ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{fulfil, lines, said};

/// A projector that has these letters, newest first.
struct Projector {
    letters: Vec<Value>,
    /// What a request for a letter is answered, where it is not taken.
    refusals: BTreeMap<String, u16>,
    asked: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

const PAGE: usize = 500;

impl Projector {
    fn of(letters: Vec<Value>) -> Self {
        let (at_once, at_once_max) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { letters, refusals: BTreeMap::new(), asked: Mutex::default(), at_once, at_once_max }
    }

    fn serve(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let projector = Arc::new(self);
        let shared = Arc::clone(&projector);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let projector = Arc::clone(&shared);
                thread::spawn(move || projector.converse(stream.unwrap()));
            }
        });
        (url, projector)
    }

    fn converse(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut stream, mut request) = (stream, String::new());
        while reader.read_line(&mut request).unwrap_or(0) > 0 {
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                    length = bytes.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_once_max.fetch_max(at_once, Ordering::SeqCst);
            let (status, answer) = self.answer(request.trim_end_matches(" HTTP/1.1\r\n"));
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let answer = answer.to_string();
            let length = answer.len();
            // In one piece, so that it is not kept back for more.
            let answer = format!("HTTP/1.1 {status} \r\ncontent-length: {length}\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).unwrap();
            request.clear();
        }
    }

    fn answer(&self, request: &str) -> (u16, Value) {
        self.asked.lock().unwrap().push(request.to_owned());
        if let Some(path) = request.strip_prefix("POST /dead-letters/") {
            let (id, _) = path.split_once('/').unwrap();
            return match self.refusals.get(id) {
                Some(status) => (*status, json!({"code": "no", "detail": "not now"})),
                None => (202, json!({"dead_letter_id": id})),
            };
        }
        let path = request.strip_prefix("GET /dead-letters").unwrap();
        if let Some(id) = path.strip_prefix('/') {
            return (200, self.letters.iter().find(|letter| letter["id"] == id).unwrap().clone());
        }
        let (status, cursor) = (parameter(path, "status"), parameter(path, "cursor"));
        let of_status = |letter: &&Value| match status.as_str() {
            "open" => letter["status"] != "redriven" && letter["status"] != "discarded",
            status => letter["status"] == status,
        };
        let begin: usize = cursor.parse().unwrap_or(0);
        let matching: Vec<&Value> = self.letters.iter().filter(of_status).collect();
        let end = (begin + PAGE).min(matching.len());
        let next = (end < matching.len()).then(|| end.to_string());
        (200, json!({"dead_letters": &matching[begin..end], "next": next}))
    }

    /// The ids that were asked for, in order.
    fn requested(&self, verb: &str) -> Vec<String> {
        let end = format!("/{verb}");
        let id = |request: &String| {
            Some(request.strip_prefix("POST /dead-letters/")?.strip_suffix(&end)?.to_owned())
        };
        self.asked.lock().unwrap().iter().filter_map(id).collect()
    }
}

fn parameter(path: &str, name: &str) -> String {
    let (_, query) = path.split_once('?').unwrap();
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_default().to_owned()
}

fn id(number: usize) -> String {
    Uuid::from_u128(number as u128).to_string()
}

/// The higher the number, the older. Every field of both the list and the letter itself.
fn letter(number: usize, key: &str, status: &str, value: &Value) -> Value {
    json!({
        "id": id(number), "status": status, "group": "inventory-service", "topic": "inventory.commands",
        "partition": 0, "offset": number, "key": key, "code": "insufficient-stock", "fingerprint": "f1",
        "redrives": 0, "key_base64": STANDARD.encode(key), "headers": [],
        "value_base64": STANDARD.encode(value.to_string()),
    })
}

fn adjust(sku: &str, delta: Value) -> Value {
    let data = json!({"sku": sku, "delta": delta, "reason": "counted"});
    json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "fulfil.stock.adjust.v1", "data": data})
}

fn of_sku(number: usize, sku: &str) -> Value {
    letter(number, sku, "dead", &adjust(sku, json!(-1)))
}

#[test]
fn ten_thousand_letters_are_asked_for_once_each_and_those_of_a_key_in_the_order_in_which_they_died() {
    const LETTERS: usize = 10_000;
    let key = |number: usize| format!("SKU-{}", number % 41);
    let mut letters: Vec<Value> = (0..LETTERS).map(|number| of_sku(number, &key(number))).collect();
    letters.extend([
        letter(LETTERS, "SKU-1", "parked", &json!({})),
        letter(LETTERS + 1, "SKU-1", "parked", &json!({})),
    ]);
    let (url, projector) = Projector::of(letters).serve();
    let ended = fulfil(&[
        "dlq",
        "redrive",
        "--fingerprint",
        "f1",
        "--rate",
        "100000/s",
        "--yes",
        "--projector",
        &url,
    ]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    assert!(said(&ended).contains("2 are parked after 3 redrives and left out"), "{}", said(&ended));
    assert!(said(&ended).contains("requested 10,000 of 10,000"), "{}", said(&ended));
    let requested = projector.requested("redrive");
    assert_eq!(requested.len(), LETTERS);
    assert_eq!(requested.iter().collect::<BTreeSet<_>>().len(), LETTERS);
    let mut last = BTreeMap::new();
    for id in &requested {
        let number = id.parse::<Uuid>().unwrap().as_u128() as usize;
        let before = last.insert(number % 41, number);
        assert!(before.is_none_or(|before| before > number), "{number} after {before:?}");
    }
    let at_once = projector.at_once_max.load(Ordering::SeqCst);
    assert!((2..=8).contains(&at_once), "{at_once} at once");
}

#[test]
fn a_preview_says_what_can_be_known_and_asks_for_nothing() {
    let letters = vec![
        of_sku(1, "SKU-1"),
        of_sku(2, "SKU-1"),
        letter(3, "SKU-2", "dead", &adjust("SKU-2", json!("-1"))),
        letter(4, "SKU-2", "parked", &json!({})),
    ];
    let (url, projector) = Projector::of(letters).serve();
    let preview = |more: &[&str]| {
        let shown = fulfil(&[&["dlq", "redrive", "--all", "--dry-run", "--projector", &url], more].concat());
        assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
        lines(&shown)
    };
    let shown = preview(&[]);
    assert_eq!(shown[0], "3 messages of 2 skus; 1 would fail again");
    assert!(shown[1].trim().starts_with("1  invalid-data /data/delta "), "{shown:?}");
    assert!(shown[2].starts_with("2 can be read; "), "{shown:?}");
    let object: Value = serde_json::from_str(&preview(&["--json"])[0]).unwrap();
    assert_eq!(
        (&object["messages"], &object["would_fail_again"], &object["unknown"], &object["parked"]),
        (&json!(3), &json!(1), &json!(2), &json!(1))
    );
    assert_eq!(projector.requested("redrive"), [""; 0]);

    let unsaid = fulfil(&["dlq", "redrive", "--all", "--projector", &url]);
    assert_eq!(unsaid.status.code(), Some(2));
    assert!(said(&unsaid).contains("to redrive 3 dead letters takes --yes"), "{}", said(&unsaid));
    assert_eq!(projector.requested("redrive"), [""; 0]);
}

#[test]
fn what_was_redriven_too_often_can_be_discarded() {
    let (url, projector) = Projector::of(vec![of_sku(1, "A"), letter(2, "A", "parked", &json!({}))]).serve();
    let ended =
        fulfil(&["dlq", "discard", "--code", "insufficient-stock", "--yes", "--json", "--projector", &url]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    let mut requested = projector.requested("discard");
    requested.sort();
    assert_eq!(requested, [id(1), id(2)]);
    let first: Value = serde_json::from_str(&lines(&ended)[0]).unwrap();
    assert_eq!((&first["status"], &first["group"]), (&json!("requested"), &json!("inventory-service")));
}

#[test]
fn a_selection_keeps_to_its_rate() {
    let (url, _) = Projector::of((0..4).map(|number| of_sku(number, "A")).collect()).serve();
    let begun = Instant::now();
    let ended = fulfil(&["dlq", "redrive", "--key", "A", "--rate", "5/s", "--yes", "--projector", &url]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
}

#[test]
fn what_is_not_taken_is_said_and_a_projector_that_is_away_ends_it() {
    let some = || (1..=3).map(|number| of_sku(number, "A")).collect();
    for (refusals, code, requested, text) in [
        (vec![(id(3), 404)], 5, 3, "requested 2 of 3, not taken 1"),
        (vec![(id(3), 500)], 1, 1, "an earlier letter of the same key was not taken"),
        (vec![(id(2), 503)], 5, 2, "requested 1 of 3\n"),
        (vec![(id(3), 503)], 7, 1, "requested 0 of 3\n"),
    ] {
        let projector = Projector { refusals: refusals.into_iter().collect(), ..Projector::of(some()) };
        let (url, projector) = projector.serve();
        let ended = fulfil(&["dlq", "redrive", "--all", "--yes", "--rate", "50/s", "--projector", &url]);
        assert_eq!(ended.status.code(), Some(code), "{}", said(&ended));
        assert!(said(&ended).contains(text), "{}", said(&ended));
        assert!(said(&ended).contains("not now"), "{}", said(&ended));
        assert_eq!(projector.requested("redrive").len(), requested);
    }
}

#[test]
fn letters_are_either_named_or_selected() {
    for arguments in [
        &["dlq", "redrive"][..],
        &["dlq", "redrive", "9c41d2e0", "--all"],
        &["dlq", "discard", "9c41d2e0", "--fingerprint", "f1"],
        &["dlq", "redrive", "--all", "--set", "x=1"],
        &["dlq", "redrive", "--all", "--rate", "0/s"],
        &["dlq", "redrive", "--all", "--reason", " "],
    ] {
        let ended = fulfil(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", said(&ended));
    }
}
