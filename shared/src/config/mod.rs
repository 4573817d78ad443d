//! Settings of a service: environment or flags, checked whole before a port is bound or a server is asked.
//!
//! `--help` of each binary is their reference. What only one service needs is that service's own struct, flattened
//! beside [`Settings`] by [`parse`]. Nothing else reads the environment, but for OpenTelemetry's own variables
//! (`telemetry/spans/settings.rs`).

pub mod duration;

use std::{env, ffi::OsString, fs, net::SocketAddr, process, time::Duration};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};

#[cfg(feature = "otlp")]
use crate::telemetry::spans;
use crate::{contract::envelope::Mode, log::node};

/// `EX_CONFIG` of sysexits.h: the settings are at fault, so that starting again does not help.
pub const EXIT_BAD_CONFIGURATION: i32 = 78;
pub const EXIT_USAGE: i32 = 2;

/// What was built: the version, and the commit where the build was told it.
pub const BUILD: &str = match option_env!("FULFIL_BUILD") {
    Some(build) => build,
    None => env!("CARGO_PKG_VERSION"),
};

/// What differs between the processes before anybody sets anything.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Also the consumer group.
    pub name: &'static str,
    pub about: &'static str,
    pub http_addr: &'static str,
    pub admin_addr: &'static str,
}

/// What every process needs to know.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Kafka brokers, as host:port[,host:port]
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "", hide_default_value = true, help_heading = SERVERS)]
    pub kafka_bootstrap_servers: String,

    /// Postgres database of this service, as postgres://user:password@host:port[,host:port]/name; of several servers
    /// the primary is used
    #[arg(long, env = "DATABASE_URL", default_value = "", hide_default_value = true, hide_env_values = true, help_heading = SERVERS)]
    pub database_url: String,

    /// Where the API listens
    #[arg(long, env = "HTTP_ADDR", help_heading = PROCESS)]
    pub http_addr: SocketAddr,

    /// Where /livez, /readyz, /metrics and /version are served
    #[arg(long, env = "ADMIN_ADDR", help_heading = PROCESS)]
    pub admin_addr: SocketAddr,

    /// Development also takes messages without a key, bare messages and events that no service of ours wrote
    #[arg(long, env = "FULFIL_MODE", default_value = "production", value_parser = mode_parser(), help_heading = PROCESS)]
    pub fulfil_mode: Mode,

    /// Names this replica; two of the same name fence each other [default: host name and HTTP port]
    #[arg(long, env = "INSTANCE_ID", default_value = "", hide_default_value = true, help_heading = PROCESS)]
    pub instance_id: String,

    /// What a stopping process may take to finish what it has begun
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "15s", value_parser = duration::parse, help_heading = LIMITS)]
    pub shutdown_timeout: Duration,

    /// What is logged, such as info or shared::relay=debug,warn
    #[arg(long, env = "RUST_LOG", default_value = "info", help_heading = LOGS)]
    pub rust_log: String,

    /// auto is text on a terminal and json elsewhere
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", help_heading = LOGS)]
    pub log_format: LogFormat,

    /// Collector that takes spans by OTLP over HTTP, as http://host:port; without it none are made
    #[cfg(feature = "otlp")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "", hide_default_value = true, value_parser = spans::settings::endpoint, help_heading = SPANS)]
    pub otel_exporter_otlp_endpoint: String,

    /// The same with its path, instead
    #[cfg(feature = "otlp")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", default_value = "", hide_default_value = true, value_parser = spans::settings::endpoint, help_heading = SPANS)]
    pub otel_exporter_otlp_traces_endpoint: String,

    /// The variables `KAFKA_CONFIG_<NAME>`, as they stand in the environment.
    #[arg(skip)]
    pub kafka_config: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// What the process is started for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Run the service (the default)
    #[default]
    Serve,
    /// Bring the database to this build's schema and exit; a serving process never does
    Migrate,
    /// Ask the admin port of a running process whether it is ready; exit 0 or 1
    Healthcheck,
}

