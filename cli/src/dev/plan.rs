//! Which servers and services there shall be, and at which addresses. Starts nothing.

use anyhow::bail;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{
    kafka,
    ports::{FreePorts, Ports},
    process::Process,
    services::{PROVIDER_PORT, PROVIDER_SETTING, SERVICES},
    state::{Kafka, Node, Postgres, Provider, Service, State},
    up::Options,
};
use crate::exit::{Exit, ended};

/// Of the first node, and its controller's the one above; then the next node's.
const KAFKA_PORT: u16 = 9092;
/// Not 5432, where the distribution's own Postgres would be.
const POSTGRES_PORT: u16 = 5433;
const STANDBY_PORT: u16 = 5434;
const HOST: &str = "127.0.0.1";
/// The fewest of which one can be away.
const CLUSTER_NODES: usize = 3;

/// Adds what is asked for and not known yet, and gives everything that does not run an address it can have: the one it
/// had, else the fixed one, else any. Nobody else is given them while what it returns is kept.
pub(crate) fn plan(state: &mut State, options: &Options) -> anyhow::Result<FreePorts> {
    if !options.servers_only {
        add_provider(state)?;
        add_services(state, options.replicas);
    }
    add_servers(state, options.cluster)?;
    let ports = options.ports;
    let mut free = FreePorts::default();
    plan_brokers(&mut state.kafka, ports, &mut free)?;
    for (server, fixed) in
        [&mut state.postgres].into_iter().chain(&mut state.standby).zip([POSTGRES_PORT, STANDBY_PORT])
    {
        if !lives(server.process) {
            server.port = choose("Postgres", server.port, Some(fixed), ports, &mut free)?;
        }
    }
    if options.servers_only {
        return Ok(free);
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
    Ok(free)
}

/// Ours, unless a setting names another.
fn add_provider(state: &mut State) -> anyhow::Result<()> {
    if !state.environment.contains_key(PROVIDER_SETTING) {
        state.provider.get_or_insert(Provider { port: 0, process: None });
    } else if state.provider.as_ref().is_some_and(|provider| lives(provider.process)) {
        let text = format!(
            "{PROVIDER_SETTING} names another payment provider, and ours runs: fulfil dev down first"
        );
        return Err(ended(Exit::Refused, text));
    } else {
        state.provider = None;
    }
    Ok(())
}

fn add_servers(state: &mut State, is_cluster: bool) -> anyhow::Result<()> {
    let State { kafka, postgres, standby, .. } = state;
    if is_cluster && !kafka.nodes.is_empty() && !kafka::is_cluster(kafka) {
        let text = "there is a single broker in this folder, and what it has is on no other: a cluster begins in a \
                    folder of its own (--dir), or after fulfil dev down --wipe";
        return Err(ended(Exit::Refused, text));
    }
    if !kafka.nodes.is_empty() {
        return Ok(());
    }
    kafka.cluster_id = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
    let named = |name: &str, number: usize| match is_cluster {
        true => format!("{name}-{number}"),
        false => name.to_owned(),
    };
    let nodes = if is_cluster { CLUSTER_NODES } else { 1 };
    kafka.nodes =
        (1..=nodes).map(|number| Node { name: named("kafka", number), ..Node::default() }).collect();
    let server =
        |number| Postgres { name: named("postgres", number), host: HOST.to_owned(), ..Postgres::default() };
    *postgres = Postgres { through: postgres.through, ..server(1) };
    *standby = is_cluster.then(|| server(2));
    Ok(())
}

fn plan_brokers(kafka: &mut Kafka, ports: Ports, free: &mut FreePorts) -> anyhow::Result<()> {
    // Those that run know the others by their ports.
    let ports = if kafka.nodes.iter().any(|node| lives(node.process)) { Ports::Fixed } else { ports };
    for (index, node) in kafka.nodes.iter_mut().enumerate().filter(|(_, node)| !lives(node.process)) {
        let fixed = KAFKA_PORT + 2 * index as u16;
        node.port = choose("Kafka", node.port, Some(fixed), ports, free)?;
        let controller = choose("Kafka's controller", node.controller_port, Some(fixed + 1), ports, free)?;
        node.controller_port = controller;
    }
    kafka.bootstrap = kafka.nodes.iter().map(kafka::address).collect::<Vec<_>>().join(",");
    Ok(())
}

fn add_services(state: &mut State, replicas: Option<u16>) {
    let before = state.services.iter().map(|service| service.replica + 1).max().unwrap_or(1);
    for replica in 0..replicas.unwrap_or(before) {
        for blueprint in &SERVICES {
            if !state.services.iter().any(|known| known.name == blueprint.name && known.replica == replica) {
                let name = blueprint.name.to_owned();
                state.services.push(Service {
                    name,
                    replica,
                    http_port: 0,
                    admin_port: 0,
                    programs: None,
                    process: None,
                });
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
        Some(port) if free.reserve_soon(port) => Ok(port),
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
    use super::*;
    use crate::dev::ports::tests::{alone, listen};

    fn options(ports: Ports, replicas: Option<u16>) -> Options {
        Options { ports, replicas, ..Options::default() }
    }

    #[test]
    fn addresses_and_replicas_stay_from_one_up_to_the_next() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, Some(2))).unwrap();
        assert_eq!(state.services.len(), 8);
        let first = state.clone();
        plan(&mut state, &options(Ports::Fixed, None)).unwrap();
        assert_eq!(state, first);
    }

    #[test]
    fn a_taken_port_is_named_and_with_auto_another_is_found() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        let taken = state.kafka.nodes[0].port;
        let _other_program = listen(taken);
        let refusal = plan(&mut state, &options(Ports::Fixed, None)).unwrap_err().to_string();
        assert!(refusal.contains(&taken.to_string()) && refusal.contains("Kafka"), "{refusal}");
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        let [node] = &state.kafka.nodes[..] else { panic!("{:?}", state.kafka) };
        assert_ne!(node.port, taken);
        assert_eq!(state.kafka.bootstrap, format!("127.0.0.1:{}", node.port));
    }

    #[test]
    fn a_provider_that_a_setting_names_takes_the_place_of_ours() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        assert!(state.provider.is_some());
        state.environment.insert(PROVIDER_SETTING.to_owned(), "simulated".to_owned());
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        assert_eq!(state.provider, None);
    }

    #[test]
    fn a_cluster_has_three_brokers_and_two_databases_servers_and_stays_one() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &Options { cluster: true, ..options(Ports::Auto, None) }).unwrap();
        let names: Vec<&str> = state.kafka.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["kafka-1", "kafka-2", "kafka-3"]);
        assert_eq!(state.kafka.bootstrap.split(',').count(), 3);
        let standby = state.standby.clone().unwrap();
        assert_eq!((state.postgres.name.as_str(), standby.name.as_str()), ("postgres-1", "postgres-2"));
        let first = state.clone();
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        assert_eq!(state, first, "also without being asked again");
    }

    #[test]
    fn a_single_broker_is_not_made_a_cluster() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &options(Ports::Auto, None)).unwrap();
        let refusal = plan(&mut state, &Options { cluster: true, ..options(Ports::Auto, None) }).unwrap_err();
        assert_eq!(crate::exit::of(&refusal), Exit::Refused, "{refusal}");
        assert!(state.standby.is_none());
    }

    #[test]
    fn servers_only_has_no_services() {
        let _alone = alone();
        let mut state = State::default();
        plan(&mut state, &Options { servers_only: true, ..options(Ports::Auto, None) }).unwrap();
        assert!(state.services.is_empty() && state.provider.is_none());
        assert!(state.kafka.nodes[0].port > 0 && state.postgres.port > 0);
    }
}
