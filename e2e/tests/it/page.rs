//! The screens of a system at work: what a person copies from them is what the command line understands.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use e2e::system::{Order, System, until};
use reqwest::header::ACCEPT;

use crate::readme::typed;

const VIEW_LIMIT: Duration = Duration::from_secs(60);

/// An address without what stands for ids, names and numbers: one screen of each kind is looked at, whatever else has happened
/// in this system.
fn kind_of(address: &str) -> String {
    let address = address.split('#').next().unwrap_or_default();
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let path = path.split('/').enumerate().map(|(at, part)| if at == 2 { "*" } else { part });
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    format!("{}?{}", path.collect::<Vec<_>>().join("/"), names.collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn every_command_that_a_screen_offers_does_what_it_says() {
    let system = System::alone().await;
    let sku = system.stocked(10).await;
    // Completed, and declined.
    for cents in [1_000, 1_013] {
        let order = Order::new(&sku, 1, cents);
        system.publish(vec![order.create()]).await;
        system.shown(order.id, system.end(order.id).await).await;
    }
    let bad = typed(&system, "fulfil event send order.created -n 3 --bad").await;
    assert!(bad.status.success(), "{bad:?}");
    until("a dead letter in the view", VIEW_LIMIT, async || {
        let open = system.get("projector", "/dead-letters?status=open&limit=1").await.body;
        open["dead_letters"].as_array().is_some_and(|letters| !letters.is_empty()).then_some(())
    })
    .await;

    let (mut known, mut next) = (BTreeSet::new(), VecDeque::from(["/".to_owned()]));
    // One of each kind: what stands for ids and names makes no other command.
    let mut commands = BTreeMap::new();
    while let Some(address) = next.pop_front() {
        if !known.insert(kind_of(&address)) {
            continue;
        }
        let url = format!("{}{address}", system.service("projector").http);
        let answer = reqwest::Client::new().get(&url).header(ACCEPT, "text/html").send().await.unwrap();
        assert!(answer.status().is_success(), "{address}: {}", answer.status());
        let html = answer.text().await.unwrap();
        let attributes = |name: &str| -> Vec<String> {
            let begin = format!(" {name}=\"");
            let values = html.split(&begin).skip(1).filter_map(|rest| rest.split('"').next());
            values.map(|value| value.replace("&#38;", "&").replace("&#39;", "'")).collect()
        };
        for command in attributes("data-copy") {
            let kind: Vec<&str> = command
                .split(' ')
                .enumerate()
                .filter(|(at, word)| *at < 3 || word.starts_with("--"))
                .map(|(_, word)| word)
                .collect();
            commands.entry(kind.join(" ")).or_insert(command);
        }
        next.extend(
            attributes("href")
                .into_iter()
                .filter(|link| link.starts_with('/') && !link.starts_with("/assets")),
        );
    }
    for (kind, command) in &commands {
        // They would be refused: what is shown has ended, or dies again. Or they take from the others what those look at.
        let asks = ["fulfil order cancel", "fulfil dlq discard", "fulfil projection rebuild"];
        if asks.iter().any(|asks| kind.starts_with(asks)) || kind == "fulfil dlq redrive --reason" {
            continue;
        }
        // It would go on until it is stopped.
        let ends = if kind.starts_with("fulfil topic watch") { " -o start -n 1" } else { "" };
        let output = typed(&system, &format!("{command}{ends}")).await;
        assert!(output.status.success(), "{command} ended with {output:?}");
    }
    for kind in [
        "fulfil overview",
        "fulfil sales --by",
        "fulfil order list",
        "fulfil order get --event",
        "fulfil order timeline",
        "fulfil dlq groups --all",
        "fulfil dlq show",
        "fulfil dlq redrive --fingerprint --dry-run",
        "fulfil stock list",
        "fulfil projection status",
        "fulfil topic lag",
    ] {
        assert!(commands.contains_key(kind), "no screen offers {kind}: {:?}", commands.keys());
    }
}
