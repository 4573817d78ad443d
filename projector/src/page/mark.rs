//! Where in the text of a message its error is, as the error says: by line and column, or by a JSON pointer.

use std::{collections::HashMap, ops::Range};

use serde_json::value::RawValue;

/// Empty where the text ends too early; `None` where the error names no place.
pub(super) fn place(text: &str, error: &str) -> Option<Range<usize>> {
    of_line(text, error).or_else(|| of_pointer(text, error))
}

/// The character that `… (line 1, column 7)` names, counted in bytes from one.
fn of_line(text: &str, error: &str) -> Option<Range<usize>> {
    let (said, place) = error.rsplit_once(" (line ")?;
    let (line, column) = place.split_once(')')?.0.split_once(", column ")?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    if said.starts_with("EOF ") {
        return Some(text.len()..text.len());
    }
    let begin: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let at = (begin + column.saturating_sub(1)).min(text.len());
    let at = (0..=at).rev().find(|at| text.is_char_boundary(*at))?;
    Some(at..end_of_char(text, at))
}

/// The value that `/data/lines/0/quantity: …` names. Of one that is missing, the beginning of what lacks it.
fn of_pointer(text: &str, error: &str) -> Option<Range<usize>> {
    let (pointer, _) = error.split_once(": ").filter(|(pointer, _)| pointer.starts_with('/'))?;
    let whole = walk(text, pointer)?;
    let found = match pointer.strip_prefix("/data") {
        // In binary mode the value is the payload alone.
        Some(of_payload) if whole.steps == 0 => walk(text, of_payload)?,
        _ => whole,
    };
    let begin = found.json.as_ptr() as usize - text.as_ptr() as usize;
    let end = if found.is_all { begin + found.json.len() } else { end_of_char(text, begin) };
    Some(begin..end)
}

fn end_of_char(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(at, |c| at + c.len_utf8())
}

/// How far a pointer leads.
struct Found<'t> {
    /// Of the text: the innermost value that is there.
    json: &'t str,
    steps: usize,
    is_all: bool,
}

/// `None` for what is not JSON.
fn walk<'t>(text: &'t str, pointer: &str) -> Option<Found<'t>> {
    let json = serde_json::from_str::<&RawValue>(text).ok()?.get();
    let mut found = Found { json, steps: 0, is_all: true };
    for step in pointer.split('/').skip(1) {
        match member(found.json, &step.replace("~1", "/").replace("~0", "~")) {
            Some(json) => found = Found { json, steps: found.steps + 1, is_all: true },
            None => return Some(Found { is_all: false, ..found }),
        }
    }
    Some(found)
}

/// As it stands in the text: such a value borrows from it.
fn member<'t>(json: &'t str, name: &str) -> Option<&'t str> {
    if json.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        return Some(items.get(name.parse::<usize>().ok()?)?.get());
    }
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    Some(members.get(name)?.get())
}

#[cfg(test)]
mod tests {
    use shared::{
        contract::{
            envelope::{Headers, Mode, Raw},
            message::Message,
            topics::Topic,
        },
        failure::Failure,
        log::Stage,
    };

    use super::*;

    /// What a letter of this value says, by the code that makes letters.
    fn error(value: &str, headers: &[(&'static str, &'static str)]) -> String {
        let header = |(name, text): &(&'static str, &'static str)| ((*name).into(), Some((*text).into()));
        let raw = Raw {
            topic: Topic::InventoryCommands,
            partition: 0,
            offset: 0,
            key: Some("A".into()),
            value: Some(value.to_owned().into()),
            headers: Headers::Readable(headers.iter().map(header).collect()),
            timestamp_ms: 0,
        };
        let malformed = Message::read(&raw, Mode::Development).unwrap_err();
        Failure::malformed(Stage::Decode, &malformed).message
    }

