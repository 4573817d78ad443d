//! One message of the contract: how an enum of them is declared, written as `data` and read back.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Malformed,
    dead_letter::DeadLetterCommand,
    envelope::{self, Mode, Raw},
    order::*,
    payment::PaymentEvent,
    stock::*,
    topics::Topic,
    upcast,
};

/// A family of messages that can stand in a log. Its JSON is what crosses the boundary: the same text is the
/// `data` of the envelope and the `data` column of the event.
pub trait Event: Sized + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// `fulfil.order.created.v2`: the newest version, which is the only one that is written.
    fn event_type(&self) -> &'static str;
    /// The payload as JSON text.
    fn data(&self) -> String;
    /// Reads a payload of any version, through the upcasters. `None` for a type that is not of this family.
    fn decode(event_type: &str, data: &str) -> Option<Result<Self, Malformed>>;
}

/// A payload: what it says about the key it belongs to, and whether it is within the limits.
pub(crate) trait Payload: Serialize + DeserializeOwned {
    /// Limits that span fields, so that no newtype can hold them.
    fn check(&self) -> Result<(), Malformed> {
        Ok(())
    }
}

pub(crate) fn read<T: Payload>(data: &str) -> Result<T, Malformed> {
    let payload: T = parse(data)?;
    payload.check()?;
    Ok(payload)
}

/// Reads JSON text into a payload's type and says where it does not fit.
pub(crate) fn parse<T: DeserializeOwned>(data: &str) -> Result<T, Malformed> {
    serde_json::from_str(data).map_err(|error| {
        // The path costs time on every field, so only a message that failed is read with it.
        let located: Result<T, _> =
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(data));
        let pointer = located.err().map(|error| pointer(error.path())).unwrap_or_default();
        let malformed = invalid_data(error);
        // serde places a missing field at the object that lacks it.
        let missing =
            malformed.detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let pointer = missing.map_or(pointer.clone(), |field| format!("{pointer}/{field}"));
        Malformed { pointer, ..malformed }
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(segment).collect()
}

/// serde's message names the expectation. Its quotes of the value are cut, as an error text must not carry
/// payload.
pub(crate) fn invalid_data(error: serde_json::Error) -> Malformed {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let found = |kind: &str, expected: usize| format!("found {kind}{}", &text[expected..]);
    let text = match text.rfind(", expected ") {
        Some(expected) if text.starts_with("invalid type: ") => {
            let kind = text["invalid type: ".len()..expected].split([' ', '`']).next().unwrap_or("value");
            found(kind, expected)
        }
        Some(expected) if text.starts_with("invalid value: ") => found("a value out of range", expected),
        Some(expected) if text.starts_with("unknown variant ") => found("an unknown value", expected),
        _ => text.to_owned(),
    };
    Malformed::new("invalid-data", text)
}

pub(crate) fn write<T: Serialize>(payload: &T) -> String {
    // Payloads are structs of numbers, text and ids: there is no map key that could fail.
    serde_json::to_string(payload).unwrap_or_default()
}

/// Declares an enum of messages: variant, payload, wire type.
macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident($payload:ty) = $type:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name { $($(#[$vdoc])* $variant($payload),)+ }

        impl $name {
            pub const TYPES: &'static [&'static str] = &[$($type),+];

            /// JSON Schema of each payload, by type.
            pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($type, schemars::schema_for!($payload))),+]
            }
        }

        impl $crate::contract::message::Event for $name {
            fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $type),+ }
            }
            fn data(&self) -> String {
                match self { $(Self::$variant(payload) => $crate::contract::message::write(payload)),+ }
            }
            fn decode(event_type: &str, data: &str) -> Option<Result<Self, $crate::contract::Malformed>> {
                let (event_type, data) = match $crate::contract::upcast::newest(event_type, data) {
                    Ok(newest) => newest,
                    Err(malformed) => return Self::TYPES.contains(&$crate::contract::upcast::newest_type(event_type)).then_some(Err(malformed)),
                };
                match event_type {
                    $($type => Some($crate::contract::message::read(&data).map(Self::$variant)),)+
                    _ => None,
                }
            }
        }

        $(impl From<$payload> for $name {
            fn from(payload: $payload) -> Self { Self::$variant(payload) }
        })+
    };
}
pub(crate) use messages;

