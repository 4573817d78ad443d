//! What a system stores, in bytes: each database as Postgres counts it, and the topics as they lie on the brokers'
//! disks.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use shared::{contract::topics::Topic, log};
use sqlx::Connection;

use crate::dev::{self, ServerRole, Status};

pub(super) const TOPICS: &str = "topics";

/// Bytes by service, and of all topics of the contract together (each replica of a partition counts).
pub(super) async fn stored(
    dir: &Path,
    status: &Status,
    databases: &[(String, String)],
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut stored = BTreeMap::new();
    for (service, url) in databases {
        let mut connection = log::connect::connect(url, "fulfil load").await?;
        let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(&mut connection)
            .await
            .with_context(|| format!("the size of the database of {service}"))?;
        connection.close().await?;
        stored.insert(service.clone(), bytes.unsigned_abs());
    }
    let brokers = status.servers.iter().filter(|server| server.role == ServerRole::Broker);
    stored.insert(TOPICS.to_owned(), brokers.map(|broker| segments(&dev::data_of(dir, &broker.name))).sum());
    Ok(stored)
}

/// The records alone: indexes are made larger than they are.
fn segments(data: &Path) -> u64 {
    let of_a_topic =
        |name: &str| name.rsplit_once('-').is_some_and(|(topic, _)| Topic::parse(topic).is_some());
    let partitions = fs::read_dir(data).into_iter().flatten().flatten();
    let partitions = partitions.filter(|folder| folder.file_name().to_str().is_some_and(of_a_topic));
    let files = partitions.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
    segments.filter_map(|segment| Some(segment.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_records_of_our_topics_count() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("orders.events-0/0.log", 100),
            ("orders.events-1/0.log", 20),
            ("orders.events-1/0.index", 5_000),
            ("__consumer_offsets-0/0.log", 7_000),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        }
        assert_eq!(segments(folder.path()), 120);
    }
}
