//! Where everything of a folder is, without asking whether it runs: other commands start from this.

use std::path::Path;

use super::{services, state};

#[derive(Clone, Debug)]
pub struct Addresses {
    pub kafka: String,
    /// `None` with servers only.
    pub provider: Option<String>,
    pub services: Vec<ServiceAddresses>,
}

#[derive(Clone, Debug)]
pub struct ServiceAddresses {
    pub name: String,
    pub replica: u16,
    pub http: String,
    pub admin: String,
    pub database: String,
}

/// `None` where nothing was ever started in this folder.
pub fn addresses(folder: &Path) -> anyhow::Result<Option<Addresses>> {
    let Some(state) = state::load(folder)? else { return Ok(None) };
    let mut all = Vec::with_capacity(state.services.len());
    // Those that run first: whoever wants one replica takes the first.
    let mut services: Vec<_> = state.services.iter().collect();
    services
        .sort_by_key(|service| (!service.process.is_some_and(|process| process.is_alive()), service.replica));
    for service in services {
        all.push(ServiceAddresses {
            name: service.name.clone(),
            replica: service.replica,
            http: services::http_url(service),
            admin: services::admin_url(service),
            database: services::database_url(&state, &service.name)?,
        });
    }
    Ok(Some(Addresses {
        kafka: state.kafka.bootstrap.clone(),
        provider: state.provider.as_ref().map(services::provider_url),
        services: all,
    }))
}
