//! The four services and the payment provider as processes: what each is told, and when it is ready.

use std::{
    collections::BTreeMap,
    env,
    path::{self, Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{
    postgres,
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    state::{Folder, Provider, Service, State},
};
use crate::exit::{Exit, ended};

/// Longer than a service gives itself to finish what it has begun.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_secs(2);
pub(crate) const PROVIDER_PORT: u16 = 8084;
pub(crate) const PROVIDER_SETTING: &str = "PAYMENT_PROVIDER";

/// What `dev` knows of a service before it runs. Only replica 0 gets these ports. The database's role has its name.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) name: &'static str,
    pub(crate) database: &'static str,
    pub(crate) http_port: u16,
    pub(crate) admin_port: u16,
}

pub(crate) const SERVICES: [Blueprint; 4] = [
    blueprint("order-service", "order_service", 8081, 9081),
    blueprint("inventory-service", "inventory_service", 8082, 9082),
    blueprint("payment-service", "payment_service", 8083, 9083),
    blueprint("projector", "projector", 8080, 9080),
];

const fn blueprint(name: &'static str, database: &'static str, http_port: u16, admin_port: u16) -> Blueprint {
    Blueprint { name, database, http_port, admin_port }
}

pub(crate) fn database_url(state: &State, service: &str) -> anyhow::Result<String> {
    let blueprint = SERVICES.iter().find(|blueprint| blueprint.name == service);
    let blueprint = blueprint.with_context(|| format!("there is no service {service}"))?;
    Ok(postgres::url(state, blueprint.database))
}

pub(crate) fn spawn_provider(
    provider: &Provider,
    environment: &BTreeMap<String, String>,
    folder: &Folder,
) -> anyhow::Result<Process> {
    let mut command = Command::new(program("fulfil")?);
    command.args(["dev", "provider", "--addr", &format!("127.0.0.1:{}", provider.port)]);
    command.arg("--books").arg(folder.path().join("provider"));
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info");
    }
    command.envs(environment);
    Process::spawn(&mut command, &folder.log("provider"))
}

pub(crate) async fn wait_for_provider(
    provider: &Provider,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let url = provider_url(provider);
    let records = format!("{url}/records");
    let log = folder.log("provider");
    wait_until("the payment provider", provider.process, &log, progress, || answers_ok(records.clone()))
        .await?;
    progress.done(&format!("payment provider at {url}"), since);
    Ok(())
}

pub(crate) async fn migrate(service: &Blueprint, state: &State, folder: &Folder) -> anyhow::Result<()> {
    migrate_by(&program(service.name)?, service.name, state, folder).await
}

/// By another build of the service.
pub(crate) async fn migrate_by(
    program: &Path,
    service: &str,
    state: &State,
    folder: &Folder,
) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.arg("migrate").envs(&state.environment);
    command.env("DATABASE_URL", database_url(state, service)?);
    run_to_end(&mut command, &folder.log(service))
        .await
        .with_context(|| format!("the database of {service} could not be brought up to date"))
}

pub(crate) fn spawn(service: &Service, state: &State, folder: &Folder) -> anyhow::Result<Process> {
    let mut command = Command::new(program_of(service)?);
    command.envs(settings(service, state)?);
    Process::spawn(&mut command, &log(service, folder.path()))
}

pub(crate) async fn wait_until_ready(
    service: &Service,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let name = instance(service);
    let readyz = format!("{}/readyz", admin_url(service));
    let log = log(service, folder.path());
    wait_until(&name, service.process, &log, progress, || answers_ok(readyz.clone())).await?;
    progress.done(&format!("{name} at {}", http_url(service)), since);
    Ok(())
}

pub(crate) async fn stop(process: Process) -> anyhow::Result<()> {
    process.stop(Signal::SIGTERM, STOP_LIMIT).await?;
    Ok(())
}

/// True where it says so itself right now.
pub(crate) async fn is_ready(service: &Service) -> bool {
    answers_ok(format!("{}/readyz", admin_url(service))).await.is_ok()
}

pub(crate) fn provider_url(provider: &Provider) -> String {
    format!("http://127.0.0.1:{}", provider.port)
}

