//! `fulfil`, as from another terminal.

use std::{env, process::Command};

use super::System;

impl System {
    /// What the CLI says on both streams.
    ///
    /// # Panics
    /// Where it does not succeed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let (is_done, said) = self.ran(arguments);
        assert!(is_done, "fulfil {}: {said}", arguments.join(" "));
        said
    }

    /// The same of what it must refuse.
    ///
    /// # Panics
    /// Where it succeeds.
    pub fn cli_refuses(&self, arguments: &[&str]) -> String {
        let (is_done, said) = self.ran(arguments);
        assert!(!is_done, "fulfil {} was not refused: {said}", arguments.join(" "));
        said
    }

    fn ran(&self, arguments: &[&str]) -> (bool, String) {
        let us = env::current_exe().unwrap_or_else(|error| panic!("{error}"));
        // target/debug/deps/it-…: programs are one folder above.
        let programs = us.ancestors().nth(2).unwrap_or_else(|| panic!("the test binary stands nowhere"));
        let mut command = Command::new(programs.join("fulfil"));
        command.args(arguments).env("FULFIL_DIR", self.dir());
        let output = command.output().unwrap_or_else(|error| panic!("fulfil: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}