/// A process with all it was told. `E` is what only this service needs.
#[derive(Debug, Clone)]
pub struct Parsed<E> {
    pub verb: Verb,
    pub settings: Settings,
    pub extra: E,
}

/// For [`parse`] where a service has no settings of its own.
#[derive(Debug, Clone, Copy, Args)]
pub struct NoExtra {}

/// Reads flags and environment. Prints and exits where help was asked for or something is wrong.
pub fn parse<E: Args>(process: &Process) -> Parsed<E> {
    // Not `env::vars`, which panics on a variable of somebody else's that is not Unicode.
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parse_from(process, env::args_os(), environment.collect()).unwrap_or_else(|stop| stop.exit())
}

/// Why a process does not start: help was asked for, or a setting is bad.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Stop {
    pub exit_code: i32,
    pub text: String,
}

impl Stop {
    /// A setting by its name in the environment, and what is wrong with it. Quote no secret.
    pub fn setting(name: &str, wrong: impl std::fmt::Display) -> Self {
        Self { exit_code: EXIT_BAD_CONFIGURATION, text: format!("error: {name} {wrong}\n") }
    }

    pub fn exit(&self) -> ! {
        if self.exit_code == 0 {
            print!("{}", self.text);
        } else {
            eprint!("{}", self.text);
        }
        process::exit(self.exit_code)
    }
}

const SERVERS: &str = "Servers";
const PROCESS: &str = "Process";
pub(crate) const LIMITS: &str = "Limits";
const LOGS: &str = "Logs";
#[cfg(feature = "otlp")]
const SPANS: &str = "Spans (and OpenTelemetry's other variables: OTEL_TRACES_SAMPLER, OTEL_BSP_*, ...; a stop takes up to 3 s more)";
/// What Kafka takes as `group.instance.id`.
const INSTANCE_ID_CHARS_MAX: usize = 249;
const KAFKA_CONFIG_PREFIX: &str = "KAFKA_CONFIG_";
const AFTER_HELP: &str = "\
KAFKA_CONFIG_<NAME> passes a setting to the Kafka client (upper case, dot becomes underscore), such as \
KAFKA_CONFIG_SECURITY_PROTOCOL=ssl. Settings that our guarantees depend on are refused.
DATABASE_URL_FILE names a file that holds the value instead of DATABASE_URL.
Exit codes: 0 done, 1 failed, 2 usage, 78 a setting is bad.";

#[derive(Debug, Parser)]
struct Program<E: Args> {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    extra: E,
    #[command(subcommand)]
    verb: Option<Verb>,
}

pub(crate) fn parse_from<E: Args>(
    process: &Process,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    environment: Vec<(String, String)>,
) -> Result<Parsed<E>, Stop> {
    let command = Program::<E>::command()
        .name(process.name)
        .about(process.about)
        .version(BUILD)
        .after_help(AFTER_HELP)
        .mut_arg("http_addr", |arg| arg.required(false).default_value(process.http_addr))
        .mut_arg("admin_addr", |arg| arg.required(false).default_value(process.admin_addr))
        // So that flags may stand before and after the verb; clap takes no required ones there.
        .mut_args(|arg| if arg.is_required_set() { arg } else { arg.global(true) });
    let Program { mut settings, extra, verb } = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Program::<E>::from_arg_matches(&matches))
        .map_err(of_clap)?;
    let verb = verb.unwrap_or_default();
    settings.complete(verb, environment)?;
    Ok(Parsed { verb, settings, extra })
}

impl Settings {
    fn complete(&mut self, verb: Verb, environment: Vec<(String, String)>) -> Result<(), Stop> {
        if let Some((_, path)) = environment.iter().find(|(name, _)| name == "DATABASE_URL_FILE") {
            if !self.database_url.is_empty() {
                return Err(Stop::setting(
                    "DATABASE_URL_FILE",
                    "is set and so is DATABASE_URL: one of them must go",
                ));
            }
            self.database_url = secret("DATABASE_URL_FILE", path)?;
        }
        if self.instance_id.is_empty() {
            self.instance_id = format!("{}-{}", host_name(), self.http_addr.port());
        }
        self.kafka_config =
            environment.into_iter().filter(|(name, _)| name.starts_with(KAFKA_CONFIG_PREFIX)).collect();
        self.check(verb)
    }

