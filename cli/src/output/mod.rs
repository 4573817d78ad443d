//! What is printed and where: data on standard output, all else on standard error; one JSON object a line with
//! `--json`; aligned tables and colour on a terminal, tab-separated fields in a pipe.

mod human;
mod paint;
mod short;

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

pub use human::{ago, bytes, clock, count, duration, duration_ms};
pub use paint::Tone;
pub use short::{ShortIds, short};

#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
    /// Whether a person looks at standard output.
    pub terminal: bool,
    colour: bool,
    colour_notes: bool,
}

/// A column: its title, and on which side its values stand.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Left(&'static str),
    Right(&'static str),
}

impl Output {
    pub fn new(json: bool) -> Self {
        let allowed = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = io::stdout().is_terminal();
        Self {
            json,
            terminal,
            colour: allowed && terminal && !json,
            colour_notes: allowed && io::stderr().is_terminal(),
        }
    }

    pub fn paint(&self, tone: Tone, text: &str) -> String {
        paint::paint(self.colour, tone, text)
    }

    /// Whether data may be painted.
    pub fn has_colours(&self) -> bool {
        self.colour
    }

    /// One line of data.
    pub fn line(&self, text: &str) {
        write(&mut io::stdout().lock(), text);
    }

    /// One object of data.
    pub fn object(&self, object: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(object)?);
        Ok(())
    }

    /// For people only: progress, hints, what was done.
    pub fn note(&self, text: &str) {
        write(&mut io::stderr().lock(), text);
    }

    pub fn note_toned(&self, tone: Tone, text: &str) {
        self.note(&paint::paint(self.colour_notes, tone, text));
    }

    /// A row of a table whose rows come one by one, so that its columns are as wide as somebody says.
    pub fn row(&self, widths: &[usize], cells: &[String]) {
        if !self.terminal {
            return self.line(&cells.join("\t"));
        }
        let width = |index| widths.get(index).copied().unwrap_or_default();
        let cells = cells.iter().enumerate().map(|(index, cell)| {
            let space = " ".repeat(width(index).saturating_sub(paint::width(cell)));
            format!("{cell}{space}")
        });
        self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }

    /// A table on a terminal, tab-separated rows without a head in a pipe. Cells may be painted.
    pub fn table(&self, columns: &[Column], rows: Vec<Vec<String>>) {
        if !self.terminal {
            for row in rows {
                self.line(&row.join("\t"));
            }
            return;
        }
        let titles = columns.iter().map(|column| self.paint(Tone::Dim, column.title()));
        let rows: Vec<Vec<String>> = std::iter::once(titles.collect()).chain(rows).collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|index| rows.iter().filter_map(|row| row.get(index)).map(|cell| paint::width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        for row in &rows {
            let cells = row.iter().zip(columns).zip(&widths).map(|((cell, column), width)| {
                let space = " ".repeat(width - paint::width(cell));
                match column {
                    Column::Left(_) => format!("{cell}{space}"),
                    Column::Right(_) => format!("{space}{cell}"),
                }
            });
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}

impl Column {
    fn title(&self) -> &'static str {
        let (Self::Left(title) | Self::Right(title)) = self;
        title
    }
}

/// A reader that went away (`| head`) is no failure of ours.
fn write(stream: &mut impl Write, text: &str) {
    if writeln!(stream, "{text}").is_err() {
        std::process::exit(0);
    }
}
