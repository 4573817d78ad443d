//! Which servers and services there shall be, and at which addresses. Starts nothing.

use anyhow::bail;

use super::{
    ports::{FreePorts, Ports},
    process::Process,
    services::{PROVIDER_PORT, SERVICES},
    state::{Provider, Service, State},
    up::Options,
};

const KAFKA_PORT: u16 = 9092;
const CONTROLLER_PORT: u16 = 9093;
/// Not 5432, where the distribution's own Postgres would be.
const POSTGRES_PORT: u16 = 5433;

/// Adds what is asked for and not known yet, and gives everything that does not run an address it can have: the one it
/// had, else the fixed one, else any.
pub(crate) fn plan(state: &mut State, options: &Options) -> anyhow::Result<()> {
    if !options.servers_only {
        state.provider.get_or_insert(Provider { port: 0, process: None });
        add_services(state, options.replicas);
    }
    let ports = options.ports;
    let mut free = FreePorts::default();
    let kafka = &mut state.kafka;
    if !lives(kafka.process) {
        kafka.port = choose("Kafka", kafka.port, Some(KAFKA_PORT), ports, &mut free)?;
        let controller =
            choose("Kafka's controller", kafka.controller_port, Some(CONTROLLER_PORT), ports, &mut free)?;
        kafka.controller_port = controller;
        kafka.bootstrap = format!("127.0.0.1:{}", kafka.port);
    }
    let postgres = &mut state.postgres;
    if !lives(postgres.process) {
        postgres.host = "127.0.0.1".to_owned();
        postgres.port = choose("Postgres", postgres.port, Some(POSTGRES_PORT), ports, &mut free)?;
    }
    if options.servers_only {
        return Ok(());
    }
    if let Some(provider) = state.provider.as_mut()
        && !lives(provider.process)
    {
        provider.port = choose("the payment provider", provider.port, Some(PROVIDER_PORT), ports, &mut free)?;
    }
    for service in state.services.iter_mut().filter(|service| !lives(service.process)) {
        let blueprint =
            SERVICES.iter().find(|blueprint| blueprint.name == service.name && service.replica == 0);
        let http = blueprint.map(|blueprint| blueprint.http_port);
        let admin = blueprint.map(|blueprint| blueprint.admin_port);
        service.http_port = choose(&service.name, service.http_port, http, ports, &mut free)?;
        service.admin_port = choose(&service.name, service.admin_port, admin, ports, &mut free)?;
    }
    Ok(())
}

fn add_services(state: &mut State, replicas: Option<u16>) {
    let before = state.services.iter().map(|service| service.replica + 1).max().unwrap_or(1);
    for replica in 0..replicas.unwrap_or(before) {
        for blueprint in &SERVICES {
            if !state.services.iter().any(|known| known.name == blueprint.name && known.replica == replica) {
                let name = blueprint.name.to_owned();
                state.services.push(Service { name, replica, http_port: 0, admin_port: 0, process: None });
            }
        }
    }
}

fn choose(
    what: &str,
    before: u16,
    fixed: Option<u16>,
    ports: Ports,
    free: &mut FreePorts,
) -> anyhow::Result<u16> {
    let wanted = match (before, ports) {
        (0, Ports::Auto) => None,
        (0, Ports::Fixed) => fixed,
        (before, _) => Some(before),
    };
    match wanted {
        Some(port) if free.reserve(port) => Ok(port),
        Some(port) if ports == Ports::Fixed => {
            bail!("port {port}, for {what}, is taken by another program: stop that one, or use --ports auto")
        }
        _ => free.any(),
    }
}

fn lives(process: Option<Process>) -> bool {
    process.is_some_and(Process::is_alive)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn options(ports: Ports, replicas: Option<u16>) -> Options {
        Options { ports, replicas, ..Options::default() }
    }

    #[test]
    fn addresses_and_replicas_stay_from_one_up_to_the_next() {
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, Some(2))).unwrap();
        assert_eq!(state.services.len(), 8);
        let first = state.clone();
        plan(&mut state, &options(Ports::Fixed, None)).unwrap();
        assert_eq!(state, first);
    }

    #[test]
    fn a_taken_port_is_named_and_with_auto_another_is_found() {
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        let taken = state.kafka.port;
        let _other_program = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        let refusal = plan(&mut state, &options(Ports::Fixed, None)).unwrap_err().to_string();
        assert!(refusal.contains(&taken.to_string()) && refusal.contains("Kafka"), "{refusal}");
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        assert_ne!(state.kafka.port, taken);
        assert_eq!(state.kafka.bootstrap, format!("127.0.0.1:{}", state.kafka.port));
    }

    #[test]
    fn servers_only_has_no_services() {
        let mut state = State::default();
        plan(&mut state, &Options { servers_only: true, ..options(Ports::Auto, None) }).unwrap();
        assert!(state.services.is_empty() && state.provider.is_none());
        assert!(state.kafka.port > 0 && state.postgres.port > 0);
    }
}
