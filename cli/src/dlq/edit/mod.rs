//! `fulfil dlq edit`: mends the value of a letter, checks it, shows what is changed, and has it processed. What was
//! changed is kept with the letter, behind the reason of whoever did it.

mod editor;
mod indent;

use std::{process::ExitCode, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::json;
use shared::{
    contract::dead_letter::{DeadLetterCommand, RedriveDeadLetter},
    mend::{self, Change},
};

use super::{Letter, command, letters, pick, show::printable, value, which};
use crate::{
    event::{Assignment, duration_arg},
    exit::{Exit, ended},
    output::{Output, Tone},
    place::Place,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq edit 9c41d2e0 --reason 'the shop sent a text for a number'       in $VISUAL or $EDITOR
  fulfil dlq edit 9c41d2e0 --set data.quantity=2 --set data.sku=SKU-1 --reason 'a typing error'
  fulfil dlq edit 9c41d2e0 -f mended.json --dry-run --reason 'a typing error'")]
pub(super) struct EditArgs {
    /// The letter, or the start of its id
    letter: String,
    /// Instead of an editor: one field of the message (any number of times)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// Instead of an editor: the whole value, - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "set")]
    file: Option<String>,
    /// Send it even where no service could read it
    #[arg(long)]
    no_validate: bool,
    /// What was wrong
    #[arg(long)]
    reason: String,
    /// Who does it [default: $USER]
    #[arg(long)]
    by: Option<String>,
    /// Show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for what the owner says; 0s does not wait
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    timeout: Duration,
}

pub(super) async fn run(args: EditArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let by = which::by(args.by.as_deref());
    which::check_text("--by", &by)?;
    which::check_text("--reason", &args.reason)?;
    value::check_reason(&args.reason)?;
    let letters = letters::load(place).await?;
    let letter = pick::one(&letters, &args.letter)?;
    if !letter.is_open() {
        let text = format!("letter {} is {} already", letter.id, letter.status());
        return Err(ended(Exit::Refused, text));
    }
    let before = letter.value.as_deref().unwrap_or_default();
    let after = edited(&args, letter)?;
    if after == before {
        return Err(ended(Exit::Refused, "nothing was changed, so nothing was sent"));
    }
    value::check_size(&after)?;
    let changes = mend::changes(before, &after);
    let reason = mend::reason(&args.reason, &changes);
    if output.json && args.dry_run {
        output.object(&json!({"id": letter.id, "changes": changes, "reason": reason}))?;
    } else {
        show(&changes, args.dry_run, output);
    }
    if !args.no_validate {
        value::check(letter, &after)?;
    }
    if args.dry_run {
        return Ok(Exit::Done.into());
    }
    let redrive = RedriveDeadLetter {
        dead_letter_id: letter.id.parse()?,
        group: letter.group.clone(),
        value_base64: Some(STANDARD.encode(&after)),
        by,
        reason,
    };
    let letters = std::slice::from_ref(letter);
    command::execute(letters, vec![DeadLetterCommand::Redrive(redrive)], args.timeout, place, output).await
}

fn edited(args: &EditArgs, letter: &Letter) -> anyhow::Result<Vec<u8>> {
    if let Some(file) = &args.file {
        return value::of_file(file);
    }
    if !args.set.is_empty() {
        return value::with(letter, &args.set);
    }
    let before = letter.value.as_deref().unwrap_or_default();
    let text = std::str::from_utf8(before).map_err(|_| {
        let text = "the value is not text, which no editor shows: mend it in a file, with -f FILE";
        ended(Exit::Refused, text)
    })?;
    let shown = indent::indented(text);
    let saved = editor::edited(&shown)?;
    // As it was shown is as it was.
    Ok(if saved == shown { before.to_vec() } else { saved.into_bytes() })
}

/// Data where nothing else is done, else what a person looks at before it is sent.
fn show(changes: &[Change], is_data: bool, output: Output) {
    for change in changes {
        for (sign, tone, value) in [("-", Tone::Bad, &change.before), ("+", Tone::Good, &change.after)] {
            let Some(value) = value else { continue };
            let place = if change.pointer.is_empty() { "value" } else { &change.pointer };
            let line = printable(format!("{sign} {place} {value}").as_bytes());
            match is_data {
                true => output.line(&output.paint(tone, &line)),
                false => output.note_toned(tone, &line),
            }
        }
    }
}
