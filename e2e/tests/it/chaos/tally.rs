//! What happened: a line for each fault in a file, and the sums at the end.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    time::Duration,
};

use e2e::system::{Load, Recovery, System};

use super::{fault::Fault, proxy::Proxy, watch::Watched};

#[derive(Default)]
struct Kind {
    count: usize,
    first: Vec<Duration>,
    everywhere: Vec<Duration>,
    bound: Option<Duration>,
}

pub(crate) struct Tally {
    seed: u64,
    path: PathBuf,
    file: File,
    kinds: BTreeMap<&'static str, Kind>,
}

impl Tally {
    /// The file is beside the programs, where it outlives the system.
    pub(crate) fn open(seed: u64) -> Self {
        let us = env::current_exe().unwrap();
        let folder = us.ancestors().nth(2).unwrap().join("chaos");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{seed}.log"));
        let file = File::create(&path).unwrap();
        eprintln!("seed {seed}, faults in {}", path.display());
        Self { seed, path, file, kinds: BTreeMap::new() }
    }

    pub(crate) fn begins(&mut self, fault: Fault, at: Duration) {
        self.line(&format!("{:8.1} s  {fault:?}", at.as_secs_f64()));
        self.kinds.entry(fault.kind()).or_default().count += 1;
    }

    pub(crate) fn recovered(&mut self, fault: Fault, recovery: Recovery) {
        let (first, everywhere) = (recovery.first.as_secs_f64(), recovery.everywhere.as_secs_f64());
        self.line(&format!(
            "            orders end after {first:.2} s, on every partition after {everywhere:.2} s"
        ));
        let kind = self.kinds.entry(fault.kind()).or_default();
        kind.first.push(recovery.first);
        kind.everywhere.push(recovery.everywhere);
        kind.bound = fault.bound();
    }

    fn line(&mut self, line: &str) {
        writeln!(self.file, "{line}").unwrap();
    }

    /// Prints it all. A time beyond its bound is said, not failed: these machines are shared.
    pub(crate) fn report(
        &mut self,
        system: &System,
        load: &Load,
        watched: &Watched,
        proxy: &Proxy,
        took: Duration,
    ) {
        let mut lines = vec![format!(
            "{:34} {:>5} {:>24} {:>24} {:>6}",
            "fault", "times", "first order s, p50 max", "every partition s, p50 max", "bound"
        )];
        for (name, kind) in &mut self.kinds {
            let (first, everywhere) =
                (middle_and_most(&mut kind.first), middle_and_most(&mut kind.everywhere));
            let bound = kind.bound.map_or_else(String::new, |bound| bound.as_secs().to_string());
            let late = kind.bound.map_or(0, |bound| kind.first.iter().filter(|took| **took > bound).count());
            let late = if late > 0 { format!("  {late} beyond it") } else { String::new() };
            lines.push(format!("{name:34} {:>5} {first:>24} {everywhere:>24} {bound:>6}{late}", kind.count));
        }
        let (accepted, unknown) = (load.journal.accepted.len(), load.journal.unknown.len());
        lines.push(format!(
            "seed {}, {} s: {accepted} orders accepted, {} refused, {unknown} not answered, {} messages said, {} on \
             the topics; {}; {} events watched in {} looks; no violation",
            self.seed,
            took.as_secs(),
            load.journal.refused.len(),
            load.said,
            system.seen.count(),
            proxy.done().map(|(what, count)| format!("{count} {what}")).join(", "),
            watched.events,
            watched.looks,
        ));
        for line in lines {
            eprintln!("{line}");
            self.line(&line);
        }
        eprintln!("{}", self.path.display());
    }
}

fn middle_and_most(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    format!("{:.2} {:.2}", seconds(times.get(times.len() / 2)), seconds(times.last()))
}
