//! What a run came to.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    book::{End, Entry, Told},
    latency::Latency,
    mix::Fate,
    storage::TOPICS,
    usage::{Cpu, Resident},
};
use crate::{
    audit::Violation,
    exit::Exit,
    output::{Column, Output, Tone, bytes, count},
};

const MEGA: f64 = 1e6;
const VIOLATIONS_SHOWN: usize = 10;

/// How the servers are set, as they say themselves; `acks` as the services' client is told.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Durability {
    pub(super) fsync: String,
    /// Of each service's role.
    pub(super) synchronous_commit: BTreeMap<String, String>,
    pub(super) acks: String,
}

/// How many orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Orders {
    pub(super) sent: usize,
    pub(super) accepted: usize,
    /// 503: asked to come back later.
    pub(super) busy: usize,
    pub(super) refused: usize,
    /// No answer, and nothing was heard of it.
    pub(super) unanswered: usize,
    pub(super) completed: usize,
    pub(super) settled: usize,
    /// Accepted, and did not end in time.
    pub(super) open: usize,
    /// Ended otherwise than they were meant to. A cancellation can come too late, so that is none.
    pub(super) otherwise: usize,
    pub(super) ended_twice: usize,
    /// Ended, and the view was not seen to have it in time.
    pub(super) unseen: usize,
    /// Rows of the view that say completed.
    pub(super) completed_in_view: usize,
}

/// Of the machine that runs all of it; only of a system that `fulfil dev` has started.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) cpu: Cpu,
    pub(super) resident: Resident,
    /// What was added, by service and of the topics.
    pub(super) stored: BTreeMap<String, i64>,
    pub(super) durability: Durability,
}

pub(super) struct Measured {
    pub(super) entries: Vec<Entry>,
    pub(super) completed_in_view: usize,
    pub(super) machine: Option<Machine>,
    /// `None` where nobody could look.
    pub(super) violations: Option<Vec<Violation>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) orders: Orders,
    pub(super) seconds: f64,
    /// Ended and seen in the view, by the time from the first order to the last that was.
    pub(super) orders_per_s: f64,
    /// Over HTTP: all that were sent, by the time until the last had its answer. Less than the rate that was asked for
    /// where the sender, or the room for its requests, was the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offered_per_s: Option<f64>,
    /// From when an order was due until the view was known to have its last event. In a closed loop that is above all
    /// how long it waited on the topic behind the others.
    #[serde(flatten)]
    pub(super) latency: Option<Latency>,
    /// To the last event of the order on its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topic: Option<Latency>,
    /// To the answer of `POST /orders`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_s_per_1000: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rss_mb_by_service: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_order: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) durability: Option<Durability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) violations: Option<Vec<Violation>>,
}

impl Report {
    pub(super) fn of(measured: Measured) -> Self {
        let Measured { entries, completed_in_view, machine, violations } = measured;
        let orders = Orders { completed_in_view, ..orders(&entries) };
        let ended = orders.completed + orders.settled;
        let took = entries.iter().filter_map(|entry| entry.seen).max().unwrap_or_default();
        let per_order = |amount: f64| amount / ended.max(1) as f64;
        let since_due = |at: fn(&Entry) -> Option<Duration>| {
            Latency::of(entries.iter().filter_map(|entry| Some(at(entry)?.saturating_sub(entry.due))))
        };
        let topic = since_due(|entry| entry.ended.map(|(_, at)| at));
        let seconds = took.as_secs_f64();
        let answered = entries.iter().filter_map(|entry| entry.answered).max();
        Self {
            orders,
            seconds,
            orders_per_s: (ended - orders.unseen) as f64 / seconds.max(1e-9),
            offered_per_s: answered.map(|last| orders.sent as f64 / last.as_secs_f64().max(1e-9)),
            latency: since_due(|entry| entry.seen),
            topic,
            answer: since_due(|entry| entry.answered.filter(|_| entry.told == Told::Accepted)),
            cpu_s_per_1000: machine.as_ref().map(|machine| machine.cpu.per(ended as f64 / 1_000.0)),
            rss_mb: machine.as_ref().map(|machine| machine.resident.together as f64 / MEGA),
            rss_mb_by_service: machine.as_ref().map(|machine| {
                let services = machine.resident.services.iter();
                services.map(|(name, bytes)| (name.clone(), *bytes as f64 / MEGA)).collect()
            }),
            bytes_per_order: machine.as_ref().map(|machine| {
                machine.stored.iter().map(|(name, bytes)| (name.clone(), per_order(*bytes as f64))).collect()
            }),
            durability: machine.map(|machine| machine.durability),
            violations,
        }
    }

    /// What is wrong comes before what is late, and that before what was not taken.
    pub(super) fn exit(&self) -> Exit {
        let Orders {
            sent, accepted, busy, refused, unanswered, open, otherwise, ended_twice, unseen, ..
        } = self.orders;
        let adds_up = self.violations.as_ref().is_none_or(Vec::is_empty);
        match () {
            () if otherwise + ended_twice + refused > 0 || !adds_up => Exit::Failed,
            () if open + unseen > 0 => Exit::Waited,
            () if !self.is_counted_in_view() => Exit::Failed,
            () if sent > 0 && accepted == 0 => Exit::Unreachable,
            () if busy + unanswered > 0 => Exit::Partly,
            () => Exit::Done,
        }
    }

