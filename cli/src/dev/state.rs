//! What `fulfil dev` remembers between two calls: `state.json` in its folder.
//!
//! Addresses stay from one `up` to the next; a process is `None` once it was stopped by us, and may be dead without
//! us knowing. `shared::testing` reads the two server addresses, so their names are part of a contract.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::process::Process;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) kafka: Kafka,
    pub(crate) postgres: Postgres,
    /// Of a cluster: follows `postgres`, which waits for it at every commit.
    #[serde(default)]
    pub(crate) standby: Option<Postgres>,
    /// Neither this nor a service is there where only the servers were asked for.
    pub(crate) provider: Option<Provider>,
    pub(crate) services: Vec<Service>,
    /// Settings that the services were given beside their own, so that a restart gives the same.
    pub(crate) environment: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kafka {
    /// All nodes.
    pub(crate) bootstrap: String,
    /// As Kafka writes it; what a node's storage is formatted with.
    pub(crate) cluster_id: String,
    /// One, or the three of a cluster; their ids are 1, 2, 3.
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) controller_port: u16,
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Postgres {
    /// Of its data folder and its log, which stay with it when the roles change.
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The port at which services find it, where something stands in between.
    #[serde(default)]
    pub(crate) through: Option<u16>,
    /// The standby took its place. What it has is of no use to anybody: it can be ahead of the log that goes on.
    #[serde(default)]
    pub(crate) is_former: bool,
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Provider {
    pub(crate) port: u16,
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) replica: u16,
    pub(crate) http_port: u16,
    pub(crate) admin_port: u16,
    /// The folder of another build that it runs of; `None`: the one that lies beside us.
    #[serde(default)]
    pub(crate) programs: Option<PathBuf>,
    pub(crate) process: Option<Process>,
}

/// The folder of one system, locked against a second `fulfil dev` at work in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes it where it is not there yet.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Folder> {
        fs::create_dir_all(path.join("logs"))
            .with_context(|| format!("{} cannot be made", path.display()))?;
        let path = path.canonicalize()?;
        let lock = File::create(path.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another fulfil dev is at work in {}", path.display());
        }
        Ok(Folder { path, lock })
    }

    /// `None` where nothing was ever started; nothing is made there.
    pub(crate) fn open_known(path: &Path) -> anyhow::Result<Option<Folder>> {
        if load(path)?.is_none() {
            return Ok(None);
        }
        Self::open(path).map(Some)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        log(&self.path, name)
    }

    pub(crate) fn load(&self) -> anyhow::Result<State> {
        Ok(load(&self.path)?.unwrap_or_default())
    }

    pub(crate) fn save(&self, state: &State) -> anyhow::Result<()> {
        // Renamed into place: who reads meanwhile sees the old one or the new one.
        let new = self.path.join("state.json.new");
        fs::write(&new, serde_json::to_vec_pretty(state)?)?;
        fs::rename(&new, self.path.join("state.json")).context("state.json cannot be written")
    }
}

/// Closing is not enough: a process that is being started has the file too until it runs its own program.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

pub(crate) fn log(folder: &Path, name: &str) -> PathBuf {
    folder.join("logs").join(format!("{name}.log"))
}

/// `None` where nothing was ever started in this folder.
pub(crate) fn load(folder: &Path) -> anyhow::Result<Option<State>> {
    let path = folder.join("state.json");
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is not of this version of fulfil; remove its folder to start anew", path.display())
        })?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_at_the_next_call() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
        let mut state = State::default();
        state.kafka.bootstrap = "127.0.0.1:21000".to_owned();
        let opened = Folder::open(folder.path()).unwrap();
        opened.save(&state).unwrap();
        assert_eq!(opened.load().unwrap(), state);
        assert_eq!(load(folder.path()).unwrap(), Some(state));
    }

    #[test]
    fn two_commands_do_not_work_in_one_folder_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(folder.path()).unwrap();
        let refusal = Folder::open(folder.path()).unwrap_err();
        assert!(refusal.to_string().contains("another fulfil dev"), "{refusal}");
        drop(first);
        Folder::open(folder.path()).unwrap();
    }
}
