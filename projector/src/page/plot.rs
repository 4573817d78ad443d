//! Figures over time: drawn here as lines and told as a table, so that they need no script. With it (assets/plots.js) one can
//! point at them.

use serde::Serialize;
use shared::contract::Timestamp;

use super::{spark, text};

pub(super) const WIDTH: usize = 600;
pub(super) const HEIGHT: usize = 140;

/// Lines that share one scale, which begins at zero.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub title: String,
    pub unit: &'static str,
    /// When what each value is of begins, in seconds since 1970.
    pub times: Vec<i64>,
    pub lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub name: String,
    /// One a time; null where nothing is known.
    pub values: Vec<Option<f64>>,
}

impl Plot {
    pub(super) fn data(&self) -> String {
        // Text and numbers: there is no map key that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn points(&self, line: &Line) -> String {
        spark::scaled(&line.values, self.largest(), (WIDTH, HEIGHT))
    }

    /// What one sees in it, in words.
    pub(super) fn summary(&self) -> String {
        let of = |line: &Line| match line.values.iter().rev().flatten().next() {
            Some(newest) => format!("{} {} now", line.name, self.said(*newest)),
            None => format!("{} nothing yet", line.name),
        };
        let lines: Vec<String> = self.lines.iter().map(of).collect();
        format!("{}, at most {}", lines.join(", "), self.said(self.largest()))
    }

    /// Newest first: a time, and a value of each line.
    pub(super) fn rows(&self) -> Vec<(String, Vec<String>)> {
        let value = |line: &Line, at: usize| {
            line.values.get(at).copied().flatten().map_or_else(|| "–".to_owned(), |value| self.said(value))
        };
        let row = |(at, time): (usize, &i64)| {
            let time = Timestamp::from_timestamp(*time, 0).unwrap_or_default().format("%Y-%m-%d %H:%M");
            (time.to_string(), self.lines.iter().map(|line| value(line, at)).collect())
        };
        self.times.iter().enumerate().rev().map(row).collect()
    }

    fn largest(&self) -> f64 {
        self.lines.iter().flat_map(|line| line.values.iter().flatten()).copied().fold(0.0, f64::max)
    }

    fn said(&self, value: f64) -> String {
        match self.unit {
            "ms" => text::duration(value.round() as i64),
            unit if value >= 100.0 || value.fract() == 0.0 => {
                format!("{} {unit}", text::count(value.round() as i64)).trim_end().to_owned()
            }
            unit => format!("{value:.1} {unit}").trim_end().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_told_in_words_and_as_a_table() {
        let line = |name: &str, values: &[Option<f64>]| Line { name: name.into(), values: values.into() };
        let plot = Plot {
            title: "latency".into(),
            unit: "ms",
            times: vec![0, 60],
            lines: vec![line("p50", &[Some(40.0), Some(20.4)]), line("p95", &[Some(2_000.0), None])],
        };
        assert_eq!(plot.summary(), "p50 20 ms now, p95 2.0 s now, at most 2.0 s");
        assert_eq!(
            plot.rows(),
            [
                ("1970-01-01 00:01".to_owned(), vec!["20 ms".to_owned(), "–".to_owned()]),
                ("1970-01-01 00:00".to_owned(), vec!["40 ms".to_owned(), "2.0 s".to_owned()]),
            ]
        );
        assert_eq!(plot.points(&plot.lines[0]), "0.0,135.3 600.0,136.6");
        let none = Plot { title: "a".into(), unit: "", times: vec![], lines: vec![line("b", &[])] };
        assert_eq!((none.summary(), none.rows().len()), ("b nothing yet, at most 0".to_owned(), 0));
    }
}