    /// An order without an answer can complete after nobody listens any more.
    fn is_counted_in_view(&self) -> bool {
        let Orders { completed, unanswered, completed_in_view, .. } = self.orders;
        (completed..=completed + unanswered).contains(&completed_in_view)
    }

    pub(super) fn show(&self, output: Output) -> anyhow::Result<()> {
        if output.json {
            return output.object(self);
        }
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |what: &str, value: String, note: String| rows.push(vec![what.to_owned(), value, note]);
        let Orders { sent, accepted, completed, settled, completed_in_view, .. } = self.orders;
        let number = |number: usize| count(number as i64);
        row("orders sent", number(sent), format!("{} accepted", number(accepted)));
        row("completed", number(completed), format!("{} rows of the view say so", number(completed_in_view)));
        row("settled", number(settled), String::new());
        row("orders/s", count(self.orders_per_s.round() as i64), format!("over {:.1} s", self.seconds));
        if let Some(offered) = self.offered_per_s {
            row("offered/s", count(offered.round() as i64), "answered, taken or not".to_owned());
        }
        let mut latency = |what: &str, latency: Latency, note: String| {
            let Latency { p50_ms, p95_ms, p99_ms, max_ms } = latency;
            let value = format!("{p50_ms:.1} / {p95_ms:.1} / {p99_ms:.1} / {max_ms:.1}");
            row(what, value, note);
        };
        if let Some(view) = self.latency {
            latency("until in the view", view, "ms p50 / p95 / p99 / max".to_owned());
        }
        if let Some(topic) = self.topic {
            latency("until ended on the topic", topic, "ms".to_owned());
        }
        if let Some(answer) = self.answer {
            latency("until answered", answer, "ms".to_owned());
        }
        if let Some(cpu) = self.cpu_s_per_1000 {
            let value = format!("{:.3} + {:.3} + {:.3}", cpu.app, cpu.kafka, cpu.postgres);
            let all = cpu.app + cpu.kafka + cpu.postgres;
            let beside = format!("provider {:.3}, this program {:.3}", cpu.provider, cpu.generator);
            row("CPU s per 1,000 orders", value, format!("app + Kafka + Postgres = {all:.3}; {beside}"));
        }
        if let (Some(together), Some(services)) = (self.rss_mb, &self.rss_mb_by_service) {
            let each: Vec<String> = services.iter().map(|(name, mb)| format!("{name} {mb:.0}")).collect();
            row("resident MB, services", format!("{together:.0}"), each.join(", "));
        }
        if let Some(stored) = &self.bytes_per_order {
            let written: f64 = stored
                .iter()
                .filter(|(name, _)| *name != TOPICS && *name != "projector")
                .map(|(_, each)| each)
                .sum();
            let each: Vec<String> =
                stored.iter().map(|(name, each)| format!("{name} {}", bytes(each.max(0.0) as u64))).collect();
            row(
                "stored an order",
                bytes(written.max(0.0) as u64),
                format!("in the write databases together; each: {}", each.join(", ")),
            );
        }
        if let Some(Durability { fsync, synchronous_commit, acks }) = &self.durability {
            let each: Vec<String> =
                synchronous_commit.iter().map(|(name, on)| format!("{name} {on}")).collect();
            row(
                "durability",
                format!("fsync {fsync}, acks {acks}"),
                format!("synchronous_commit: {}", each.join(", ")),
            );
        }
        output.table(&[Column::Left("FIGURE"), Column::Right("VALUE"), Column::Left("")], rows);
        self.complain(output);
        Ok(())
    }

    fn complain(&self, output: Output) {
        let Orders {
            completed,
            busy,
            refused,
            unanswered,
            open,
            otherwise,
            ended_twice,
            unseen,
            completed_in_view,
            ..
        } = self.orders;
        for (how_many, what, tone) in [
            (busy, "were asked to come back later (503)", Tone::Warn),
            (unanswered, "got no answer, and nothing was heard of them", Tone::Warn),
            (refused, "were refused", Tone::Bad),
            (open, "were accepted and did not end in time", Tone::Bad),
            (unseen, "ended, and the view was not seen to have it in time", Tone::Bad),
            (otherwise, "ended otherwise than they were meant to", Tone::Bad),
            (ended_twice, "ended twice", Tone::Bad),
        ] {
            if how_many > 0 {
                output.note_toned(tone, &format!("{} {what}", count(how_many as i64)));
            }
        }
        if !self.is_counted_in_view() {
            let (completed, rows) = (count(completed as i64), count(completed_in_view as i64));
            output
                .note_toned(Tone::Bad, &format!("{completed} completed, but {rows} rows of the view say so"));
        }
        match &self.violations {
            None => output.note("whether the logs add up cannot be seen from here"),
            Some(violations) if violations.is_empty() => output.note_toned(Tone::Good, "the logs add up"),
            Some(violations) => {
                for Violation { invariant, subject, detail } in violations.iter().take(VIOLATIONS_SHOWN) {
                    output.note_toned(Tone::Bad, &format!("invariant {invariant}: {subject}: {detail}"));
                }
                output.note_toned(Tone::Bad, &format!("{} violations", count(violations.len() as i64)));
            }
        }
    }
}

