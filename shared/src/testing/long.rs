//! Failures that last for minutes: a test has them short, so that the gate does not, and in full under `make long`.

use std::env;

/// Set by `make long`.
pub const LONG_VARIABLE: &str = "FULFIL_LONG";

pub fn is_long() -> bool {
    env::var_os(LONG_VARIABLE).is_some_and(|value| value == "1")
}

/// How many, or how long.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
