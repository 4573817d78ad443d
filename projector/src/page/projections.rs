//! The view that serves and the second one beside it, with what can be asked of them.

use askama::Template;
use axum::{extract::State, response::Response};
use shared::http::Problem;

use super::{
    layout::{Frame, rendered},
    text,
};
use crate::http::{
    App,
    projections::{ProjectionsBody, SecondBody, Standing, standing},
};

#[derive(Template)]
#[template(path = "projections.html")]
struct Projections {
    frame: Frame,
    body: ProjectionsBody,
    verbs: Vec<Verb>,
    percent: i64,
    /// With how long it takes still.
    rate: String,
}

/// What may be asked now.
struct Verb {
    name: &'static str,
    what: &'static str,
    /// Whether to ask once more before.
    is_grave: bool,
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let body = standing(&app).await?;
    let second = body.second.as_ref();
    rendered(&Projections {
        frame: Frame::new(&app, "projections", "Projections", "fulfil projection status")
            .live("/projections"),
        verbs: verbs(second.map(|second| second.state)),
        percent: second.map_or(0, |second| second.messages * 100 / second.messages_total.max(1)),
        rate: second.map(SecondBody::rate).unwrap_or_default(),
        body,
    })
}

fn verbs(state: Option<Standing>) -> Vec<Verb> {
    let rebuild =
        Verb { name: "rebuild", what: "fill a second view from the topics' beginning", is_grave: false };
    let verify = Verb { name: "verify", what: "compare both, row by row", is_grave: false };
    let switch = Verb { name: "switch", what: "let the second view serve", is_grave: true };
    let rollback =
        Verb { name: "rollback", what: "let the view that served before serve again", is_grave: true };
    let drop = Verb { name: "drop", what: "drop the second view", is_grave: true };
    match state {
        None => vec![rebuild],
        Some(Standing::Filling | Standing::Switching | Standing::Stopped) => vec![drop],
        Some(Standing::Following) => vec![verify, switch, drop],
        Some(Standing::Resting) => vec![rollback, rebuild, drop],
    }
}

impl SecondBody {
    fn rate(&self) -> String {
        let left = self.seconds_left.filter(|left| *left > 0.0);
        let left = left
            .map(|left| format!(", {} left", text::duration((left * 1_000.0) as i64)))
            .unwrap_or_default();
        let rate = self.per_second.map(|rate| format!("{} a second", text::count(rate as i64)));
        rate.map(|rate| rate + &left).unwrap_or_default()
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            Standing::Filling => "filling",
            Standing::Following => "following the topics",
            Standing::Switching => "about to serve",
            Standing::Resting => "resting: it served before",
            Standing::Stopped => "stopped: see the projector's log",
        }
    }
}