    fn marked<'t>(value: &'t str, headers: &[(&'static str, &'static str)]) -> &'t str {
        let error = error(value, headers);
        let place = place(value, &error).unwrap_or_else(|| panic!("{error}"));
        &value[place]
    }

    fn receive(data: &str) -> String {
        let envelope = r#""specversion":"1.0","id":"1","source":"/x","type":"fulfil.stock.receive.v1""#;
        format!("{{{envelope},\n\"ä\":1,\"data\":{data}}}")
    }

    #[test]
    fn what_is_no_json_is_marked_where_it_ends_to_be_it() {
        assert_eq!(marked("hello", &[]), "h");
        assert_eq!(marked("{\"a\" 1}", &[]), "1");
        assert_eq!(marked("{\n\"ä\": x}", &[]), "x");
        assert_eq!(marked("{\n\"ä\": ö}", &[]), "ö");
        let trailing = receive(r#"{"sku":"A","quantity":1}"#) + " {}";
        let place = place(&trailing, &error(&trailing, &[])).unwrap();
        assert_eq!((&trailing[place.clone()], place.start), ("{", trailing.len() - 2));
    }

    #[test]
    fn what_ends_too_early_is_marked_at_its_end() {
        let whole = receive(r#"{"sku":"A","quantity":1}"#);
        for end in [1, 20, whole.len() - 1] {
            let text = &whole[..end];
            assert_eq!(place(text, &error(text, &[])), Some(end..end), "{text}");
        }
    }

    #[test]
    fn a_name_that_stands_there_twice_and_a_type_that_is_none_are_marked_where_they_end() {
        let twice = r#"{"sku":"A","quantity":1,"sku":"B"}"#;
        let text = receive(twice);
        let end = text.find(r#""sku":"B""#).unwrap() + 5;
        assert_eq!(place(&text, &error(&text, &[])), Some(end - 1..end), "{}", error(&text, &[]));
        assert_eq!(marked(r#"{"type":57,"data":{}}"#, &[]), "7");
    }

    #[test]
    fn the_value_that_a_pointer_names_is_marked() {
        assert_eq!(marked(&receive(r#"{ "sku":"A", "quantity" : "five" }"#), &[]), "\"five\"");
        assert_eq!(marked(&receive(r#"{"sku":"A","quantity":0}"#), &[]), "0");
        assert_eq!(marked(&receive(r#"{"sku":"B","quantity":1}"#), &[]), "\"B\"", "not the key");
        let later = receive(r#"{"sku":"A","quantity":1}"#).replace("receive.v1", "receive.v9");
        assert_eq!(marked(&later, &[]), "\"fulfil.stock.receive.v9\"");
        let lines = r#"{"a/b":[0,{"é":[1, 2]}]}"#;
        assert_eq!(&lines[place(lines, "/a~1b/1/é/1: no").unwrap()], "2");
    }

    #[test]
    fn of_what_is_missing_that_is_marked_which_lacks_it() {
        let text = receive(r#"{"sku":"A"}"#);
        let data = text.find(r#"{"sku"#).unwrap();
        assert_eq!(place(&text, &error(&text, &[])), Some(data..data + 1));
        assert_eq!(place(" {}", "/specversion: is not there"), Some(1..2));
    }

    #[test]
    fn in_binary_mode_the_payload_is_all_there_is() {
        let binary = [
            ("ce_specversion", "1.0"),
            ("ce_id", "1"),
            ("ce_source", "/x"),
            ("ce_type", "fulfil.stock.receive.v1"),
        ];
        assert_eq!(marked(r#"{"sku":"A","quantity":"five"}"#, &binary), "\"five\"");
        assert_eq!(marked(r#"{"sku":"A","#, &binary), "");
    }

    #[test]
    fn an_error_without_a_place_marks_nothing() {
        for error in ["the header type is missing", "(line 1)", "/a: no", "found 1: not 2"] {
            assert_eq!(place("hello", error), None, "{error}");
        }
        assert_eq!(place("{}", "no (line 99, column 99)"), Some(2..2));
    }
}
