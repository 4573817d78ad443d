//! A file of orders, each with the end that is expected of it.

use std::{fs, path::PathBuf};

use cli::exit::Exit;
use e2e::system::{Order, System};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As long as the longest way on a busy machine.
const WITHIN: &str = "180s";

fn line(order: &Order, expect: &str) -> String {
    json!({"type": "order.create", "data": order.data(), "expect": expect}).to_string()
}

fn written(folder: &TempDir, lines: &[String]) -> String {
    let path = folder.path().join("scenario.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What was said of each order.
fn told(said: &str) -> Vec<Value> {
    let objects = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter(|object| object.get("outcome").is_some()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_waits_for_the_end_of_each_of_its_orders() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    // The committed example, of a sku that has enough.
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/scenario.jsonl");
    let example = fs::read_to_string(example).unwrap().replace("SKU-1", &sku);
    let folder = TempDir::new().unwrap();
    let file = written(&folder, &[example]);
    let said = system.cli(&["event", "send", "-f", &file, "--within", WITHIN, "--json"]);
    let told = told(&said);
    let of = |name: &str| {
        let order = told.iter().find(|order| order["name"] == name);
        let order = order.unwrap_or_else(|| panic!("no {name}: {said}"));
        assert_eq!(order["outcome"], "expected", "{said}");
        (order["status"].clone(), order["reason"].clone())
    };
    assert_eq!(told.len(), 4, "{said}");
    assert_eq!(of("bought"), (json!("completed"), Value::Null));
    assert_eq!(of("declined"), (json!("settled"), json!("payment_declined")));
    assert_eq!(of("out-of-stock"), (json!("settled"), json!("out_of_stock")));
    assert_eq!(of("cancelled"), (json!("settled"), json!("customer")));
    assert!(!said.contains("\"expect\""), "what is expected is not sent: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ends_otherwise_is_named_with_its_reason() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let (good, declined) = (Order::new(&sku, 1, 100), Order::new(&sku, 1, 113));
    let folder = TempDir::new().unwrap();
    let file = written(&folder, &[line(&good, "completed"), line(&declined, "completed")]);
    let said = system.cli_ends(Exit::Refused, &["event", "send", "-f", &file, "--within", WITHIN]);
    let of = |order: &Order| said.lines().find(|line| line.starts_with(&order.id.to_string())).unwrap();
    assert_eq!(of(&good), format!("{}  COMPLETED", good.id));
    let otherwise = of(&declined);
    assert!(otherwise.ends_with("payment declined  expected completed"), "{said}");
    assert!(said.contains("1 of 2 orders as expected, 1 otherwise, 0 not within the time"), "{said}");

    // The provider is silent at first.
    let silent = Order::new(&sku, 1, 1_014);
    let file = written(&folder, &[line(&silent, "completed")]);
    let said = system.cli_ends(Exit::Waited, &["event", "send", "-f", &file, "--within", "1ms", "--json"]);
    assert_eq!(told(&said)[0]["outcome"], "waited", "{said}");
    assert_eq!(system.end(silent.id).await, "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_without_a_file_is_waited_for_as_well() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let set = format!("lines[0].sku={sku}");
    let send = ["event", "send", "order.create", "-n", "3", "--set", &set];
    let quantity = ["--set", "lines[0].quantity=1", "--set", "lines[0].unit_price_minor=100"];
    let expect = ["--duplicate", "2", "--expect", "completed", "--within", WITHIN, "--json"];
    let said = system.cli(&[&send[..], &quantity, &expect].concat());
    let told = told(&said);
    assert!(told.len() == 3 && told.iter().all(|order| order["status"] == "completed"), "{said}");
}
