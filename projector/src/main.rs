//! The projector's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    projector::serve::main()
}
