//! `fulfil`, as from another terminal.

use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
};

use cli::exit::Exit;

use super::System;

/// Where the programs of this build are.
pub fn programs() -> PathBuf {
    let us = env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    // target/debug/deps/it-…: programs are one folder above.
    us.ancestors().nth(2).unwrap_or_else(|| panic!("the test binary stands nowhere")).to_owned()
}

impl System {
    /// What the CLI says on both streams.
    ///
    /// # Panics
    /// Where it does not succeed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.cli_ends(Exit::Done, arguments)
    }

    /// The same of what must end otherwise.
    ///
    /// # Panics
    /// Where it ends in another way.
    pub fn cli_ends(&self, exit: Exit, arguments: &[&str]) -> String {
        let mut command = Command::new(programs().join("fulfil"));
        command.args(arguments).env("FULFIL_DIR", self.dir());
        let Output { status, stdout, stderr } =
            command.output().unwrap_or_else(|error| panic!("fulfil: {error}"));
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(exit as i32), "fulfil {}: {said}", arguments.join(" "));
        said
    }
}