/// Any message of the contract.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Order(OrderEvent),
    Reservation(ReservationEvent),
    Stock(StockEvent),
    Payment(PaymentEvent),
    OrderCommand(OrderCommand),
    StockCommand(StockCommand),
    DeadLetterCommand(DeadLetterCommand),
}

impl Message {
    /// `None` for a type that no version of the contract knows.
    pub fn decode(message_type: &str, data: &str) -> Option<Result<Self, Malformed>> {
        fn of<E: Event>(
            message_type: &str,
            data: &str,
            wrap: fn(E) -> Message,
        ) -> Option<Result<Message, Malformed>> {
            E::decode(message_type, data).map(|result| result.map(wrap))
        }
        of(message_type, data, Self::Order)
            .or_else(|| of(message_type, data, Self::Reservation))
            .or_else(|| of(message_type, data, Self::Stock))
            .or_else(|| of(message_type, data, Self::Payment))
            .or_else(|| of(message_type, data, Self::OrderCommand))
            .or_else(|| of(message_type, data, Self::StockCommand))
            .or_else(|| of(message_type, data, Self::DeadLetterCommand))
    }

    /// Reads a whole message as a service does before it decides. Whether the state of what it is about allows it is another
    /// matter, which only the owner knows.
    pub fn read(raw: &Raw, mode: Mode) -> Result<Self, Malformed> {
        let envelope = envelope::decode(raw, mode)?;
        let message = Self::decode(&envelope.message_type, &envelope.data)
            .ok_or_else(|| Malformed::at("unknown-type", "/type", "is not a type of the contract"))?
            .map_err(Malformed::in_data)?;
        envelope::check_key(raw, &message)?;
        Ok(message)
    }

    /// Whether some version of the contract has this type.
    pub fn knows(message_type: &str) -> bool {
        let newest = upcast::newest_type(message_type);
        [
            OrderEvent::TYPES,
            ReservationEvent::TYPES,
            StockEvent::TYPES,
            PaymentEvent::TYPES,
            OrderCommand::TYPES,
            StockCommand::TYPES,
            DeadLetterCommand::TYPES,
        ]
        .iter()
        .any(|types| types.contains(&newest))
    }

    pub fn message_type(&self) -> &'static str {
        match self {
            Self::Order(event) => event.event_type(),
            Self::Reservation(event) => event.event_type(),
            Self::Stock(event) => event.event_type(),
            Self::Payment(event) => event.event_type(),
            Self::OrderCommand(command) => command.event_type(),
            Self::StockCommand(command) => command.event_type(),
            Self::DeadLetterCommand(command) => command.event_type(),
        }
    }

    pub fn data(&self) -> String {
        match self {
            Self::Order(event) => event.data(),
            Self::Reservation(event) => event.data(),
            Self::Stock(event) => event.data(),
            Self::Payment(event) => event.data(),
            Self::OrderCommand(command) => command.data(),
            Self::StockCommand(command) => command.data(),
            Self::DeadLetterCommand(command) => command.data(),
        }
    }

    /// The only topic that the message stands on.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Order(_) => Topic::OrdersEvents,
            Self::Reservation(_) => Topic::InventoryEvents,
            Self::Stock(_) => Topic::InventoryStock,
            Self::Payment(_) => Topic::PaymentsEvents,
            Self::OrderCommand(_) => Topic::OrdersCommands,
            Self::StockCommand(_) => Topic::InventoryCommands,
            Self::DeadLetterCommand(_) => Topic::DeadLettersCommands,
        }
    }

    /// The key that the message carries on its topic: the order id or sku in its `data`. `None` for a command
    /// about a dead letter, whose key is that of the letter.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Order(event) => Some(event.order_id().to_string()),
            Self::Reservation(event) => Some(event.order_id().to_string()),
            Self::Stock(event) => Some(event.sku().to_string()),
            Self::Payment(event) => Some(event.order_id().to_string()),
            Self::OrderCommand(command) => Some(command.order_id().to_string()),
            Self::StockCommand(command) => Some(command.sku().to_string()),
            Self::DeadLetterCommand(_) => None,
        }
    }
}