fn orders(entries: &[Entry]) -> Orders {
    let mut orders = Orders { sent: entries.len(), ..Orders::default() };
    for entry in entries {
        match (entry.told, entry.ended) {
            // Its answer was lost, but it is there.
            (Told::Accepted, _) | (Told::Nothing | Told::Lost, Some(_)) => orders.accepted += 1,
            (Told::Nothing | Told::Lost, None) => orders.unanswered += 1,
            (Told::Busy, _) => orders.busy += 1,
            (Told::Refused, _) => orders.refused += 1,
        }
        match entry.ended.map(|(end, _)| end) {
            Some(End::Completed) => orders.completed += 1,
            Some(End::Settled) => orders.settled += 1,
            None => orders.open += usize::from(entry.told == Told::Accepted),
        }
        let meant = match entry.ended.map(|(end, _)| end) {
            Some(End::Completed) => matches!(entry.fate, Fate::Completed | Fate::Cancelled),
            Some(End::Settled) => entry.fate != Fate::Completed,
            None => true,
        };
        orders.otherwise += usize::from(!meant);
        orders.unseen += usize::from(entry.ended.is_some() && entry.seen.is_none());
        orders.ended_twice += usize::from(entry.is_twice);
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn entry(fate: Fate, told: Told, end: Option<End>) -> Entry {
        let seen = end.map(|_| 22 * MS);
        Entry { seen, ..Entry::of(fate, 2 * MS, told, end.map(|end| (end, 12 * MS))) }
    }

    fn report(entries: Vec<Entry>, completed_in_view: usize) -> Report {
        let violations = Some(Vec::new());
        Report::of(Measured { entries, completed_in_view, machine: None, violations })
    }

    fn exit(entry: Entry, completed_in_view: usize) -> Exit {
        report(vec![entry], completed_in_view).exit()
    }

    #[test]
    fn latency_counts_from_when_an_order_was_due_and_the_time_of_a_run_to_the_last_that_was_seen() {
        let report = report(vec![entry(Fate::Completed, Told::Accepted, Some(End::Completed))], 1);
        assert_eq!(report.exit(), Exit::Done);
        assert_eq!(report.latency.unwrap().p50_ms, 20.0);
        assert_eq!(report.topic.unwrap().max_ms, 10.0);
        assert!((report.orders_per_s - 1.0 / 0.022).abs() < 1e-6, "{}", report.orders_per_s);
    }

    #[test]
    fn what_was_offered_is_all_that_had_an_answer_also_those_that_were_not_taken() {
        let answered =
            |told, ms: u32| Entry { answered: Some(ms * MS), ..entry(Fate::Completed, told, None) };
        let report = report(vec![answered(Told::Busy, 4), answered(Told::Accepted, 10)], 0);
        assert!((report.offered_per_s.unwrap() - 200.0).abs() < 1e-6, "{:?}", report.offered_per_s);
    }

    #[test]
    fn what_is_wrong_late_or_not_taken_has_its_exit_code() {
        let accepted = |fate, end| entry(fate, Told::Accepted, end);
        let completed = accepted(Fate::Completed, Some(End::Completed));
        assert_eq!(exit(accepted(Fate::Completed, Some(End::Settled)), 0), Exit::Failed);
        assert_eq!(exit(accepted(Fate::OutOfStock, Some(End::Completed)), 1), Exit::Failed);
        assert_eq!(exit(Entry { is_twice: true, ..completed.clone() }, 1), Exit::Failed);
        assert_eq!(exit(completed.clone(), 0), Exit::Failed, "a row of the view is missing");
        assert_eq!(exit(completed.clone(), 2), Exit::Failed, "there is one too many");
        assert_eq!(exit(entry(Fate::Completed, Told::Refused, None), 0), Exit::Failed);
        assert_eq!(exit(accepted(Fate::Declined, None), 0), Exit::Waited);
        assert_eq!(exit(Entry { seen: None, ..completed.clone() }, 0), Exit::Waited);
        assert_eq!(exit(entry(Fate::Completed, Told::Busy, None), 0), Exit::Unreachable);
        let busy = report(vec![completed.clone(), entry(Fate::Completed, Told::Busy, None)], 1);
        assert_eq!(busy.exit(), Exit::Partly);
        // Its answer was lost, and it completed when nobody listened any more.
        let lost = report(vec![completed, entry(Fate::Completed, Told::Lost, None)], 2);
        assert_eq!(lost.exit(), Exit::Partly);
        assert_eq!(
            exit(accepted(Fate::Cancelled, Some(End::Completed)), 1),
            Exit::Done,
            "the cancel was late"
        );
    }
}
