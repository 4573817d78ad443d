//! `fulfil doctor`: is it up, is it keeping up, and does everything add up.

mod checks;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    audit::{self, INVARIANTS, Rules, Sources, Violation, World},
    event::duration_arg,
    exit::Exit,
    output::{Output, Tone, count},
    place::{Place, PlaceArgs},
};

const POLL: Duration = Duration::from_millis(500);
const VIOLATIONS_SHOWN: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil doctor
  fulfil doctor --wait --timeout 60s
  fulfil doctor --audit --json")]
pub struct DoctorArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Wait until everything answers and has caught up
    #[arg(long)]
    wait: bool,
    /// Wait until nothing is under way, then ask that everything has ended and adds up
    #[arg(long)]
    audit: bool,
    /// How long to wait
    #[arg(long, default_value = "120s", value_parser = duration_arg, value_name = "TIME")]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// Works, and somebody should look.
    Warn,
    Bad,
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    detail: String,
    /// What ends the wait: a service that cannot be reached, say, has another code than one that is behind.
    #[serde(skip)]
    exit: Exit,
}

pub async fn run(args: DoctorArgs, output: Output) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + args.timeout;
    let (place, checks) = loop {
        // Anew each time: `dev up` may be writing its state while we wait.
        let place = args.place.resolve()?;
        let checks = checks::all(&place).await;
        let is_well = checks.iter().all(|check| check.state != State::Bad);
        if is_well || !args.wait || Instant::now() > deadline {
            break (place, checks);
        }
        sleep(POLL).await;
    };
    for check in &checks {
        show(check, output)?;
    }
    let worst = checks.iter().filter(|check| check.state == State::Bad).map(|check| check.exit).next();
    if let Some(exit) = worst {
        return Ok(if args.wait { Exit::Waited } else { exit }.into());
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let violations = match (Sources::of(&place), args.audit) {
        (Some(sources), false) => {
            let world = audit::load(&sources).await?;
            Some((audit::audit(&world, &Rules::default()), world))
        }
        (Some(sources), true) => {
            let world = audit::load_quiet(&sources, left).await?;
            Some((audit::audit(&world, &Rules { quiet: true, ..Rules::default() }), world))
        }
        (None, _) => None,
    };
    let Some((violations, world)) = violations else {
        output.note(&format!(
            "whether everything adds up cannot be seen from here: the databases are known only to a system in {}",
            place.dir.display()
        ));
        return Ok(if args.audit { Exit::NotFound } else { Exit::Done }.into());
    };
    report(&violations, &world, output)?;
    Ok(if violations.is_empty() { Exit::Done } else { Exit::Failed }.into())
}

fn show(check: &Check, output: Output) -> anyhow::Result<()> {
    if output.json {
        return output.object(check);
    }
    line(&check.check, check.state, &check.detail, output);
    Ok(())
}

/// What was compared for an invariant, and how often it is broken.
#[derive(Debug, Serialize)]
struct Compared<'a> {
    invariant: u8,
    name: &'a str,
    compared: BTreeMap<&'a str, usize>,
    violations: usize,
}

fn report(violations: &[Violation], world: &World, output: Output) -> anyhow::Result<()> {
    for (invariant, name) in INVARIANTS {
        let broken: Vec<&Violation> =
            violations.iter().filter(|violation| violation.invariant == invariant).collect();
        let compared = audit::compared(world, invariant);
        if output.json {
            let (compared, violations) = (compared.into_iter().collect(), broken.len());
            output.object(&Compared { invariant, name, compared, violations })?;
            broken.iter().try_for_each(|violation| output.object(violation))?;
            continue;
        }
        let compared: Vec<String> =
            compared.iter().map(|(what, number)| format!("{} {what}", count(*number as i64))).collect();
        let compared =
            if compared.is_empty() { "nothing to compare".to_owned() } else { compared.join(", ") };
        if broken.is_empty() {
            line(name, State::Ok, &compared, output);
            continue;
        }
        let times = format!("broken {} times: {compared}", count(broken.len() as i64));
        line(name, State::Bad, &times, output);
        for violation in broken.iter().take(VIOLATIONS_SHOWN) {
            output.line(&format!("    {}: {}", violation.subject, violation.detail));
        }
    }
    Ok(())
}

fn line(name: &str, state: State, detail: &str, output: Output) {
    let (sign, tone) = match state {
        State::Ok => ("ok  ", Tone::Good),
        State::Warn => ("look", Tone::Warn),
        State::Bad => ("BAD ", Tone::Bad),
    };
    output.line(format!("{}  {name:<30}  {detail}", output.paint(tone, sign)).trim_end());
}

fn ok(check: &str, detail: impl Into<String>) -> Check {
    Check { check: check.to_owned(), state: State::Ok, detail: detail.into(), exit: Exit::Done }
}

fn warn(check: &str, detail: impl Into<String>) -> Check {
    Check { check: check.to_owned(), state: State::Warn, detail: detail.into(), exit: Exit::Done }
}

fn bad(check: &str, exit: Exit, detail: impl Into<String>) -> Check {
    Check { check: check.to_owned(), state: State::Bad, detail: detail.into(), exit }
}

/// For those who wait elsewhere: whether all that is asked here is well.
pub async fn is_well(place: &Place) -> bool {
    checks::all(place).await.iter().all(|check| check.state != State::Bad)
}