    fn check(&self, verb: Verb) -> Result<(), Stop> {
        if verb == Verb::Healthcheck {
            return Ok(());
        }
        let is_empty = |text: &str| text.trim().is_empty();
        if is_empty(&self.database_url) {
            return Err(Stop::setting(
                "DATABASE_URL",
                "is not set: it names the Postgres database of this service",
            ));
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.database_url.starts_with(scheme)) {
            return Err(Stop::setting("DATABASE_URL", "does not begin with postgres://"));
        }
        if node::nodes(&self.database_url).is_err() {
            return Err(Stop::setting(
                "DATABASE_URL",
                "is not an address such as postgres://user@host:5432/name or, of several servers, \
                 postgres://user@one:5432,two:5432/name",
            ));
        }
        if verb == Verb::Migrate {
            return Ok(());
        }
        if is_empty(&self.kafka_bootstrap_servers) {
            return Err(Stop::setting("KAFKA_BOOTSTRAP_SERVERS", "is not set: it names the Kafka brokers"));
        }
        if self.http_addr == self.admin_addr && self.http_addr.port() != 0 {
            return Err(Stop::setting("ADMIN_ADDR", "is the same as HTTP_ADDR"));
        }
        let fits = self.instance_id.len() <= INSTANCE_ID_CHARS_MAX
            && self.instance_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !fits {
            let wrong = format!("is not 1 to {INSTANCE_ID_CHARS_MAX} of A-Z a-z 0-9 . _ -");
            return Err(Stop::setting("INSTANCE_ID", wrong));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.rust_log) {
            return Err(Stop::setting("RUST_LOG", format!("cannot be read: {error}")));
        }
        Ok(())
    }
}

/// Clap names the flag, whose name is that of the variable in lower case. A bad value is bad configuration
/// wherever it came from; a flag that does not exist is a mistake at the prompt.
fn of_clap(error: clap::Error) -> Stop {
    let exit_code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::MissingRequiredArgument => {
            EXIT_BAD_CONFIGURATION
        }
        _ => EXIT_USAGE,
    };
    Stop { exit_code, text: error.render().to_string() }
}

fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(["production", "development"]).map(|text| match text.as_str() {
        "development" => Mode::Development,
        _ => Mode::Production,
    })
}

