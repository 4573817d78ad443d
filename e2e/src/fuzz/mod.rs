//! What strangers' bytes are thrown at: one function a target, that panics where the product did what it must not.
//!
//! The same functions run in the gate (`tests/fuzz`: the corpus and a short seeded run) and under libFuzzer
//! (`fuzz/`, by `make fuzz`). An input that found something is kept in `corpus/` and replayed for ever.

pub mod frame;
pub mod envelope;
pub mod message;
pub mod body;
pub mod letter;
pub mod seeds;
pub mod mutate;

#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Valid inputs, from which mutations start.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// What one input may allocate at once, all of it together.
pub const ALLOCATED_BYTES_MAX: usize = 4 * 1024 * 1024;

pub const TARGETS: &[Target] = &[
    Target { name: "envelope", run: envelope::run, seeds: seeds::envelopes },
    Target { name: "message", run: message::run, seeds: seeds::messages },
    Target { name: "body", run: body::run, seeds: seeds::bodies },
    Target { name: "letter", run: letter::run, seeds: seeds::letters },
];

/// # Panics
/// Where there is no target of that name.
pub fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no fuzz target {name}"))
}
