//! Which letters a redrive or a discard is about, who asks for it and why.

use std::{
    env,
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use shared::contract::limits::TEXT_CHARS_MAX;

use super::pick::FilterArgs;
use crate::{
    event::duration_arg,
    exit::{Exit, ended},
    kafka::Rate,
    output::{Output, count},
};

/// The arguments that select letters by what they have in common.
pub(super) const SELECTS: [&str; 6] = ["all", "fingerprint", "code", "group", "topic", "key"];

#[derive(Debug, Args)]
pub(super) struct WhichArgs {
    /// Letters, or the starts of their ids
    #[arg(
        value_name = "LETTER",
        required_unless_present_any = SELECTS,
        conflicts_with_all = SELECTS,
    )]
    pub(super) letters: Vec<String>,
    /// All that wait and match
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    #[command(flatten)]
    pub(super) why: WhyArgs,
    /// Do it without asking
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Of a selection: at most so many a time
    #[arg(long, default_value = "100/s", value_name = "N/s")]
    pub(super) rate: Rate,
    /// Of a selection: until the owners have said what came of each (of letters that are named that is so anyway)
    #[arg(short, long)]
    pub(super) wait: bool,
    /// How long to wait for what an owner says, since one was last heard; 0s does not wait
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    pub(super) timeout: Duration,
}

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Who does it [default: $USER]
    #[arg(long)]
    by: Option<String>,
    #[arg(long, default_value = "by hand")]
    pub(super) reason: String,
}

impl WhichArgs {
    /// Whether letters are selected by what they have in common, and not named.
    pub(super) fn selects(&self) -> bool {
        self.letters.is_empty()
    }

    pub(super) fn confirmed(&self, verb: &str, letters: usize, output: Output) -> anyhow::Result<bool> {
        if self.yes || self.dry_run || letters == 0 {
            return Ok(true);
        }
        let letters = count(letters as i64);
        if !io::stdin().is_terminal() {
            output.note(&format!("to {verb} {letters} dead letters takes --yes (or look first: --dry-run)"));
            return Ok(false);
        }
        eprint!("{verb} {letters} dead letters? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

impl WhyArgs {
    pub(super) fn by(&self) -> String {
        by(self.by.as_deref())
    }

    /// What no service would take is refused before anything is sent.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_text("--by", &self.by())?;
        check_text("--reason", &self.reason)
    }
}

pub(super) fn by(given: Option<&str>) -> String {
    let user = || env::var("USER").ok();
    let by = given.map(str::to_owned).or_else(user).filter(|by| !by.is_empty());
    by.unwrap_or_else(|| "cli".to_owned())
}

pub(super) fn check_text(name: &str, text: &str) -> anyhow::Result<()> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > TEXT_CHARS_MAX || text.contains('\0') {
        let said = format!("{name} is 1 to {TEXT_CHARS_MAX} characters without NUL, and this has {chars}");
        return Err(ended(Exit::Usage, said));
    }
    Ok(())
}
