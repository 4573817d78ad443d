//! The fuzz targets in the gate: every input that ever found something, the valid ones, and a short seeded run.
//!
//! A binary of its own, because its allocator counts, and what other tests allocate meanwhile must not be in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

use std::{
    fs,
    panic::catch_unwind,
    path::Path,
    sync::{Mutex, PoisonError},
};

use e2e::fuzz::{ALLOCATED_BYTES_MAX, TARGETS, Target, mutate::Mutations, target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// One at a time: the allocator counts for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const INPUTS: usize = 20_000;
const SEED: u64 = 4;

/// The allocated bytes of an input that did not panic.
fn run(target: &Target, input: &[u8]) -> Result<usize, String> {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    catch_unwind(|| (target.run)(input)).map_err(|_| "it panicked".to_owned())?;
    let allocated = ALLOCATED.peak_usage().saturating_sub(before);
    if allocated > ALLOCATED_BYTES_MAX {
        return Err(format!("it allocated {allocated} bytes at once"));
    }
    Ok(allocated)
}

fn harmless(name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target(name);
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "corpus/{name} is empty");
    let seeds = (target.seeds)();
    // The first input makes what later ones find made: routers, a runtime.
    (target.run)(&seeds[0]);
    let known = corpus.into_iter().chain(seeds.iter().cloned());
    let inputs = known.chain(Mutations::new(seeds.clone(), SEED).take(INPUTS));
    for (number, input) in inputs.enumerate() {
        if let Err(found) = run(target, &input) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{number}"));
            fs::write(&path, &input).unwrap();
            panic!(
                "input {number} of {name}: {found}; it is in {}; keep it in corpus/{name}",
                path.display()
            );
        }
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn no_envelope_does_harm() {
    harmless("envelope");
}

#[test]
fn no_payload_does_harm() {
    harmless("message");
}

#[test]
fn no_request_does_harm() {
    harmless("body");
}

#[test]
fn no_edit_of_a_dead_letter_does_harm() {
    harmless("letter");
}

#[test]
fn every_target_is_run_here() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, ["envelope", "message", "body", "letter"]);
}

#[test]
fn what_does_harm_is_seen() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let panicking = Target { run: |_| panic!("a finding"), ..*target("envelope") };
    assert_eq!(run(&panicking, b""), Err("it panicked".to_owned()));
    let greedy =
        Target { run: |_| drop(std::hint::black_box(vec![1_u8; ALLOCATED_BYTES_MAX + 1])), ..panicking };
    assert!(run(&greedy, b"").is_err_and(|found| found.contains("bytes at once")));
}
