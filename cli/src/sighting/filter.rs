//! `--where`: an expression over a message, such as `type~payment and order=0198*`.
//!
//! Fields: `type`, `order`, `sku`, `key`, `topic`, `partition`, `offset`, `source`, `id`, `header.NAME`, and any
//! path in the payload (`data.amount.minor` or just `amount.minor`, `lines[0].sku`). Operators: `=` and `!=` with
//! `*` for anything, `~` and `!~` for contains, `<` `<=` `>` `>=` for numbers. Joined by `and`, `or`, `not`, ( ).

use std::str::FromStr;

use serde_json::Value;

use super::Sighting;

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Field { name: String, operator: Operator, value: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Is,
    IsNot,
    Contains,
    ContainsNot,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

const OPERATORS: [(&str, Operator); 8] = [
    ("!=", Operator::IsNot),
    ("!~", Operator::ContainsNot),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::MoreOrEqual),
    ("=", Operator::Is),
    ("~", Operator::Contains),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl Filter {
    pub fn matches(&self, sighting: &Sighting) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(sighting)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(sighting)),
            Self::Not(filter) => !filter.matches(sighting),
            Self::Field { name, operator, value } => {
                let found = field(sighting, name);
                let text = found.as_deref();
                match operator {
                    Operator::Is => text.is_some_and(|text| glob(value, text)),
                    Operator::IsNot => !text.is_some_and(|text| glob(value, text)),
                    Operator::Contains => text.is_some_and(|text| contains(text, value)),
                    Operator::ContainsNot => !text.is_some_and(|text| contains(text, value)),
                    _ => compares(*operator, text, value),
                }
            }
        }
    }
}

fn compares(operator: Operator, text: Option<&str>, value: &str) -> bool {
    let (Some(Ok(a)), Ok(b)) = (text.map(str::parse::<f64>), value.parse::<f64>()) else { return false };
    match operator {
        Operator::Less => a < b,
        Operator::LessOrEqual => a <= b,
        Operator::More => a > b,
        Operator::MoreOrEqual => a >= b,
        _ => false,
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

/// `*` is any text; all else is itself.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    true
}

fn field(sighting: &Sighting, name: &str) -> Option<String> {
    let envelope = sighting.envelope.as_ref().ok();
    match name {
        "type" => sighting.message_type().map(str::to_owned),
        "order" => sighting.order_id().map(str::to_owned),
        "sku" => sighting.sku().map(str::to_owned),
        "key" => sighting.key().map(|key| key.into_owned()),
        "topic" => Some(sighting.raw.topic.to_string()),
        "partition" => Some(sighting.raw.partition.to_string()),
        "offset" => Some(sighting.raw.offset.to_string()),
        "source" => envelope.map(|envelope| envelope.source.clone()),
        "id" => envelope.map(|envelope| envelope.id.to_string()),
        "position" => envelope.and_then(|envelope| envelope.position).map(|number| number.to_string()),
        "sequence" => envelope.and_then(|envelope| envelope.sequence).map(|number| number.to_string()),
        _ => match name.strip_prefix("header.") {
            Some(header) => sighting.header(header).map(str::to_owned),
            None => in_data(&sighting.data, name.strip_prefix("data.").unwrap_or(name)),
        },
    }
}

fn in_data(data: &Value, path: &str) -> Option<String> {
    let pointer: String =
        path.split(['.', '[']).map(|part| format!("/{}", part.trim_end_matches(']'))).collect();
    match data.pointer(&pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let filter = parser.any()?;
        match parser.rest.trim_start() {
            "" => Ok(filter),
            rest => Err(format!("{rest:?} is left over; terms are joined by and, or")),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Filter, String> {
        let mut filters = vec![self.all()?];
        while self.word("or") {
            filters.push(self.all()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Any(filters) })
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut filters = vec![self.term()?];
        while self.word("and") {
            filters.push(self.term()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::All(filters) })
    }

    fn term(&mut self) -> Result<Filter, String> {
        if self.word("not") {
            return Ok(Filter::Not(Box::new(self.term()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return if self.sign(")") { Ok(inner) } else { Err("a ( has no )".to_owned()) };
        }
        let name = self.take(|c| c.is_ascii_alphanumeric() || "._-[]".contains(c));
        if name.is_empty() {
            return Err(format!(
                "a field such as type or order is missing before {:?}",
                self.rest.trim_start()
            ));
        }
        let operator = OPERATORS.iter().find(|(sign, _)| self.sign(sign));
        let Some((_, operator)) = operator else {
            return Err(format!("{name} is followed by none of = != ~ !~ < <= > >="));
        };
        let value = self.value()?;
        Ok(Filter::Field { name: name.to_owned(), operator: *operator, value })
    }

    fn value(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        if let quote @ ('"' | '\'') = self.rest.chars().next().unwrap_or(' ') {
            let (value, rest) = self.rest[1..].split_once(quote).ok_or("a quote is not closed")?;
            self.rest = rest;
            return Ok(value.to_owned());
        }
        Ok(self.take(|c| !c.is_whitespace() && c != ')').to_owned())
    }

    fn take(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|c| !part(c)).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }

    fn sign(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A whole word: `order=1` does not begin with `or`.
    fn word(&mut self, word: &str) -> bool {
        let text = self.rest.trim_start();
        let ends = |rest: &str| rest.chars().next().is_none_or(|c| c.is_whitespace() || c == '(');
        match text.strip_prefix(word) {
            Some(rest) if ends(rest) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{samples::sample, topics::Topic};

    use super::*;
    use crate::sighting::tests::seen;

    #[test]
    fn an_expression_finds_what_it_says() {
        let requested = seen(Topic::PaymentsEvents, "k", sample("fulfil.payment.requested.v1").unwrap());
        for yes in [
            "type~payment",
            "type~payment and order=0198*",
            "type=fulfil.payment.requested.v1",
            "type=*requested*",
            "order=0198f3c2-5a10-7c31-9d44-0a4be1c25f01",
            "amount.minor>3997 and amount.minor<=3998",
            "data.amount.currency=EUR",
            "topic=payments.* and partition=2 and offset=17",
            "not type~order",
            "type~order or type~payment",
            "type~order or (type~payment and not sku=SKU-1)",
            "header.shop=web and source=/fulfil/payment-service",
            "sku!=SKU-1",
            "position>1",
            "type = 'fulfil.payment.requested.v1'",
        ] {
            assert!(yes.parse::<Filter>().unwrap().matches(&requested), "{yes}");
        }
        for no in [
            "type~order",
            "type=payment",
            "order=0199*",
            "sku=*",
            "amount.minor>3998",
            "amount.currency>1",
            "header.other=web",
            "type~payment and type~order",
            "not (type~payment or type~order)",
        ] {
            assert!(!no.parse::<Filter>().unwrap().matches(&requested), "{no}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (bad, said) in [
            ("", "field"),
            ("type", "type is followed by none"),
            ("type=a type=b", "left over"),
            ("(type=a", "no )"),
            ("type='a", "quote"),
            ("and type=a", "and is followed by none"),
        ] {
            let error = bad.parse::<Filter>().unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn a_star_is_anything() {
        for (pattern, text) in
            [("*", ""), ("a*", "a"), ("a*c", "abc"), ("*b*", "abc"), ("a*b*c", "axbxc"), ("abc", "abc")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*c", "abd"), ("a*a", "a"), ("", "x")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
