//! One process again: stopped if it runs, started either way.

use std::path::Path;

use super::{
    kafka, nothing_in, postgres,
    progress::Progress,
    services, standby,
    state::{Folder, State},
    status::{self, Status},
    up::start_provider,
};
use crate::exit::{Exit, ended};

/// `name` is a service, `provider` or a server as the status names it; `replica` and `programs` count for services only.
/// `programs` is the folder of another build of the service, of which it runs until another is named.
///
/// # Errors
/// As `up`. Where the new process fails, the old one is gone.
pub async fn restart(
    dir: &Path,
    name: &str,
    replica: u16,
    programs: Option<&Path>,
    progress: bool,
) -> anyhow::Result<Status> {
    let folder = Folder::open_known(dir)?.ok_or_else(|| nothing_in(dir))?;
    let mut state = folder.load()?;
    let progress = Progress::new(progress);
    let restarted = match name {
        name if programs.is_some() && is_no_service(&state, name) => {
            Err(ended(Exit::Usage, format!("only a service has another build, and {name} is none")))
        }
        "provider" => restart_provider(&mut state, &folder, &progress).await,
        name if name == state.postgres.name => restart_postgres(&mut state, &folder, &progress).await,
        name if state.standby.as_ref().is_some_and(|standby| standby.name == name) => {
            restart_standby(&mut state, &folder, &progress).await
        }
        name => match state.kafka.nodes.iter().position(|node| node.name == name) {
            Some(index) => restart_kafka(&mut state, index, &folder, &progress).await,
            None => restart_service(&mut state, name, replica, programs, &folder, &progress).await,
        },
    };
    progress.finish();
    folder.save(&state)?;
    restarted?;
    status::of(&state, folder.path()).await
}

fn is_no_service(state: &State, name: &str) -> bool {
    let servers = [&state.postgres].into_iter().chain(&state.standby).map(|server| &server.name);
    let nodes = state.kafka.nodes.iter().map(|node| &node.name);
    name == "provider" || nodes.chain(servers).any(|known| known == name)
}

async fn restart_kafka(
    state: &mut State,
    index: usize,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    if let Some(process) = state.kafka.nodes[index].process.take() {
        kafka::stop(process, kafka::is_cluster(&state.kafka), false).await?;
    }
    state.kafka.nodes[index].process = Some(kafka::spawn(&state.kafka, index, folder, progress).await?);
    folder.save(state)?;
    kafka::wait_until_ready(&state.kafka, index, folder, progress).await
}

async fn restart_postgres(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    if let Some(process) = state.postgres.process.take() {
        postgres::stop(process, false).await?;
    }
    state.postgres.process = Some(postgres::spawn(&state.postgres, folder, progress).await?);
    folder.save(state)?;
    postgres::wait_until_ready(&state.postgres, folder, progress).await
}

async fn restart_standby(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let State { postgres, standby, .. } = state;
    let Some(server) = standby else { return Ok(()) };
    if let Some(process) = server.process.take() {
        postgres::stop(process, false).await?;
    }
    server.process = Some(standby::spawn(server, postgres, folder, progress).await?);
    folder.save(state)?;
    let State { postgres, standby: Some(standby), .. } = state else { return Ok(()) };
    standby::wait_until_ready(standby, postgres, folder, progress).await
}

async fn restart_provider(state: &mut State, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let Some(provider) = state.provider.as_mut() else { return Err(absent("provider", state, folder)) };
    if let Some(process) = provider.process.take() {
        services::stop(process).await?;
    }
    start_provider(state, folder, progress).await
}

async fn restart_service(
    state: &mut State,
    name: &str,
    replica: u16,
    programs: Option<&Path>,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let position = state.services.iter().position(|known| known.name == name && known.replica == replica);
    let Some(position) = position else {
        return Err(absent(&format!("{name} {replica}"), state, folder));
    };
    let mut next = state.services[position].clone();
    if let Some(programs) = programs {
        next.programs = services::other_build(programs)?;
    }
    // Before anything is stopped: a build that is not there or cannot migrate must cost nobody his service.
    let program = services::program_of(&next)?;
    if programs.is_some() {
        progress.waiting_for("the migrations");
        services::migrate_by(&program, name, state, folder).await?;
    }
    state.services[position].programs = next.programs;
    if let Some(process) = state.services[position].process.take() {
        services::stop(process).await?;
    }
    let process = services::spawn(&state.services[position], state, folder)?;
    state.services[position].process = Some(process);
    // Before it is waited for: whoever is stopped meanwhile must leave nothing running that nobody knows.
    folder.save(state)?;
    services::wait_until_ready(&state.services[position], folder, progress).await
}

fn absent(name: &str, state: &State, folder: &Folder) -> anyhow::Error {
    let mut known: Vec<String> = state.kafka.nodes.iter().map(|node| node.name.clone()).collect();
    known.extend([&state.postgres].into_iter().chain(&state.standby).map(|server| server.name.clone()));
    known.extend(state.provider.as_ref().map(|_| "provider".to_owned()));
    known.extend(state.services.iter().map(|service| format!("{} {}", service.name, service.replica)));
    let folder = folder.path().display();
    ended(Exit::NotFound, format!("there is no {name} in {folder}, but {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dev::state::{Kafka, Node, Postgres, Service},
        exit,
    };

    #[tokio::test]
    async fn what_is_not_there_is_not_found_and_what_is_there_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new");
        for name in ["nosuch", "kafka"] {
            let error = restart(&dir, name, 0, None, false).await.unwrap_err();
            assert_eq!(exit::of(&error), Exit::NotFound);
            assert!(!dir.exists(), "nothing is made for {name}");
        }
        let name = "order-service".to_owned();
        let service =
            Service { name, replica: 1, http_port: 1, admin_port: 2, programs: None, process: None };
        let kafka =
            Kafka { nodes: vec![Node { name: "kafka".to_owned(), ..Node::default() }], ..Kafka::default() };
        let postgres = Postgres { name: "postgres".to_owned(), ..Postgres::default() };
        let state = State { kafka, postgres, services: vec![service], ..State::default() };
        Folder::open(&dir).unwrap().save(&state).unwrap();
        for (name, replica) in [("nosuch", 1), ("order-service", 0), ("provider", 0)] {
            let error = restart(&dir, name, replica, None, false).await.unwrap_err();
            assert_eq!(exit::of(&error), Exit::NotFound, "{name}");
            assert!(error.to_string().ends_with("but kafka, postgres, order-service 1"), "{error}");
        }
        let error = restart(&dir, "kafka", 0, Some(&dir), false).await.unwrap_err();
        assert_eq!(exit::of(&error), Exit::Usage);
        let elsewhere = parent.path().join("no-build");
        let error = restart(&dir, "order-service", 1, Some(&elsewhere), false).await.unwrap_err();
        assert_eq!(exit::of(&error), Exit::NotFound);
        let said = error.to_string();
        assert!(said.contains("no-build/order-service") && said.ends_with("--programs"), "{said}");
    }
}
