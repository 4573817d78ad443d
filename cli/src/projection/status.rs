//! `fulfil projection status`: a line for each of the two views.

use std::{process::ExitCode, time::Duration};

use super::{Drift, Projections, Second, State, look};
use crate::{
    exit::Exit,
    output::{Column, Output, Tone, count, duration, duration_ms},
    place::Place,
};

pub(super) async fn run(place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let projections = look(place).await?;
    if output.json {
        output.object(&projections)?;
        return Ok(Exit::Done.into());
    }
    let Projections { served, second } = projections;
    let lag = format!("serves, {} behind", duration_ms(served.lag_ms));
    let standing = match served.drift.len() {
        0 => output.paint(Tone::Good, &lag),
        orders => {
            output.paint(Tone::Bad, &format!("{lag}, orders that are not what their topics say: {orders}"))
        }
    };
    let mut rows = vec![vec!["served".into(), standing, served.begun_at, build(served.build), String::new()]];
    if let Some(second) = second {
        let tone = match second.state {
            State::Stopped => Tone::Bad,
            State::Filling | State::Switching => Tone::Warn,
            State::Following => Tone::Good,
            State::Resting => Tone::Dim,
        };
        let state = output.paint(tone, state(second.state));
        rows.push(vec![
            "second".into(),
            state,
            second.begun_at.clone(),
            build(second.build.clone()),
            progress(&second),
        ]);
    }
    let columns = [
        Column::Left("VIEW"),
        Column::Left("STATE"),
        Column::Left("BEGUN"),
        Column::Left("BUILD"),
        Column::Left("PROGRESS"),
    ];
    output.table(&columns, rows);
    for Drift { order_id, what, .. } in &served.drift {
        output.note_toned(Tone::Bad, &format!("order {order_id}: {what}"));
    }
    if !served.drift.is_empty() {
        output.note("what mends it: fulfil projection rebuild --wait, then switch");
    }
    Ok(Exit::Done.into())
}

fn build(build: Option<String>) -> String {
    build.unwrap_or_else(|| "-".to_owned())
}

fn state(state: State) -> &'static str {
    match state {
        State::Filling => "is filled",
        State::Following => "follows the topics",
        State::Switching => "is about to serve",
        State::Resting => "served before, rests",
        State::Stopped => "stopped: see the log of the projector",
    }
}

/// `1,204,000 of 2,460,000 messages, 31,000/s, 41 s to go`
pub(super) fn progress(second: &Second) -> String {
    let done = format!("{} of {} messages", count(second.messages), count(second.messages_total));
    if second.state == State::Resting || second.messages >= second.messages_total {
        return done;
    }
    let rate = second.per_second.map_or_else(String::new, |rate| format!(", {}/s", count(rate as i64)));
    let left = second.seconds_left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let left = left.map_or_else(String::new, |left| format!(", {} to go", duration(left)));
    format!("{done}{rate}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(state: State, messages: i64, per_second: Option<f64>) -> Second {
        Second {
            begun_at: String::new(),
            build: None,
            filled_at: None,
            state,
            messages,
            messages_total: 2_460_000,
            per_second,
            seconds_left: per_second.map(|rate| (2_460_000 - messages) as f64 / rate),
        }
    }

    #[test]
    fn progress_says_how_far_how_fast_and_how_long() {
        let filling = second(State::Filling, 1_230_000, Some(30_000.0));
        assert_eq!(progress(&filling), "1,230,000 of 2,460,000 messages, 30,000/s, 41 s to go");
        assert_eq!(progress(&second(State::Filling, 0, None)), "0 of 2,460,000 messages");
        assert_eq!(
            progress(&second(State::Following, 2_460_000, Some(9.0))),
            "2,460,000 of 2,460,000 messages"
        );
        assert_eq!(progress(&second(State::Resting, 5, Some(9.0))), "5 of 2,460,000 messages");
    }
}
