//! What runs and where: the object of `fulfil dev status --json`, which tests and other tools read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    kafka, postgres,
    process::Process,
    services,
    state::{self, State},
};
use crate::output::{Column, Output, Tone};

/// A pid is `None` where the process does not run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The brokers' addresses.
    pub kafka: String,
    pub services: Vec<ServiceStatus>,
    /// Of the first broker.
    pub kafka_pid: Option<i32>,
    /// Of the primary.
    pub postgres_pid: Option<i32>,
    /// Of the primary, `host:port`; the roles need no password.
    pub postgres: String,
    /// Every broker and every Postgres server.
    #[serde(default)]
    pub servers: Vec<ServerStatus>,
    /// URL, where there is one (not with servers only).
    pub provider: Option<String>,
    pub provider_pid: Option<i32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    pub name: String,
    pub role: ServerRole,
    pub pid: Option<i32>,
    pub address: String,
    pub log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerRole {
    Broker,
    Primary,
    Standby,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub replica: u16,
    pub pid: Option<i32>,
    pub ready: bool,
    pub http: String,
    pub admin: String,
    pub database: String,
    pub log: String,
    /// The folder of another build that it runs of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<String>,
}

/// `None` where nothing was ever started in this folder.
pub async fn status(folder: &Path) -> anyhow::Result<Option<Status>> {
    let Some(state) = state::load(folder)? else { return Ok(None) };
    Ok(Some(of(&state, &folder.canonicalize()?).await?))
}

impl Status {
    pub fn anything_runs(&self) -> bool {
        let pids = self.services.iter().map(|service| service.pid);
        let servers = self.servers.iter().map(|server| server.pid);
        pids.chain(servers).chain([self.provider_pid]).any(|pid| pid.is_some())
    }

    pub fn server(&self, name: &str) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// One of several replicas; 0 is always there.
    pub fn service(&self, name: &str, replica: u16) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| service.name == name && service.replica == replica)
    }

    pub(super) fn show(&self, output: Output) -> anyhow::Result<()> {
        if output.json {
            return output.object(self);
        }
        let row = |name: &str, replica: &str, pid: Option<i32>, state, address: &str, log: &str| {
            let tone = match state {
                "stopped" => Tone::Bad,
                "not ready" => Tone::Warn,
                _ => Tone::Good,
            };
            let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let state = output.paint(tone, state);
            vec![name.to_owned(), replica.to_owned(), pid, state, address.to_owned(), log.to_owned()]
        };
        let server = |name: &str, pid: Option<i32>, running, address: &str, log: &str| {
            row(name, "", pid, if pid.is_some() { running } else { "stopped" }, address, log)
        };
        let has_standby = self.servers.iter().any(|server| server.role == ServerRole::Standby);
        let mut rows = Vec::new();
        rows.extend(self.servers.iter().map(|known| {
            let running = match known.role {
                ServerRole::Standby => "standby",
                ServerRole::Primary if has_standby => "primary",
                _ => "running",
            };
            server(&known.name, known.pid, running, &known.address, &known.log)
        }));
        let provider = self.provider.iter();
        rows.extend(provider.map(|url| server("provider", self.provider_pid, "running", url, "")));
        rows.extend(self.services.iter().map(|service| {
            let state = match (service.pid, service.ready) {
                (None, _) => "stopped",
                (Some(_), false) => "not ready",
                (Some(_), true) => "ready",
            };
            let replica = service.replica.to_string();
            row(&service.name, &replica, service.pid, state, &service.http, &service.log)
        }));
        let columns = [
            Column::Left("NAME"),
            Column::Right("REPLICA"),
            Column::Right("PID"),
            Column::Left("STATE"),
            Column::Left("ADDRESS"),
            Column::Left("LOG"),
        ];
        output.table(&columns, rows);
        for service in &self.services {
            if let Some(folder) = &service.programs {
                output.note(&format!("{} {} is another build, of {folder}", service.name, service.replica));
            }
        }
        Ok(())
    }
}

pub(crate) async fn of(state: &State, folder: &Path) -> anyhow::Result<Status> {
    let mut all = Vec::with_capacity(state.services.len());
    for service in &state.services {
        let pid = living(service.process);
        all.push(ServiceStatus {
            name: service.name.clone(),
            replica: service.replica,
            pid,
            ready: pid.is_some() && services::is_ready(service).await,
            http: services::http_url(service),
            admin: services::admin_url(service),
            database: services::database_url(state, &service.name)?,
            log: services::log(service, folder).display().to_string(),
            programs: service.programs.as_ref().map(|folder| folder.display().to_string()),
        });
    }
    Ok(Status {
        kafka: state.kafka.bootstrap.clone(),
        services: all,
        kafka_pid: state.kafka.nodes.first().and_then(|node| living(node.process)),
        postgres_pid: living(state.postgres.process),
        postgres: postgres::address(&state.postgres),
        servers: servers(state, folder),
        provider: state.provider.as_ref().map(services::provider_url),
        provider_pid: state.provider.as_ref().and_then(|provider| living(provider.process)),
    })
}

fn servers(state: &State, folder: &Path) -> Vec<ServerStatus> {
    let status = |name: &str, role, process, address| ServerStatus {
        name: name.to_owned(),
        role,
        pid: living(process),
        address,
        log: state::log(folder, name).display().to_string(),
    };
    let brokers = state.kafka.nodes.iter();
    let brokers =
        brokers.map(|node| status(&node.name, ServerRole::Broker, node.process, kafka::address(node)));
    let roles = [ServerRole::Primary, ServerRole::Standby];
    let databases = [&state.postgres].into_iter().chain(&state.standby).zip(roles);
    let databases =
        databases.map(|(server, role)| status(&server.name, role, server.process, postgres::address(server)));
    brokers.chain(databases).collect()
}

fn living(process: Option<Process>) -> Option<i32> {
    process.filter(|process| process.is_alive()).map(|process| process.pid)
}
