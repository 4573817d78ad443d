//! `--set lines[0].sku=SKU-1`: one field of a payload.

use std::str::FromStr;

use serde_json::{Map, Value};

/// A path and what stands there. The value is JSON where it reads as JSON, else a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    pub(super) path: Vec<Step>,
    pub(super) value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Item(usize),
}

/// Further than the longest order; a typing error must not fill the memory.
const ITEMS_MAX: usize = 1000;

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not PATH=VALUE, such as lines[0].sku=SKU-1");
        let (path, value) = text.split_once('=').ok_or_else(usage)?;
        let mut steps = Vec::new();
        for part in path.split('.') {
            let (name, mut items) = match part.find('[') {
                Some(at) => part.split_at(at),
                None => (part, ""),
            };
            if name.is_empty() {
                return Err(usage());
            }
            steps.push(Step::Field(name.to_owned()));
            while !items.is_empty() {
                let (item, rest) = items[1..].split_once(']').ok_or_else(usage)?;
                let item = item.parse().ok().filter(|item| *item < ITEMS_MAX).ok_or_else(usage)?;
                steps.push(Step::Item(item));
                if !(rest.is_empty() || rest.starts_with('[')) {
                    return Err(usage());
                }
                items = rest;
            }
        }
        Ok(Self { path: steps, value: value.to_owned() })
    }
}

impl Assignment {
    /// Puts the value there, with what is missing on the way. `{n}` is the number of the message from 1, `{uuid}` a
    /// new id.
    pub(crate) fn apply(&self, data: &mut Value, number: usize) {
        let text = self.value.replace("{n}", &(number + 1).to_string());
        let text = match text.contains("{uuid}") {
            true => text.replace("{uuid}", &super::random_id().to_string()),
            false => text,
        };
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let mut place = data;
        for step in &self.path {
            place = match step {
                Step::Field(name) => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    &mut place[name.as_str()]
                }
                Step::Item(item) => {
                    if !place.is_array() {
                        *place = Value::Array(Vec::new());
                    }
                    let Value::Array(items) = place else { unreachable!() };
                    while items.len() <= *item {
                        // A further line begins as a copy of the one before.
                        items.push(items.last().cloned().unwrap_or_default());
                    }
                    &mut items[*item]
                }
            };
        }
        *place = value;
    }

    pub(super) fn is_for(&self, field: &str) -> bool {
        matches!(self.path.first(), Some(Step::Field(name)) if name == field)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(assignments: &[&str]) -> Value {
        let mut data = json!({"lines": [{"sku": "A", "quantity": 1}]});
        for text in assignments {
            text.parse::<Assignment>().unwrap().apply(&mut data, 4);
        }
        data
    }

    #[test]
    fn a_path_reaches_fields_and_items_and_makes_what_is_missing() {
        assert_eq!(applied(&["lines[0].sku=B"])["lines"], json!([{"sku": "B", "quantity": 1}]));
        assert_eq!(applied(&["lines[1].sku=B"])["lines"][1], json!({"sku": "B", "quantity": 1}));
        assert_eq!(applied(&["amount.minor=5"])["amount"], json!({"minor": 5}));
        assert_eq!(applied(&["a[1][0]=x"])["a"], json!([null, ["x"]]));
    }

    #[test]
    fn a_value_is_json_where_it_reads_as_json() {
        assert_eq!(applied(&["x=5"])["x"], json!(5));
        assert_eq!(applied(&["x=\"5\""])["x"], json!("5"));
        assert_eq!(applied(&["x=5 apples"])["x"], json!("5 apples"));
        assert_eq!(applied(&["x=user-{n}"])["x"], json!("user-5"));
        assert_eq!(applied(&["x={n}"])["x"], json!(5));
        assert_eq!(applied(&["x={uuid}"])["x"].as_str().unwrap().len(), 36);
        assert_eq!(applied(&["x=a=b"])["x"], json!("a=b"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in ["", "x", "=1", "a..b=1", "a[=1", "a[x]=1", "a[0]b=1", "a[99999]=1", ".a=1"] {
            assert!(bad.parse::<Assignment>().is_err(), "{bad}");
        }
    }
}
