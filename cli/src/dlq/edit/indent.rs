//! JSON for an editor: a field a line. Nothing else is changed, so that what is left alone is sent as it was: numbers keep
//! their digits, fields their order, and a name that stands there twice stands there twice.

use serde::de::IgnoredAny;

/// What is not JSON stays as it is.
pub(super) fn indented(text: &str) -> String {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let (mut shown, mut depth, mut in_string, mut escaped) =
        (String::with_capacity(text.len() * 2), 0, false, false);
    let mut opened = false;
    for c in text.chars() {
        if in_string {
            shown.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        if c.is_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        // Nothing between the two brackets of what is empty.
        if opened && !closes {
            line(&mut shown, depth);
        }
        if closes {
            depth -= 1;
            if !opened {
                line(&mut shown, depth);
            }
        }
        opened = matches!(c, '{' | '[');
        shown.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => line(&mut shown, depth),
            ':' => shown.push(' '),
            '"' => in_string = true,
            _ => {}
        }
    }
    shown
}

fn line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_line_and_nothing_else_is_changed() {
        let text = r#"{"b":1e3,"a":[1.0, {}],"a":"x, \"{y}\\","e":[]}"#;
        let shown = "{\n  \"b\": 1e3,\n  \"a\": [\n    1.0,\n    {}\n  ],\n  \"a\": \"x, \\\"{y}\\\\\",\n  \"e\": []\n}";
        assert_eq!(indented(text), shown);
        assert_eq!(indented(shown), shown);
        assert_eq!(indented("{\"a\":"), "{\"a\":", "no JSON");
        assert_eq!(indented("\"x\""), "\"x\"");
    }
}
