//! Colour by meaning, not by number.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Dim,
    Bold,
    Good,
    Bad,
    Warn,
    /// The same text has the same colour, in every program run.
    Of(u8),
}

impl Tone {
    /// A colour for a key, so that the eye can follow one order through many lines.
    pub fn of(key: &str) -> Self {
        let hash = key
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self::Of(DISTINCT[hash as usize % DISTINCT.len()])
    }
}

/// Of the 256 colours, those that can be told apart and read on black and on white.
const DISTINCT: [u8; 12] = [33, 37, 64, 70, 99, 130, 133, 136, 161, 166, 172, 203];

/// Characters that are seen: what paints does not count.
pub(super) fn width(text: &str) -> usize {
    let (mut width, mut in_code) = (0, false);
    for c in text.chars() {
        match c {
            '\x1b' => in_code = true,
            'm' if in_code => in_code = false,
            _ if in_code => {}
            _ => width += 1,
        }
    }
    width
}

pub(super) fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if !colour || text.is_empty() {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Dim => "2".to_owned(),
        Tone::Bold => "1".to_owned(),
        Tone::Good => "32".to_owned(),
        Tone::Bad => "1;31".to_owned(),
        Tone::Warn => "33".to_owned(),
        Tone::Of(number) => format!("38;5;{number}"),
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_has_no_width() {
        assert_eq!(width(&paint(true, Tone::of("a"), "2 × m")), 5);
        assert_eq!(paint(false, Tone::Bad, "x"), "x");
    }
}
