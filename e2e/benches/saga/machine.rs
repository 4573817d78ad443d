//! What a run was measured on, and of which build.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) cpu: String,
    pub(crate) system: String,
}

impl Machine {
    pub(crate) fn here() -> anyhow::Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory = value(&memory, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse::<u64>().ok());
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            cores: thread::available_parallelism()?.get(),
            memory_mib: memory.context("/proc/meminfo tells no MemTotal")? / 1024,
            cpu: value(&cpus, "model name").unwrap_or("of unknown model").to_owned(),
            system: format!("Linux {}", release.trim()),
        })
    }
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
}

/// Of the checkout that this program was built in, and whether it was as committed.
pub(crate) fn commit() -> anyhow::Result<String> {
    let git = |arguments: &[&str]| {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("git").arg("-C").arg(checkout).args(arguments).output()?;
        if !output.status.success() {
            bail!("git {} ended with {}", arguments.join(" "), output.status);
        }
        anyhow::Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}
