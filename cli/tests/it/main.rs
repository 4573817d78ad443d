//! The program from outside: what it prints, where, and with which code it ends.
#![expect(clippy::unwrap_used, reason = "what a test builds its input with may fail it")]

mod edit;
mod letters;
mod program;
mod projector;
mod topics;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// Runs the program away from any system of this machine, as a script would.
fn fulfil(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// With something to read.
fn fulfil_of(input: &str, arguments: &[&str]) -> Output {
    let mut command = program(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fulfil"));
    command.args(arguments).env("FULFIL_DIR", "/nowhere/.fulfil").stdin(Stdio::null());
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
