//! One target of `e2e::fuzz` under libFuzzer, by its name in `FUZZ_TARGET`; its valid inputs are written to the
//! folder `FUZZ_SEEDS` first.
#![no_main]

use std::{env, fs, path::Path, sync::OnceLock};

use e2e::fuzz::{ALLOCATED_BYTES_MAX, Target, target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

static TARGET: OnceLock<&Target> = OnceLock::new();

/// Also makes what later inputs find made: routers, a runtime.
fn begin() -> &'static Target {
    let target = target(&env::var("FUZZ_TARGET").unwrap_or_default());
    for (number, seed) in (target.seeds)().iter().enumerate() {
        (target.run)(seed);
        if let Some(folder) = env::var_os("FUZZ_SEEDS") {
            let path = Path::new(&folder).join(format!("seed-{number:03}"));
            fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    target
}

libfuzzer_sys::fuzz_target!(init: { TARGET.get_or_init(begin); }, |input: &[u8]| {
    let target = TARGET.get_or_init(begin);
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    (target.run)(input);
    let allocated = ALLOCATED.peak_usage().saturating_sub(before);
    assert!(allocated <= ALLOCATED_BYTES_MAX, "one input allocated {allocated} bytes at once");
});
