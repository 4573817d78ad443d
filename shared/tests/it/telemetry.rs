//! The alerts and the dashboard ask for metrics that there are, and every alert is explained and tried.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use shared::{
    contract::topics::Topic,
    telemetry::{
        Metrics,
        metrics::{
            DeadLetterLabel, Exposition, HttpLabel, InvariantLabel, OutcomeLabel, PartitionLabel, StageLabel,
            TopicLabel, WhatLabel,
        },
    },
};

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What stands behind `name:` on each line that begins with it.
fn values<'a>(yaml: &'a str, name: &str) -> Vec<&'a str> {
    let lines = yaml.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).collect()
}

/// All names of series that a process can show. Those with labels are there once something was counted.
fn shown() -> BTreeSet<String> {
    let metrics = Metrics::new("order-service", "1");
    let (topic, partition) =
        (TopicLabel::of(Topic::OrdersEvents), PartitionLabel::of(Topic::OrdersEvents, 0));
    let http = HttpLabel {
        http_request_method: "POST",
        http_route: "/orders".into(),
        http_response_status_code: 202,
    };
    let letter = DeadLetterLabel { group: "order-service".into(), code: "invalid-json".into() };
    drop(metrics.process_seconds.get_or_create(&topic));
    drop(metrics.consumed.get_or_create(&topic));
    drop(metrics.sent.get_or_create(&topic));
    drop(metrics.http_seconds.get_or_create(&http));
    drop(metrics.consumer_lag_messages.get_or_create(&partition));
    drop(metrics.consumer_lag_seconds.get_or_create(&partition));
    drop(metrics.dead_letters.get_or_create(&letter));
    drop(metrics.saga_seconds.get_or_create(&OutcomeLabel { outcome: "completed" }));
    drop(metrics.saga_open.get_or_create(&StageLabel { stage: "created" }));
    drop(metrics.invariant_violations.get_or_create(&InvariantLabel { invariant: "stock-sum" }));
    drop(metrics.counted.get_or_create(&WhatLabel { what: "compensation-overdue" }));
    let text = metrics.text(Exposition::Prometheus);
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// The names of series in an expression: the words that are no function, no operator and no label.
fn series(expression: &str) -> BTreeSet<String> {
    let mut bare = String::new();
    let mut ends = Vec::new();
    let mut rest = expression.chars();
    while let Some(next) = rest.next() {
        match (next, ends.last()) {
            ('"', _) => drop(rest.by_ref().find(|other| *other == '"')),
            (open @ ('{' | '['), _) => {
                ends.push(if open == '{' { '}' } else { ']' });
                bare.push(' ');
            }
            (close, Some(end)) if close == *end => drop(ends.pop()),
            (other, None) => bare.push(other),
            (_, Some(_)) => {}
        }
    }
    for grouping in ["by", "without", "on", "ignoring"] {
        while let Some(start) = bare.find(&format!("{grouping} (")) {
            let end = start + bare[start..].find(')').unwrap();
            bare.replace_range(start..=end, " ");
        }
    }
    let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = BTreeSet::new();
    let mut rest = bare.as_str();
    while let Some(start) = rest.find(is_of_a_name) {
        rest = &rest[start..];
        let end = rest.find(|letter| !is_of_a_name(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_operator = ["and", "or", "unless", "offset"].contains(&word);
        let is_function = after.trim_start().starts_with('(');
        if !word.starts_with(|first: char| first.is_ascii_digit()) && !is_operator && !is_function {
            found.insert(word.to_owned());
        }
        rest = after;
    }
    found
}

#[test]
fn the_series_of_an_expression_are_found() {
    let names = |expression| series(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(
        names(r#"histogram_quantile(0.95, sum by (le, x) (rate(a_bucket{b="c",d=~"$e"}[5m])))"#),
        ["a_bucket"]
    );
    assert_eq!(
        names("sum(increase(a_total[15m])) > 0 or (b unless b offset 15m) / c"),
        ["a_total", "b", "c"]
    );
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() {
    let rules = file("deploy/prometheus/rules.yml");
    let expressions = values(&rules, "expr");
    assert_eq!(expressions.len(), values(&rules, "alert").len());
    // What Prometheus itself says of its targets.
    let known: BTreeSet<String> = shown().into_iter().chain(["up".to_owned()]).collect();
    for expression in expressions {
        let asked = series(expression);
        assert!(!asked.is_empty() && asked.is_subset(&known), "{expression}: {asked:?} of {known:?}");
    }
}

#[test]
fn every_alert_has_been_tried_and_says_what_to_do() {
    let (rules, tried, readme) =
        (file("deploy/prometheus/rules.yml"), file("deploy/prometheus/rules_test.yml"), file("README.md"));
    let alerts = values(&rules, "alert");
    for part in ["for", "labels", "summary", "runbook"] {
        assert_eq!(values(&rules, part).len(), alerts.len(), "each has {part}");
    }
    assert!(values(&rules, "runbook").iter().all(|runbook| *runbook == "README.md#alerts"));
    let (_, section) = readme.split_once("\n## Alerts\n").expect("the README has the section");
    let explained: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let sorted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&explained), sorted(&alerts));
    assert_eq!(sorted(&values(&tried, "alertname")), sorted(&alerts));
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are_and_shows_all_of_them() {
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/fulfil.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    assert_eq!(rows, ["Orders", "Latency", "Consumers", "Relay", "Dead letters", "Invariants"]);
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let asked: BTreeSet<String> =
        targets.flat_map(|target| series(target["expr"].as_str().unwrap())).collect();
    let shown = shown();
    let unknown: Vec<&String> = asked.difference(&shown).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {shown:?}");
    let base = |name: &String| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
    };
    let (asked, shown): (BTreeSet<String>, BTreeSet<String>) =
        (asked.iter().map(base).collect(), shown.iter().map(base).collect());
    assert_eq!(asked, shown);
}
