//! `fulfil dlq list`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Letter, letters, pick::FilterArgs};
use crate::{
    exit::Exit,
    output::{Column, Output, ShortIds, Tone, ago},
    place::Place,
};

const MESSAGE_CHARS_MAX: usize = 60;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq list
  fulfil dlq list --all -n 20
  fulfil dlq list --status parked --json")]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// With this status: open (the default: dead, failed-again or parked), dead, failed-again, parked, redriven, discarded
    #[arg(long)]
    status: Option<String>,
    /// Also those that are done with
    #[arg(short, long)]
    all: bool,
    /// At most so many
    #[arg(short, long, value_name = "N")]
    num: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct LetterObject<'a> {
    id: &'a str,
    status: &'a str,
    group: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    key: String,
    stage: &'a str,
    code: &'a str,
    message: &'a str,
    fingerprint: &'a str,
    failed_at: &'a str,
    delivery_count: &'a str,
    build: &'a str,
}

impl<'a> LetterObject<'a> {
    pub(super) fn of(letter: &'a Letter) -> Self {
        Self {
            id: &letter.id,
            status: letter.status(),
            group: &letter.group,
            topic: &letter.topic,
            partition: letter.partition,
            offset: letter.offset,
            key: letter.key_text(),
            stage: &letter.stage,
            code: &letter.code,
            message: &letter.message,
            fingerprint: &letter.fingerprint,
            failed_at: &letter.failed_at,
            delivery_count: &letter.delivery_count,
            build: &letter.build,
        }
    }
}

pub(super) async fn run(args: &ListArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let letters = letters::load(place).await?;
    let wanted = |letter: &&Letter| {
        args.filter.matches(letter)
            && match args.status.as_deref() {
                Some("open") => letter.is_open(),
                Some(status) => letter.status() == status,
                None => args.all || letter.is_open(),
            }
    };
    let shown: Vec<&Letter> = letters.iter().filter(wanted).take(args.num.unwrap_or(usize::MAX)).collect();
    if output.json {
        for letter in &shown {
            output.object(&LetterObject::of(letter))?;
        }
        return Ok(Exit::Done.into());
    }
    if shown.is_empty() {
        let done = letters.len();
        output.note(&match done {
            0 => "no dead letters".to_owned(),
            _ => format!("no dead letters wait; {done} are done with (--all)"),
        });
        return Ok(Exit::Done.into());
    }
    let ids = ShortIds::new(letters.iter().map(|letter| letter.id.as_str()));
    let now = chrono::Utc::now();
    let rows = shown.iter().map(|letter| {
        let failed = chrono::DateTime::from_timestamp_millis(letter.failed_at_ms).unwrap_or(now);
        let key = letter.key_text();
        let tone = if letter.is_open() { Tone::Bad } else { Tone::Dim };
        let message: String = letter.message.chars().take(MESSAGE_CHARS_MAX).collect();
        vec![
            if output.terminal { ids.short(&letter.id) } else { letter.id.clone() },
            output.paint(tone, letter.status()),
            letter.group.clone(),
            letter.place(),
            output.paint(Tone::of(&key), if output.terminal { crate::output::short(&key) } else { &key }),
            letter.code.clone(),
            ago(failed, now),
            message,
        ]
    });
    let columns = [
        Column::Left("LETTER"),
        Column::Left("STATUS"),
        Column::Left("GROUP"),
        Column::Left("FROM"),
        Column::Left("KEY"),
        Column::Left("CODE"),
        Column::Right("DIED"),
        Column::Left("WHY"),
    ];
    output.table(&columns, rows.collect());
    Ok(Exit::Done.into())
}
