//! Small disks for the servers of a system, in memory. Only root can mount them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// Taken off again with the test, whoever still has files open there.
pub struct Disks {
    folder: PathBuf,
}

impl Disks {
    /// Before the servers make their folders.
    pub(super) fn mounted(folder: &Path, mib: u64) -> Self {
        let disks = Self { folder: folder.to_owned() };
        for (server, owner) in [("postgres", "mode=700,uid=postgres,gid=postgres"), ("kafka", "mode=755")] {
            let goal = folder.join(server);
            fs::create_dir_all(&goal).unwrap_or_else(|error| panic!("{}: {error}", goal.display()));
            let options = format!("size={mib}m,{owner}");
            run(
                "mount",
                [
                    OsStr::new("-t"),
                    "tmpfs".as_ref(),
                    "-o".as_ref(),
                    options.as_ref(),
                    "tmpfs".as_ref(),
                    goal.as_ref(),
                ],
            );
        }
        disks
    }

    /// To the last byte.
    pub fn fill(&self, server: &str) {
        let path = self.filler(server);
        let mut filler = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        loop {
            match filler.write(&BLOCK) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn free(&self, server: &str) {
        let path = self.filler(server);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn filler(&self, server: &str) -> PathBuf {
        self.folder.join(server).join("filler")
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for server in ["postgres", "kafka"] {
            // Lazily: the servers are stopped by a process that waits for the end of this one.
            let _ = Command::new("umount").arg("-l").arg(self.folder.join(server)).status();
        }
    }
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) {
    let status = Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program}: {status}; only root can mount a disk");
}
