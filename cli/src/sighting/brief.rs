//! What a message says, in a few words, whatever it is.

use shared::contract::{
    brief::{self, cut, join, quoted},
    dead_letter::header,
};

use super::Sighting;

pub fn brief(sighting: &Sighting) -> String {
    let data = &sighting.data;
    let text = |field: &str| data[field].as_str().unwrap_or_default();
    let Some(message_type) = sighting.message_type() else { return not_a_message(sighting) };
    match super::label(message_type) {
        "dead-letter.redrive" | "dead-letter.discard" => {
            let letter = crate::output::short(text("dead_letter_id"));
            let edited = if data["value_base64"].is_string() { "edited" } else { "" };
            join([format!("{} {letter}", text("group")), edited.to_owned(), quoted(text("reason"))])
        }
        _ => brief::brief(message_type, data),
    }
}

fn not_a_message(sighting: &Sighting) -> String {
    if let Some(status) = sighting.letter_status() {
        let part = |name| sighting.header(name).unwrap_or_default();
        let letter = crate::output::short(part(header::ID));
        return join([format!("{letter} {status} by {}", part(header::BY)), quoted(part(header::REASON))]);
    }
    let part = |name| sighting.header(name).unwrap_or("?");
    if sighting.header(header::ID).is_some() {
        return format!(
            "{} of {} {}[{}]@{}: {}",
            crate::output::short(part(header::ID)),
            part(header::GROUP),
            part(header::TOPIC),
            part(header::PARTITION),
            part(header::OFFSET),
            part(header::MESSAGE),
        );
    }
    let value = sighting.raw.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    match &sighting.envelope {
        Err(malformed) => join([malformed.to_string(), cut(&value)]),
        Ok(_) => cut(&value),
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::{catalogue::entries, samples::sample};

    use super::*;
    use crate::sighting::tests::seen;

    #[test]
    fn every_message_of_the_contract_is_said_in_words_not_in_json() {
        for entry in entries() {
            let said = brief(&seen(entry.topic, "k", sample(entry.message_type).unwrap()));
            assert!(
                !said.contains(['{', '?']) && said.chars().count() <= 110,
                "{}: {said}",
                entry.message_type
            );
        }
        let created = seen(entries()[4].topic, "k", sample("fulfil.order.created.v2").unwrap());
        assert_eq!(brief(&created), "2 × SKU-1  39.98 EUR  u1");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let said = brief(&seen(shared::contract::topics::Topic::OrdersCommands, "k", "\u{1b}[2Jhello\n"));
        assert!(!said.chars().any(char::is_control), "{said}");
    }
}
