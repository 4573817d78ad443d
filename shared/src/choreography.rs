//! The saga as data: what `choreography.toml` says. Nothing runs by it; it is compared with what does, and drawn.

use serde::Deserialize;

/// The file as it is compiled in.
pub const TEXT: &str = include_str!("../choreography.toml");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choreography {
    #[serde(rename = "command")]
    pub commands: Vec<Command>,
    #[serde(rename = "event")]
    pub events: Vec<Event>,
    #[serde(rename = "answer")]
    pub answers: Vec<Answer>,
    #[serde(rename = "wait")]
    pub waits: Vec<Wait>,
    #[serde(rename = "rest")]
    pub rests: Vec<Rest>,
    #[serde(rename = "effect")]
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub name: String,
    #[serde(rename = "type")]
    pub message_type: String,
    pub topic: String,
    pub reactions: Vec<Reaction>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub name: String,
    #[serde(rename = "type")]
    pub message_type: String,
    pub by: String,
    pub topic: String,
    #[serde(default)]
    pub reactions: Vec<Reaction>,
    /// What its own service asks the payment provider after it.
    #[serde(default)]
    pub asks: Vec<String>,
    /// Whom it informs, where no service reacts to it.
    pub informs: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    pub who: String,
    /// All that may follow; which of them is decided by state.
    pub publishes: Vec<String>,
}

/// What payment-service publishes about an answer of its provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub to: String,
    pub publishes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    pub who: String,
    pub state: String,
    /// The events that move the state on.
    #[serde(rename = "for")]
    pub awaited: Vec<String>,
    /// What the service owes itself meanwhile.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// What its tasks may publish by themselves.
    #[serde(default)]
    pub publishes: Vec<String>,
    /// The wait of another service whose end ends this one.
    pub ends_with: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub who: String,
    pub state: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    pub who: String,
    pub states: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    pub event: String,
    pub compensated_by: Vec<String>,
}

impl Choreography {
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The table of the README: one line a reaction between services.
    pub fn markdown(&self) -> String {
        let mut table =
            String::from("| when this is published | by | who reacts | and publishes |\n|---|---|---|---|\n");
        for event in &self.events {
            for Reaction { who, publishes } in &event.reactions {
                let what = publishes.join(", ");
                table += &format!("| {} | {} | {who} | {what} |\n", event.name, event.by);
            }
        }
        table
    }
}
