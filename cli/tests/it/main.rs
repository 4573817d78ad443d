//! The program from outside: what it prints, where, and with which code it ends.
#![expect(clippy::unwrap_used, reason = "what a test builds its input with may fail it")]

mod program;
mod projector;
mod topics;

use std::process::{Command, Output};

/// Runs the program away from any system of this machine, as a script would.
fn fulfil(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fulfil"));
    command.args(arguments).env("FULFIL_DIR", "/nowhere/.fulfil").stdin(std::process::Stdio::null());
    for name in ["KAFKA_BOOTSTRAP_SERVERS", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
