//! The editor of whoever sits there.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::Command,
};

use anyhow::Context;
use uuid::Uuid;

use crate::exit::{Exit, ended};

/// The text as it was saved, without the end of the last line that editors add.
pub(super) fn edited(text: &str) -> anyhow::Result<String> {
    let is_set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = is_set("VISUAL").or_else(|| is_set("EDITOR")).ok_or_else(|| {
        ended(Exit::Usage, "neither VISUAL nor EDITOR names an editor: set one, or use --set or -f")
    })?;
    let folder = Folder::new()?;
    let path = folder.0.join("value.json");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{text}").with_context(|| format!("{} cannot be written", path.display()))?;
    drop(file);
    // As git does: the setting may have arguments.
    let run = Command::new("sh").args(["-c", &format!("{editor} \"$@\""), &editor]).arg(&path).status();
    let status = run.with_context(|| format!("{editor} cannot be started"))?;
    if !status.success() {
        return Err(ended(Exit::Failed, format!("{editor} ended with {status}, so nothing was sent")));
    }
    let saved = fs::read_to_string(&path).with_context(|| format!("what {editor} saved is not text"))?;
    Ok(saved.strip_suffix('\n').unwrap_or(&saved).to_owned())
}

/// Nobody else's: a letter can have what others must not read. Gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("fulfil-{}", Uuid::now_v7()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in a folder of ours alone.
        let _ = fs::remove_dir_all(&self.0);
    }
}
