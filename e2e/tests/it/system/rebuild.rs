//! A second view is filled, compared and put in the place of the one that serves, while orders come and go.

use std::time::Duration;

use e2e::system::{Edge, Load, Loading, Mix, System, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);
const ORDERS_A_WAVE: usize = 20;
const WAVE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_view_is_made_anew_under_load_and_by_who_died_of_it_and_takes_the_place_of_the_other_and_back() {
    let Some(mut system) = System::to_harm().await else { return };
    let edge = Edge::of(&system);
    // Declined, and capture fails: nobody is silent for long.
    let load = Load::new(61, Mix { moods: &[(13, 40), (16, 30)], ..Mix::default() });
    load.stock(&edge).await;
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE);
    ends(&system, 100).await;

    ask(&system, "rebuild").await;
    system.kill_and_restart("projector").await;
    until("the second view to be filled", LIMIT, async || {
        (state(&system).await == "following").then_some(())
    })
    .await;
    let verified = async || {
        let answer = system.post("projector", "/projections/verify", &json!({})).await;
        (answer.status.as_u16() == 200).then_some(answer.body)
    };
    let compared = until("both views to be compared", LIMIT, verified).await;
    assert_eq!(compared["different"], 0, "{compared:#}");

    let begun = |status: &Value, view: &str| status[view]["begun_at"].as_str().map(str::to_owned);
    for verb in ["switch", "rollback"] {
        let second = begun(&status(&system).await, "second");
        ask(&system, verb).await;
        let serves = async || (begun(&status(&system).await, "served") == second).then_some(());
        until(&format!("the other view to serve after {verb}"), LIMIT, serves).await;
        ends(&system, 100).await;
    }
    let load = loading.stop().await;
    system.all_accounted_for(&load).await;
    system.adds_up_with(&load.journal.told).await;
    ask(&system, "drop").await;
    assert_eq!(status(&system).await["second"], Value::Null);
}

async fn ends(system: &System, more: usize) {
    let before = system.seen.ended_after(0).len();
    let ended = async || (system.seen.ended_after(before).len() >= more).then_some(());
    until("more orders to end", LIMIT, ended).await;
}

async fn ask(system: &System, verb: &str) {
    let asked = async || {
        let answer = system.post("projector", &format!("/projections/{verb}"), &json!({})).await;
        answer.status.is_success().then_some(())
    };
    until(&format!("the projector to take {verb}"), LIMIT, asked).await;
}

async fn status(system: &System) -> Value {
    system.get("projector", "/projections").await.body
}

async fn state(system: &System) -> String {
    status(system).await["second"]["state"].as_str().unwrap_or_default().to_owned()
}
