//! Who a Postgres server runs as, since Postgres refuses root, and where its programs and its data are.

use std::{
    env, fs,
    os::unix::{
        fs::{DirBuilderExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};
use uuid::Uuid;

/// Where the data goes when user postgres cannot enter the checkout (below a closed home folder).
const DATA_ELSEWHERE: &str = "/var/lib/fulfil";

/// Removes the data also where it lies outside of the system's folder. `inside` is what stands for it there.
pub(crate) fn wipe(inside: &Path) -> anyhow::Result<()> {
    if inside.is_symlink()
        && let Ok(elsewhere) = inside.canonicalize()
        && elsewhere.starts_with(DATA_ELSEWHERE)
    {
        fs::remove_dir_all(elsewhere)?;
    }
    Ok(())
}

/// Where `initdb` and `postgres` are: Debian keeps them off the PATH, a folder for each version.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return Ok(bin);
    }
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .find(|bin| bin.join("initdb").exists())
        .context("Postgres is not installed: run deploy/setup")
}

pub(crate) enum Owner {
    Us,
    Postgres(User),
}

impl Owner {
    pub(crate) fn of_the_server() -> anyhow::Result<Owner> {
        if !Uid::effective().is_root() {
            return Ok(Owner::Us);
        }
        match User::from_name("postgres")? {
            Some(user) => Ok(Owner::Postgres(user)),
            None => bail!("Postgres does not run as root, and there is no user postgres: run deploy/setup"),
        }
    }

    /// From `/`, because user postgres may not be allowed to stand where we are.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Owner::Postgres(user) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command.env("HOME", &user.dir);
        }
        command
    }

    /// Made where it is not there yet. A link to it, where it has to be elsewhere.
    pub(crate) fn data_folder(&self, inside: &Path) -> anyhow::Result<PathBuf> {
        if let Ok(made_before) = inside.canonicalize() {
            return Ok(made_before);
        }
        // A link whose goal is gone.
        if inside.is_symlink() {
            fs::remove_file(inside)?;
        }
        let Owner::Postgres(user) = self else {
            make_closed_folder(inside)?;
            return Ok(inside.to_owned());
        };
        let ids = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        make_closed_folder(inside)?;
        chown(inside, ids.0, ids.1)?;
        if self.can_enter(inside)? {
            return Ok(inside.to_owned());
        }
        fs::remove_dir(inside)?;
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, inside.as_os_str().as_encoded_bytes());
        let elsewhere = Path::new(DATA_ELSEWHERE).join(format!("postgres-{name}"));
        fs::create_dir_all(DATA_ELSEWHERE)?;
        make_closed_folder(&elsewhere)?;
        chown(&elsewhere, ids.0, ids.1)?;
        symlink(&elsewhere, inside)?;
        Ok(elsewhere)
    }

    fn can_enter(&self, folder: &Path) -> anyhow::Result<bool> {
        let mut test = self.command(Path::new("test"));
        test.arg("-w").arg(folder).stdin(Stdio::null());
        Ok(test.status()?.success())
    }
}

fn make_closed_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("{} cannot be made", path.display()))
}
