//! Where the system is: flags and environment first, then the state of `fulfil dev` in its folder, then the
//! contract's ports.

use std::{env, path::PathBuf};

use clap::Args;
use shared::broker::BrokerSettings;

use crate::{
    dev,
    exit::{Exit, ended},
};

#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Kafka [default: that of the folder, else 127.0.0.1:9092]
    #[arg(
        short = 'b',
        long,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT",
        global = true,
        help_heading = "Where"
    )]
    brokers: Option<String>,
    /// The folder of `fulfil dev`, where addresses are looked up
    #[arg(
        long,
        env = "FULFIL_DIR",
        default_value = ".fulfil",
        value_name = "FOLDER",
        global = true,
        help_heading = "Where"
    )]
    dir: PathBuf,
    /// A client setting by its librdkafka name, as with kcat
    #[arg(short = 'X', long = "config", value_name = "NAME=VALUE", global = true, help_heading = "Where")]
    config: Vec<String>,
    #[arg(
        long,
        env = "FULFIL_ORDER_SERVICE",
        value_name = "URL",
        global = true,
        help_heading = "Where",
        hide_short_help = true
    )]
    order_service: Option<String>,
    #[arg(
        long,
        env = "FULFIL_INVENTORY_SERVICE",
        value_name = "URL",
        global = true,
        help_heading = "Where",
        hide_short_help = true
    )]
    inventory_service: Option<String>,
    #[arg(
        long,
        env = "FULFIL_PROJECTOR",
        value_name = "URL",
        global = true,
        help_heading = "Where",
        hide_short_help = true
    )]
    projector: Option<String>,
}

/// Addresses, all of them filled in.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
    pub broker: BrokerSettings,
    pub order_service: String,
    pub inventory_service: String,
    pub projector: String,
    /// What `fulfil dev` knows, where the folder is one of its.
    pub local: Option<dev::Addresses>,
}

/// The admin port of one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Admin {
    pub service: String,
    pub replica: u16,
    pub url: String,
}

/// By the contract.
const ADMIN_PORTS: [(&str, u16); 4] =
    [("order-service", 9081), ("inventory-service", 9082), ("payment-service", 9083), ("projector", 9080)];

impl Admin {
    pub fn name(&self) -> String {
        format!("{} {}", self.service, self.replica)
    }
}

impl Place {
    /// Of every process that should run.
    pub fn admins(&self) -> Vec<Admin> {
        let local = self.local.as_ref().map(|local| local.services.as_slice()).unwrap_or_default();
        let mut admins: Vec<Admin> = local
            .iter()
            .map(|service| Admin {
                service: service.name.clone(),
                replica: service.replica,
                url: service.admin.clone(),
            })
            .collect();
        if admins.is_empty() {
            admins.extend(ADMIN_PORTS.map(|(service, port)| Admin {
                service: service.to_owned(),
                replica: 0,
                url: format!("http://127.0.0.1:{port}"),
            }));
        }
        admins.sort();
        admins
    }
}

impl PlaceArgs {
    /// # Errors
    /// A client setting that is refused, or a state file of another version.
    pub fn resolve(&self) -> anyhow::Result<Place> {
        let local = dev::addresses(&self.dir)?;
        let known = |name: &str| {
            let services = local.as_ref().map(|local| local.services.as_slice()).unwrap_or_default();
            services.iter().find(|service| service.name == name).map(|service| service.http.clone())
        };
        let url = |given: &Option<String>, name: &str, port: u16| {
            let url =
                given.clone().or_else(|| known(name)).unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
            url.trim_end_matches('/').to_owned()
        };
        let bootstrap = self
            .brokers
            .clone()
            .or_else(|| local.as_ref().map(|local| local.kafka.clone()))
            .unwrap_or_else(|| "127.0.0.1:9092".to_owned());
        let mut overrides = Vec::with_capacity(self.config.len());
        for setting in &self.config {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                ended(
                    Exit::Usage,
                    format!("-X {setting:?} is not NAME=VALUE, such as -X socket.timeout.ms=5000"),
                )
            })?;
            overrides.push((name.to_owned(), value.to_owned()));
        }
        // Not `env::vars`, which panics on a variable of somebody else's that is not Unicode.
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Place {
            dir: self.dir.clone(),
            broker: BrokerSettings::new(bootstrap)
                .with_environment(environment)?
                .with_overrides(overrides)?,
            order_service: url(&self.order_service, "order-service", 8081),
            inventory_service: url(&self.inventory_service, "inventory-service", 8082),
            projector: url(&self.projector, "projector", 8080),
            local,
        })
    }
}
