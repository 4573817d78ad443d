//! OpenTelemetry's own variables. What its SDK would quietly replace by a default is refused here.

use std::{env, str::FromStr, time::Duration};

use axum::http::Uri;
use opentelemetry_sdk::trace::{
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT, OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT, OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_SCHEDULE_DELAY_DEFAULT,
};

use crate::config::{Settings, Stop};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSIONS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Where spans go.
pub(super) struct Collector {
    /// The setting that says so.
    pub(super) name: &'static str,
    pub(super) url: String,
}

/// Spans that may wait to be drawn, and how they are sent.
pub(super) struct Limits {
    pub(super) queue_max: usize,
    pub(super) batch_max: usize,
    pub(super) delay: Duration,
}

/// `None`: spans are not wanted.
pub(super) fn collector(settings: &Settings) -> Result<Option<Collector>, Stop> {
    let (base, traces) =
        (&settings.otel_exporter_otlp_endpoint, &settings.otel_exporter_otlp_traces_endpoint);
    let is_off = is(&variable("OTEL_SDK_DISABLED"), "true") || is(&variable("OTEL_TRACES_EXPORTER"), "none");
    let collector = match (is_off, traces.is_empty(), base.is_empty()) {
        (true, ..) | (_, true, true) => return Ok(None),
        (_, false, _) => Collector { name: TRACES_ENDPOINT, url: traces.clone() },
        (..) => Collector { name: ENDPOINT, url: format!("{}/v1/traces", base.trim_end_matches('/')) },
    };
    only(PROTOCOLS, "http/protobuf", variable)?;
    only(COMPRESSIONS, "none", variable)?;
    sampler(variable(SAMPLER), variable(SAMPLER_ARG))?;
    Ok(Some(collector))
}

/// Refuses what the first of these says that says anything, where it is something else.
fn only(
    names: [&'static str; 2],
    spoken: &str,
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<(), Stop> {
    match names.into_iter().find_map(|name| Some((name, variable(name)?))) {
        Some((name, said)) if !said.eq_ignore_ascii_case(spoken) => {
            Err(Stop::setting(name, format!("is {said}, and this build speaks {spoken} only")))
        }
        _ => Ok(()),
    }
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<(), Stop> {
    let Some(name) = name else { return Ok(()) };
    if !SAMPLERS.contains(&name.as_str()) {
        return Err(Stop::setting(SAMPLER, format!("is none of {}", SAMPLERS.join(", "))));
    }
    let is_ratio = |text: String| text.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
    if name.ends_with("traceidratio") && !argument.is_some_and(is_ratio) {
        return Err(Stop::setting(SAMPLER_ARG, "is not a number from 0 to 1"));
    }
    Ok(())
}

/// The address of a collector, or nothing.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url: Uri = text.parse().map_err(|error| format!("is not a URL ({error})"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http"), Some(_)) => Ok(text.to_owned()),
        (Some("https"), _) => {
            Err("is https, which this build does not speak: name a collector nearby that does".to_owned())
        }
        _ => Err("is not the URL of a collector, such as http://127.0.0.1:4318".to_owned()),
    }
}

impl Limits {
    pub(super) fn of_environment() -> Self {
        let delay_ms = OTEL_BSP_SCHEDULE_DELAY_DEFAULT.as_millis() as u64;
        let queue_max = number(OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT);
        let batch_max = number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT);
        Self {
            queue_max,
            batch_max: batch_max.clamp(1, queue_max.max(1)),
            delay: Duration::from_millis(number(OTEL_BSP_SCHEDULE_DELAY, delay_ms).max(1)),
        }
    }
}

/// As the SDK has it: what is no number is the default.
fn number<T: FromStr>(name: &str, default: T) -> T {
    variable(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An empty one is none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn is(text: &Option<String>, expected: &str) -> bool {
    text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_http_url() {
        for good in ["", "http://127.0.0.1:4318", "http://collector.internal/v1/traces"] {
            assert_eq!(endpoint(good).as_deref(), Ok(good));
        }
        for bad in ["127.0.0.1:4318", "https://collector", "grpc://a:1", "/v1/traces", "http://"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_protocol_or_compression_that_this_build_lacks_is_named() {
        let [of_traces, of_all] = COMPRESSIONS;
        let of = |said: &'static [(&str, &str)]| {
            let said = move |name: &str| Some(said.iter().find(|(known, _)| *known == name)?.1.to_owned());
            only(COMPRESSIONS, "none", said)
        };
        assert!(of(&[]).is_ok() && of(&[(COMPRESSIONS[0], "none"), (COMPRESSIONS[1], "gzip")]).is_ok());
        let text = of(&[(COMPRESSIONS[1], "gzip")]).unwrap_err().text;
        assert!(text.contains(of_all) && text.contains("gzip") && !text.contains(of_traces), "{text}");
    }

    #[test]
    fn a_sampler_that_does_not_exist_is_named() {
        let of =
            |name: &str, argument: Option<&str>| sampler(Some(name.to_owned()), argument.map(str::to_owned));
        assert!(sampler(None, None).is_ok() && of("always_off", None).is_ok());
        assert!(of("parentbased_traceidratio", Some("0.1")).is_ok());
        assert!(of("sometimes", None).unwrap_err().text.contains("OTEL_TRACES_SAMPLER "));
        for bad in [None, Some("2"), Some("x")] {
            assert!(of("traceidratio", bad).unwrap_err().text.contains("OTEL_TRACES_SAMPLER_ARG"), "{bad:?}");
        }
    }
}