/// The content of a file without the line end that editors add.
fn secret(name: &str, path: &str) -> Result<String, Stop> {
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::setting(name, format!("names {path}, which cannot be read: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: Process = Process {
        name: "test-service",
        about: "Tests settings",
        http_addr: "127.0.0.1:8081",
        admin_addr: "127.0.0.1:9081",
    };

    #[derive(Debug, Args)]
    struct Extra {
        /// How long.
        #[arg(long, default_value = "15m", value_parser = duration::parse)]
        order_deadline: Duration,
    }

    fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Parsed<Extra>, Stop> {
        let arguments = std::iter::once("test-service").chain(arguments.iter().copied());
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse_from(&PROCESS, arguments, environment.collect())
    }

    const ENOUGH: [&str; 4] =
        ["--kafka-bootstrap-servers", "127.0.0.1:9092", "--database-url", "postgres://u@127.0.0.1/orders"];

    #[test]
    fn two_servers_are_enough_to_serve() {
        let Parsed { verb, settings, extra } =
            parsed(&ENOUGH, &[("KAFKA_CONFIG_SSL_CA_LOCATION", "ca.pem")]).unwrap();
        assert_eq!((verb, settings.fulfil_mode), (Verb::Serve, Mode::Production));
        assert_eq!((settings.http_addr.port(), settings.admin_addr.port()), (8081, 9081));
        assert!(settings.instance_id.ends_with("-8081"), "{}", settings.instance_id);
        assert_eq!(settings.kafka_config, [("KAFKA_CONFIG_SSL_CA_LOCATION".to_owned(), "ca.pem".to_owned())]);
        assert_eq!(extra.order_deadline, Duration::from_secs(900));
    }

    #[test]
    fn flags_stand_before_and_after_the_verb() {
        let after = parsed(
            &["migrate", "--database-url", "postgres://u@127.0.0.1/orders", "--order-deadline", "5m"],
            &[],
        )
        .unwrap();
        assert_eq!((after.verb, after.extra.order_deadline), (Verb::Migrate, Duration::from_secs(300)));
        let before = parsed(&["--admin-addr", "127.0.0.1:1", "healthcheck"], &[]).unwrap();
        assert_eq!((before.verb, before.settings.admin_addr.port()), (Verb::Healthcheck, 1));
    }

    #[test]
    fn a_bad_setting_is_named_and_exits_78() {
        type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);
        let cases: [Case; 9] = [
            (&[], &[], "DATABASE_URL"),
            (&["--database-url", "mysql://secret"], &[], "DATABASE_URL"),
            (&["--database-url", "postgres://u@h/n"], &[], "KAFKA_BOOTSTRAP_SERVERS"),
            (&["--http-addr", "8081"], &[], "HTTP_ADDR"),
            (&["--fulfil-mode", "prod"], &[], "FULFIL_MODE"),
            (&["--order-deadline", "15"], &[], "ORDER_DEADLINE"),
            (&["--instance-id", "a b"], &[], "INSTANCE_ID"),
            (&["--log-format", "xml"], &[], "LOG_FORMAT"),
            (&[], &[("DATABASE_URL_FILE", "/nowhere")], "DATABASE_URL_FILE"),
        ];
        for (arguments, environment, name) in cases {
            let mut arguments = arguments.to_vec();
            if !["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL_FILE"].contains(&name) {
                arguments.extend(ENOUGH);
            }
            let stop = parsed(&arguments, environment).unwrap_err();
            assert_eq!(stop.exit_code, EXIT_BAD_CONFIGURATION, "{name}: {stop}");
            assert!(stop.text.contains(name), "{name}: {stop}");
            assert!(!stop.text.contains("secret"), "{stop}");
        }
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn a_collector_that_cannot_be_is_named_and_exits_78() {
        for flag in ["--otel-exporter-otlp-endpoint", "--otel-exporter-otlp-traces-endpoint"] {
            let stop = parsed(&[&ENOUGH[..], &[flag, "127.0.0.1:4318"]].concat(), &[]).unwrap_err();
            assert_eq!(stop.exit_code, EXIT_BAD_CONFIGURATION, "{stop}");
            let name = flag.trim_start_matches("--").replace('-', "_").to_uppercase();
            assert!(stop.text.contains(&name), "{stop}");
        }
        let none = parsed(&ENOUGH, &[]).unwrap().settings.otel_exporter_otlp_endpoint;
        assert_eq!(none, "");
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "postgres://u:p@127.0.0.1/orders\n").unwrap();
        let path = file.path().to_str().unwrap();
        let settings = parsed(&ENOUGH[..2], &[("DATABASE_URL_FILE", path)]).unwrap().settings;
        assert_eq!(settings.database_url, "postgres://u:p@127.0.0.1/orders");
        let both = parsed(&ENOUGH, &[("DATABASE_URL_FILE", path)]).unwrap_err();
        assert_eq!(both.exit_code, EXIT_BAD_CONFIGURATION);
    }

    #[test]
    fn a_flag_that_does_not_exist_is_a_usage_error_and_help_is_not_an_error() {
        assert_eq!(parsed(&["--nope"], &[]).unwrap_err().exit_code, EXIT_USAGE);
        let help = parsed(&["--help"], &[]).unwrap_err();
        assert_eq!(help.exit_code, 0);
        for name in
            ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "127.0.0.1:8081", "KAFKA_CONFIG_<NAME>", "migrate"]
        {
            assert!(help.text.contains(name), "{name} is missing in\n{help}");
        }
    }
}
