//! Which lines the plots of the page show.

use crate::{
    plot::{Line, Panel},
    results::{LogStep, Results},
    run::Run,
};

pub(crate) fn load(results: &Results) -> Vec<Panel> {
    let steps = &results.load.steps;
    let most = results.load.saturated.orders_per_s;
    let points =
        |y: fn(&Run) -> f64| steps.iter().map(|step| (step.paced.rate, y(&step.paced.run))).collect();
    let ideal = steps.iter().map(|step| (step.paced.rate, step.paced.rate.min(most))).collect();
    let x = "orders/s asked for, over HTTP";
    vec![
        Panel {
            x: x.to_owned(),
            y: "orders/s".to_owned(),
            is_log: false,
            lines: vec![
                Line { name: "completed", points: points(|run| run.orders_per_s) },
                Line {
                    name: "sent and answered",
                    points: points(|run| run.offered_per_s.unwrap_or_default()),
                },
                Line { name: "ideal", points: ideal },
            ],
        },
        Panel {
            x: x.to_owned(),
            y: "ms until in the view".to_owned(),
            is_log: true,
            lines: vec![
                Line { name: "p50", points: points(|run| run.latency.p50_ms) },
                Line { name: "p99", points: points(|run| run.latency.p99_ms) },
            ],
        },
    ]
}

pub(crate) fn goodput(results: &Results) -> Vec<Panel> {
    let most = results.load.saturated.orders_per_s;
    let steps = &results.load.steps;
    vec![Panel {
        x: "load asked for, in multiples of the saturated rate".to_owned(),
        y: "share".to_owned(),
        is_log: false,
        lines: vec![
            Line {
                name: "completed, of the saturated rate",
                points: steps.iter().map(|step| (step.share, step.paced.run.orders_per_s / most)).collect(),
            },
            Line {
                name: "not taken, of those sent",
                points: steps.iter().map(|step| (step.share, step.refused())).collect(),
            },
            Line {
                name: "ideal",
                points: steps.iter().map(|step| (step.share, step.share.min(1.0))).collect(),
            },
        ],
    }]
}

pub(crate) fn log(results: &Results) -> Vec<Panel> {
    let steps = &results.log.steps;
    let panel = |y: String, name: &'static str, of: fn(&LogStep) -> f64| Panel {
        x: "orders in the log".to_owned(),
        y,
        is_log: false,
        lines: vec![Line { name, points: steps.iter().map(|step| (step.size(), of(step))).collect() }],
    };
    vec![
        panel("orders/s".to_owned(), "saturated", |step| step.saturated.orders_per_s),
        panel("CPU s per 1,000 orders".to_owned(), "app + Kafka + Postgres", |step| step.saturated.cpu()),
        panel(format!("ms at {} orders/s", results.log.paced_rate), "p50", |step| step.paced.latency.p50_ms),
    ]
}
