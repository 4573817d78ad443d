//! The committed JSON Schemas are those of the code, and what was committed never changes its meaning.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use serde_json::{Map, Value};
use shared::contract::{
    catalogue::{Entry, entries},
    message::Message,
    samples::sample,
};

/// Rewrites what may be rewritten: new files, titles and descriptions.
const UPDATE: &str = "UPDATE";

#[test]
fn a_changed_schema_without_a_new_version_fails() {
    let update = env::var_os(UPDATE).is_some();
    for entry in entries() {
        let path = folder().join(format!("{}.json", &entry.message_type["fulfil.".len()..]));
        let wanted = wanted(&entry);
        let committed: Option<Value> =
            fs::read_to_string(&path).ok().map(|text| serde_json::from_str(&text).unwrap());
        if committed.as_ref() == Some(&wanted) {
            continue;
        }
        if let Some(committed) = committed {
            assert_eq!(
                meaning(&committed),
                meaning(&wanted),
                "{} says something else than its committed schema. Messages of this version are on topics that \
                 we cannot rewrite: give the new shape a new version and an upcaster",
                entry.message_type,
            );
        }
        assert!(update, "{} is not written yet: run the test with {UPDATE}=1", path.display());
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, format!("{:#}\n", wanted)).unwrap();
    }
}

#[test]
fn there_is_no_schema_without_a_message() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> =
        entries().iter().map(|entry| format!("{}.json", &entry.message_type["fulfil.".len()..])).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_sample_is_valid_by_its_schema_and_by_the_code() {
    for entry in entries() {
        let event: Value = serde_json::from_str(sample(entry.message_type).unwrap()).unwrap();
        assert_eq!(event["dataschema"], format!("urn:fulfil:schema:{}", entry.schema_name()));
        if let Err(error) = validator(&entry).validate(&event["data"]) {
            panic!("{}: {error}", entry.message_type);
        }
    }
}

#[test]
fn a_sample_with_one_field_taken_away_or_of_another_type_is_refused_by_schema_and_code_alike() {
    let mut tried = 0;
    for entry in entries() {
        let event: Value = serde_json::from_str(sample(entry.message_type).unwrap()).unwrap();
        let fields = event["data"].as_object().unwrap();
        for field in fields.keys() {
            let mut without = fields.clone();
            without.remove(field);
            agree(&entry, without);
            for other in
                [Value::Null, true.into(), 1.5.into(), "".into(), "a b\u{7}".into(), Value::Array(vec![])]
            {
                let mut changed = fields.clone();
                changed.insert(field.clone(), other);
                agree(&entry, changed);
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

/// What the schema refuses is refused by the code; the code may refuse more (sums, references across fields).
fn agree(entry: &Entry, data: Map<String, Value>) {
    let data = Value::Object(data);
    let by_schema = validator(entry).is_valid(&data);
    let by_code = Message::decode(entry.message_type, &data.to_string()).unwrap().is_ok();
    assert!(by_schema || !by_code, "{}: the code takes what the schema refuses: {data}", entry.message_type);
}

fn validator(entry: &Entry) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(&wanted(entry)).unwrap()
}

fn wanted(entry: &Entry) -> Value {
    let mut schema = serde_json::to_value(&entry.schema).unwrap();
    schema["$id"] = format!("urn:fulfil:schema:{}", entry.schema_name()).into();
    schema["title"] = entry.message_type.into();
    schema
}

/// The schema without what only people read.
fn meaning(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| !(["title", "description"].contains(&name.as_str()) && value.is_string()))
            .map(|(name, value)| (name.clone(), meaning(value)))
            .collect(),
        Value::Array(items) => items.iter().map(meaning).collect(),
        other => other.clone(),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}
