//! Kafka from plain jars: one node, or the three of a cluster, each broker and controller in one process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::future::{join_all, try_join_all};
use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
};
use tokio::time::Instant;

use super::{
    process::{Process, run_to_end},
    progress::Progress,
    ready::wait_until,
    state::{Folder, Kafka, Node},
};

/// More of them for the broker; the later of two equal ones counts.
const JVM_OPTIONS: &str = "FULFIL_KAFKA_JVM_OPTIONS";
/// Where `deploy/setup` put the jars, if not in `.servers/` of the checkout.
const SERVERS_VARIABLE: &str = "FULFIL_SERVERS";
const JAVA_OLDEST: u32 = 17;
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The last nodes of a cluster wait for a majority that is gone. What they have is on the disk of all of them.
const STOP_LIMIT_IN_A_CLUSTER: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// Starts the nodes that do not run, all at once, since none is ready before most of them are.
pub(crate) async fn start(kafka: &mut Kafka, folder: &Folder, progress: &Progress) -> anyhow::Result<()> {
    let is_dead = |index: &usize| !kafka.nodes[*index].process.is_some_and(Process::is_alive);
    let dead: Vec<usize> = (0..kafka.nodes.len()).filter(is_dead).collect();
    let spawned = join_all(dead.iter().map(|index| spawn(kafka, *index, folder, progress))).await;
    let mut result = Ok(());
    for (index, process) in dead.iter().zip(spawned) {
        match process {
            Ok(process) => kafka.nodes[*index].process = Some(process),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result?;
    try_join_all(dead.iter().map(|index| wait_until_ready(kafka, *index, folder, progress))).await?;
    Ok(())
}

/// Formats its storage where there is none.
pub(crate) async fn spawn(
    kafka: &Kafka,
    index: usize,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<Process> {
    let jars = jars()?;
    let name = &kafka.nodes[index].name;
    let home = folder.path().join(name);
    let log = folder.log(name);
    fs::create_dir_all(&home)?;
    let settings = home.join("server.properties");
    let data = data_of(folder.path(), name);
    fs::write(&settings, properties(kafka, index, &data))?;
    let java = java()?;
    if !data.join("meta.properties").exists() {
        progress.waiting_for("Kafka's storage");
        let mut format = Command::new(&java);
        format.arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(&jars);
        format.args(["kafka.tools.StorageTool", "format", "-t", &kafka.cluster_id, "-c"]).arg(&settings);
        run_to_end(&mut format, &log).await.context("Kafka's storage could not be formatted")?;
    }
    let mut server = Command::new(&java);
    server.args(["-Xms256m", "-XX:+UseSerialGC"]);
    if is_cluster(kafka) {
        // Three on one machine, for trying what becomes of them: quick to start rather than quick.
        server.args(["-Xmx384m", "-XX:TieredStopAtLevel=1"]);
    } else {
        server.arg("-Xmx512m");
    }
    server.args(env::var(JVM_OPTIONS).unwrap_or_default().split_whitespace());
    server.args([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
    ]);
    server.args(["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX"]);
    server.arg("-cp").arg(&jars).arg("kafka.Kafka").arg(&settings);
    Process::spawn(&mut server, &log)
}

/// Ready is who the others let in.
pub(crate) async fn wait_until_ready(
    kafka: &Kafka,
    index: usize,
    folder: &Folder,
    progress: &Progress,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let node = &kafka.nodes[index];
    let address = address(node);
    let consumer = Arc::new(probing_consumer(&address)?);
    let log = folder.log(&node.name);
    let answers = || answers(Arc::clone(&consumer), id(index));
    wait_until(&node.name, node.process, &log, progress, answers).await?;
    let name = if is_cluster(kafka) { &node.name } else { "Kafka" };
    progress.done(&format!("{name} at {address}"), since);
    Ok(())
}

/// With `wipe` its data is about to go, so nothing needs to be put in order first.
pub(crate) async fn stop(process: Process, is_cluster: bool, wipe: bool) -> anyhow::Result<()> {
    let signal = if wipe { Signal::SIGKILL } else { Signal::SIGTERM };
    process.stop(signal, if is_cluster { STOP_LIMIT_IN_A_CLUSTER } else { STOP_LIMIT }).await?;
    Ok(())
}

pub(crate) fn address(node: &Node) -> String {
    format!("127.0.0.1:{}", node.port)
}

/// How many brokers have each message, where that is not the broker's own default.
pub(crate) fn replication(kafka: &Kafka) -> Option<i32> {
    is_cluster(kafka).then_some(kafka.nodes.len() as i32)
}

pub(crate) fn is_cluster(kafka: &Kafka) -> bool {
    kafka.nodes.len() > 1
}

/// Where a broker of this folder has its logs.
pub fn data_of(folder: &Path, broker: &str) -> PathBuf {
    folder.join(broker).join("data")
}

fn id(index: usize) -> i32 {
    index as i32 + 1
}

/// Of three nodes one may be away: a message is acknowledged by two that have it, and only one of those may lead next.
fn properties(kafka: &Kafka, index: usize, data: &Path) -> String {
    let Node { port, controller_port, .. } = &kafka.nodes[index];
    let voter = |(index, node): (usize, &Node)| format!("{}@127.0.0.1:{}", id(index), node.controller_port);
    let voters: Vec<String> = kafka.nodes.iter().enumerate().map(voter).collect();
    let (replicas, in_sync) = if is_cluster(kafka) { (kafka.nodes.len(), 2) } else { (1, 1) };
    format!(
        "process.roles=broker,controller\n\
         node.id={}\n\
         controller.quorum.voters={}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         default.replication.factor={replicas}\n\
         min.insync.replicas={in_sync}\n\
         unclean.leader.election.enable=false\n\
         broker.heartbeat.interval.ms=1000\n\
         broker.session.timeout.ms=6000\n\
         offsets.topic.replication.factor={replicas}\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr={in_sync}\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=false\n\
         log.cleaner.dedupe.buffer.size=16777216\n",
        id(index),
        voters.join(","),
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

async fn answers(consumer: Arc<BaseConsumer>, id: i32) -> Result<(), String> {
    let asked = tokio::task::spawn_blocking(move || match consumer.fetch_metadata(None, PROBE_LIMIT) {
        Ok(metadata) if metadata.brokers().iter().any(|broker| broker.id() == id) => Ok(()),
        Ok(_) => Err("the broker has not registered yet".to_owned()),
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
