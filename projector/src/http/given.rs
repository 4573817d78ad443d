//! Parameters that a form sends though nothing was typed.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer},
};

/// Empty is as good as absent.
pub(super) fn given<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| T::deserialize(text.into_deserializer())).transpose()
}
