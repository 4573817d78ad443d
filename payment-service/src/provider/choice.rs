//! Which provider: the setting PAYMENT_PROVIDER.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use reqwest::Url;

use super::{PaymentProvider, behaviour::Behaviour, http::HttpProvider, simulated::SimulatedProvider};

/// `simulated`, or the address of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// In this process, its books in memory: for unit tests and benchmarks.
    Simulated,
    Url(Url),
}

/// Longer than a provider takes on a bad day, shorter than a customer waits.
pub const ANSWER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);

impl Choice {
    /// # Errors
    /// Where the HTTP client cannot be made. Nothing is called yet.
    pub fn open(&self, answer_timeout: Duration) -> anyhow::Result<Arc<dyn PaymentProvider>> {
        Ok(match self {
            Self::Simulated => Arc::new(SimulatedProvider::new(Behaviour::default())),
            Self::Url(url) => Arc::new(HttpProvider::new(url.clone(), answer_timeout)?),
        })
    }
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "simulated" {
            return Ok(Self::Simulated);
        }
        let url = Url::parse(text)
            .map_err(|error| format!("is neither `simulated` nor the URL of a provider ({error})"))?;
        match url.scheme() {
            "http" if url.has_host() => Ok(Self::Url(url)),
            "https" => {
                Err("is https, which this build does not speak: name a local proxy that does".to_owned())
            }
            _ => Err("is neither `simulated` nor an http URL with a host".to_owned()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulated => f.write_str("simulated"),
            Self::Url(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_simulated_or_an_http_url() {
        for text in ["simulated", "http://127.0.0.1:8090/", "http://psp.internal/v1"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        for bad in ["", "Simulated", "127.0.0.1:8090", "https://psp.example", "file:///etc/passwd"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
