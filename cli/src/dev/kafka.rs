//! One Kafka node from plain jars: broker and controller in one process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    state::{Folder, Kafka},
};

/// Where `deploy/setup` put the jars, if not in `.servers/` of the checkout.
const SERVERS_VARIABLE: &str = "FULFIL_SERVERS";
const JAVA_OLDEST: u32 = 17;
const STOP_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// Formats its storage where there is none.
pub(crate) async fn spawn(kafka: &Kafka, folder: &Folder, progress: &Progress) -> anyhow::Result<Process> {
    let jars = jars()?;
    let home = folder.path().join("kafka");
    let log = folder.log("kafka");
    fs::create_dir_all(&home)?;
    let settings = home.join("server.properties");
    fs::write(&settings, properties(kafka, &home.join("data")))?;
    let java = java()?;
    if !home.join("data/meta.properties").exists() {
        progress.waiting_for("Kafka's storage");
        let cluster_id = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
        let mut format = Command::new(&java);
        format.arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(&jars);
        format.args(["kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"]).arg(&settings);
        run_to_end(&mut format, &log).await.context("Kafka's storage could not be formatted")?;
    }
    let mut server = Command::new(&java);
    server.args(["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"]);
    server.args([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
    ]);
    server.args(["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX"]);
    server.arg("-cp").arg(&jars).arg("kafka.Kafka").arg(&settings);
    Process::spawn(&mut server, &log)
}

pub(crate) async fn wait_until_ready(
    kafka: &Kafka,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let consumer = Arc::new(probing_consumer(&kafka.bootstrap)?);
    let log = folder.log("kafka");
    wait_until("Kafka", kafka.process, &log, progress, || answers(Arc::clone(&consumer))).await?;
    progress.done(&format!("Kafka at {}", kafka.bootstrap), since);
    Ok(())
}

/// With `wipe` its data is about to go, so nothing needs to be put in order first.
pub(crate) async fn stop(process: Process, wipe: bool) -> anyhow::Result<()> {
    let signal = if wipe { Signal::SIGKILL } else { Signal::SIGTERM };
    process.stop(signal, STOP_LIMIT).await?;
    Ok(())
}

fn properties(kafka: &Kafka, data: &Path) -> String {
    let Kafka { port, controller_port, bootstrap, .. } = kafka;
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://{bootstrap}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=false\n\
         log.cleaner.dedupe.buffer.size=16777216\n",
        data.display()
    )
}

fn probing_consumer(bootstrap: &str) -> anyhow::Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        // That it cannot connect yet is what we are waiting out.
        .set_log_level(RDKafkaLogLevel::Emerg)
        .create()
        .context("the Kafka client refuses its settings")
}

async fn answers(consumer: Arc<BaseConsumer>) -> Result<(), String> {
    let asked = tokio::task::spawn_blocking(move || match consumer.fetch_metadata(None, PROBE_LIMIT) {
        Ok(metadata) if metadata.brokers().is_empty() => Err("the broker has not registered yet".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    });
    asked.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The class path: every jar that `deploy/setup` fetched, looked for upwards from here and from this program.
fn jars() -> anyhow::Result<String> {
    let start = [env::current_dir().ok(), env::current_exe().ok()];
    let above =
        start.iter().flatten().flat_map(|path| path.ancestors()).map(|folder| folder.join(".servers"));
    let named = env::var_os(SERVERS_VARIABLE).map(PathBuf::from);
    named
        .into_iter()
        .chain(above)
        .find_map(|servers| newest_kafka(&servers))
        .map(|libs| format!("{}/*", libs.display()))
        .context("Apache Kafka is not here yet: run deploy/setup (or name its folder in FULFIL_SERVERS)")
}

fn newest_kafka(servers: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(servers).ok()?.flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("kafka-"))
        .map(|entry| entry.path().join("libs"))
        .filter(|libs| libs.is_dir() && !libs.to_string_lossy().contains(".partial"))
        .max()
}

fn java() -> anyhow::Result<PathBuf> {
    let named = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let found = named
        .into_iter()
        .chain([PathBuf::from("java")])
        .chain(installed.map(|entry| entry.path().join("bin/java")))
        .find(|java| java_version(java).is_some_and(|version| version >= JAVA_OLDEST));
    match found {
        Some(java) => Ok(java),
        None => bail!("Java {JAVA_OLDEST} or newer is needed for Kafka: run deploy/setup"),
    }
}

/// `openjdk version "17.0.15" …` is 17.
fn java_version(java: &Path) -> Option<u32> {
    let said = Command::new(java).arg("-version").output().ok()?.stderr;
    let said = String::from_utf8_lossy(&said);
    let (_, version) = said.split_once("version \"")?;
    version.split(['.', '"', '-']).next()?.parse().ok()
}
