//! Inputs for the gate, where nothing measures coverage: a valid one with a few things wrong. A seed makes the same
//! inputs for ever.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::Value;

use super::frame::Frame;

pub struct Mutations {
    random: SmallRng,
    seeds: Vec<Vec<u8>>,
}

impl Mutations {
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), seeds }
    }
}

/// Texts at the edges of what is read.
const ODD: &[&str] = &[
    "",
    "0",
    "-1",
    "1.0",
    "1e3",
    "1e999",
    "-0",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "0.1",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{feff}\"",
    "\"0198f3c2-0000-7000-8000-000000000001\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"+262143-01-01T00:00:00Z\"",
    "\"2026-02-30T00:00:00Z\"",
    "\"../..\"",
    "\"fulfil.order.created.v3\"",
    "\"1/2\"",
    "\"EUR\"",
    "\"eur\"",
];

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let random = &mut self.random;
        let mut frame = Frame::read(self.seeds.choose(random)?);
        for _ in 0..random.random_range(1..=4) {
            match random.random_range(0..12) {
                0 => frame.choice = random.random(),
                1 => frame.key = text(random),
                2 => frame.headers.push((text(random).unwrap_or_default(), text(random))),
                3 => mutated_header(&mut frame, random),
                4 => frame.edit = Some(bytes(&frame.value, random)),
                5 => frame.edit = text(random),
                6 => frame.value = deep(random),
                7 => frame.value = twice(&frame.value, random),
                8..10 => frame.value = bytes(&frame.value, random),
                _ => frame.value = replaced(&frame.value, random),
            }
        }
        let input = frame.write();
        // The frame itself is no secret of ours, but its lengths are bytes like all others.
        Some(if random.random_ratio(1, 20) { bytes(&input, random) } else { input })
    }
}

fn odd(random: &mut SmallRng) -> &'static str {
    ODD.choose(random).copied().unwrap_or_default()
}

fn text(random: &mut SmallRng) -> Option<Vec<u8>> {
    match random.random_range(0..4) {
        0 => None,
        1 => Some(odd(random).trim_matches('"').into()),
        2 => Some((0..random.random_range(0..40)).map(|_| random.random()).collect()),
        _ => Some(vec![b'x'; random.random_range(0..300)]),
    }
}

fn mutated_header(frame: &mut Frame, random: &mut SmallRng) {
    if frame.headers.is_empty() {
        return;
    }
    let index = random.random_range(0..frame.headers.len());
    match random.random_range(0..3) {
        0 => drop(frame.headers.remove(index)),
        1 => frame.headers[index].1 = text(random),
        _ => frame.headers[index].0 = bytes(&frame.headers[index].0, random),
    }
}

/// One byte, one stretch or one splice changed.
fn bytes(value: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut value = value.to_vec();
    let at = random.random_range(0..=value.len());
    let end = random.random_range(at..=value.len());
    match random.random_range(0..6) {
        0 => value.truncate(at),
        1 => drop(value.drain(at..end)),
        2 => value.insert(at, random.random()),
        3 => drop(value.splice(at..at, odd(random).bytes())),
        4 => value.extend_from_within(at..end),
        _ => {
            if let Some(byte) = value.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
    value
}

/// JSON as deep as the reader goes, a little deeper, or so deep that a reader that recurses would die.
fn deep(random: &mut SmallRng) -> Vec<u8> {
    let depth = *[15, 16, 17, 18, 128, 10_000].choose(random).unwrap_or(&16);
    let (open, close) =
        *[("[", "]"), (r#"{"data":"#, "}"), (r#"{"type":"fulfil.order.cancel.v1","data":"#, "}")]
            .choose(random)
            .unwrap_or(&("[", "]"));
    format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

/// A key of an object a second time.
fn twice(value: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let places: Vec<usize> = text.match_indices('{').map(|(at, _)| at + 1).collect();
    let Some(at) = places.choose(random) else { return value.to_vec() };
    let name = ["type", "data", "order_id", "sku", "lines", "quantity", "specversion"].choose(random);
    format!("{}\"{}\":{},{}", &text[..*at], name.unwrap_or(&"id"), odd(random), &text[*at..]).into_bytes()
}

/// A value somewhere in the document replaced: by something odd, by something long, by many of it.
fn replaced(value: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let Ok(document) = serde_json::from_slice::<Value>(value) else { return bytes(value, random) };
    let count = places(&document);
    let mut left = random.random_range(0..count);
    let with = match random.random_range(0..8) {
        0 => format!("\"{}\"", "é".repeat(random.random_range(0..2_000))),
        1 => format!("[{}1]", "1,".repeat(random.random_range(0..300))),
        2 => format!("\"{}\"", "\\u0041".repeat(random.random_range(0..200))),
        // Beyond every limit of size, and rare, as it is slow.
        3 if random.random_ratio(1, 50) => format!("\"{}\"", "x".repeat(1 << random.random_range(14..19))),
        _ => odd(random).to_owned(),
    };
    let mut out = String::new();
    write(&document, &mut left, &with, &mut out);
    out.into_bytes()
}

fn places(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Object(fields) => fields.values().map(places).sum::<usize>(),
        _ => 0,
    }
}

/// Writes the document with its value number `left` replaced by text that need not be JSON.
fn write(value: &Value, left: &mut usize, with: &str, out: &mut String) {
    if *left == 0 {
        *left = usize::MAX;
        return out.push_str(with);
    }
    *left = left.saturating_sub(1);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(item, left, with, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&format!("{}:", Value::from(name.as_str())));
                write(field, left, with, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
