//! `fulfil man`, and the order in which help is read: what somebody types comes before what each option is.
//!
//! A command writes its examples at the head of its `after_help`; what follows the first empty line stays at the end.

use std::{fs, io, path::Path};

use anyhow::Context;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

const EXAMPLES: &str = "Examples:";
const EXAMPLES_FIRST: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// Of this command and all below it.
pub fn examples_first(command: Command) -> Command {
    let command = command.mut_subcommands(examples_first);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if !after.starts_with(EXAMPLES) {
        return command;
    }
    let (examples, rest) = after.split_once("\n\n").unwrap_or((&after, ""));
    command.before_help(examples.to_owned()).after_help(rest.to_owned()).help_template(EXAMPLES_FIRST)
}

/// The page of the command itself.
pub fn page(command: Command, to: &mut impl io::Write) -> io::Result<()> {
    write(&command.disable_help_subcommand(true), to)
}

/// A page for each command, in a folder that is made where it is missing. Answers how many.
pub fn pages(command: Command, folder: &Path) -> anyhow::Result<usize> {
    fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))?;
    let mut command = command.disable_help_subcommand(true);
    // Names those below after those above.
    command.build();
    write_below(&command, folder)
}

fn write_below(command: &Command, folder: &Path) -> anyhow::Result<usize> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    let mut text = Vec::new();
    write(command, &mut text)?;
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    let mut pages = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages += write_below(below, folder)?;
    }
    Ok(pages)
}

fn write(command: &Command, mut to: &mut impl io::Write) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(&mut to)?;
    man.render_name_section(&mut to)?;
    man.render_synopsis_section(&mut to)?;
    if let Some(examples) = command.get_before_help() {
        as_typed("EXAMPLES", examples.to_string().trim_start_matches(EXAMPLES), to)?;
    }
    man.render_description_section(&mut to)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut to)?;
    }
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut to)?;
    }
    match command.get_after_help().map(ToString::to_string) {
        Some(notes) if !notes.is_empty() => as_typed("NOTES", &notes, to),
        _ => Ok(()),
    }
}

/// Line by line: a page fills its paragraphs otherwise.
fn as_typed(heading: &str, text: &str, to: &mut impl io::Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]).control("nf", []);
    for line in text.trim_matches('\n').lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).to_writer(to)
}
