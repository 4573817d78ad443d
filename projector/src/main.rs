//! The projector's process.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Settings: .cargo/config.toml.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    projector::serve::main()
}