pub(crate) fn http_url(service: &Service) -> String {
    format!("http://127.0.0.1:{}", service.http_port)
}

pub(crate) fn admin_url(service: &Service) -> String {
    format!("http://127.0.0.1:{}", service.admin_port)
}

pub(crate) fn log(service: &Service, folder: &Path) -> PathBuf {
    let name = match service.replica {
        0 => service.name.clone(),
        replica => format!("{}-{replica}", service.name),
    };
    super::state::log(folder, &name)
}

fn instance(service: &Service) -> String {
    match service.replica {
        0 => service.name.clone(),
        replica => format!("{} (replica {replica})", service.name),
    }
}

/// Set for each process anew, so nobody else can.
pub(super) const OURS: [&str; 5] =
    ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "HTTP_ADDR", "ADMIN_ADDR", "INSTANCE_ID"];

/// Of which the projector shows what their loops say.
const ADMINS_SETTING: &str = "SERVICE_ADMIN_URLS";

/// What is asked for goes before our defaults: another mode, another payment provider.
fn settings(service: &Service, state: &State) -> anyhow::Result<BTreeMap<String, String>> {
    let defaults = [("LOG_FORMAT", "text"), ("FULFIL_MODE", "development")];
    let mut settings: BTreeMap<_, _> =
        defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let provider =
        state.provider.as_ref().map(|provider| (PROVIDER_SETTING.to_owned(), provider_url(provider)));
    settings.extend(provider);
    if service.name == "projector" {
        let admins: Vec<String> = state.services.iter().map(admin_url).collect();
        settings.insert(ADMINS_SETTING.to_owned(), admins.join(","));
    }
    settings.extend(state.environment.clone());
    let ours = [
        state.kafka.bootstrap.clone(),
        database_url(&through(state), &service.name)?,
        format!("127.0.0.1:{}", service.http_port),
        format!("127.0.0.1:{}", service.admin_port),
        format!("{}-{}", service.name, service.replica),
    ];
    settings.extend(OURS.map(str::to_owned).into_iter().zip(ours));
    Ok(settings)
}

/// The same with the address at which services find Postgres.
fn through(state: &State) -> State {
    let mut state = state.clone();
    state.postgres.port = state.postgres.through.unwrap_or(state.postgres.port);
    state
}

/// Of the build that the service runs of.
pub(crate) fn program_of(service: &Service) -> anyhow::Result<PathBuf> {
    let Some(folder) = &service.programs else { return program(&service.name) };
    let path = folder.join(&service.name);
    if path.is_file() {
        return Ok(path);
    }
    let text = format!("there is no program {}: name another folder with --programs", path.display());
    Err(ended(Exit::NotFound, text))
}

/// As it is remembered: `None` is the one beside us.
pub(crate) fn other_build(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let folder = path::absolute(folder)?;
    let ours = program("fulfil").and_then(|ours| Ok(ours.canonicalize()?)).ok();
    let is_ours = ours.is_some() && folder.join("fulfil").canonicalize().ok() == ours;
    Ok((!is_ours).then_some(folder))
}

/// The binaries lie side by side in the target folder, the tests of a crate one folder below.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let us = env::current_exe()?;
    let beside = us.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    match beside.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("the program {name} is not beside {}: cargo build --workspace --bins", us.display()),
    }
}

async fn answers_ok(url: String) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PROBE_LIMIT)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client.get(&url).send().await.map_err(|_| "no answer yet".to_owned())?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let said = answer.text().await.unwrap_or_default();
    Err(format!("{status} {}", said.chars().take(200).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_goes_before_our_defaults_and_not_before_our_addresses() {
        let service = Service {
            name: "order-service".to_owned(),
            replica: 0,
            http_port: 1,
            admin_port: 2,
            programs: None,
            process: None,
        };
        let mut state = State::default();
        assert_eq!(settings(&service, &state).unwrap()["FULFIL_MODE"], "development");
        let asked = [("FULFIL_MODE", "production"), ("HTTP_ADDR", "127.0.0.1:3")];
        state.environment = asked.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = settings(&service, &state).unwrap();
        assert_eq!(settings["FULFIL_MODE"], "production");
        assert_eq!(settings["HTTP_ADDR"], "127.0.0.1:1");
    }
}
