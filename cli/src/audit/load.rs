//! Loading a world: every log and table once, then every topic from its start. Databases first, in the order of the
//! saga: what is loaded later can only know more.

use std::time::{Duration, Instant};

use anyhow::Context;
use payment_service::provider::{PaymentProvider, http::HttpProvider};
use projector::{
    intake,
    read_model::{
        schema,
        whole::{View, whole},
    },
};
use shared::{
    broker::BrokerSettings,
    contract::{Timestamp, topics::Topic},
    log::{self, Lane, LetterChange},
};
use sqlx::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use super::{ServiceLog, World, fold};
use crate::{
    kafka::{From, Reader},
    place::Place,
};

const PAGE_EVENTS: i64 = 10_000;
/// A letter can have a megabyte.
const PAGE_LETTERS: i64 = 50;
const HELD_PER_KEY: i64 = 100_000;
const READ_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_secs(1);
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a world is loaded from.
#[derive(Clone, Debug)]
pub struct Sources {
    pub broker: BrokerSettings,
    /// Service and database, in the order of the saga.
    pub databases: Vec<(String, String)>,
    pub provider: Option<String>,
}

impl Sources {
    /// `None` where the databases are not known.
    pub fn of(place: &Place) -> Option<Self> {
        let local = place.local.as_ref()?;
        let database = |name: &str| {
            let service = local.services.iter().find(|service| service.name == name)?;
            Some((name.to_owned(), service.database.clone()))
        };
        let names = ["order-service", "inventory-service", "payment-service", "projector"];
        let databases: Vec<_> = names.into_iter().filter_map(database).collect();
        (!databases.is_empty()).then(|| Self {
            broker: place.broker.clone(),
            databases,
            provider: local.provider.clone(),
        })
    }
}

pub async fn load(sources: &Sources) -> anyhow::Result<World> {
    let mut world = World { now: chrono::Utc::now(), ..World::default() };
    for (service, url) in &sources.databases {
        let (log, view) = loop {
            let read = database(service, url).await.with_context(|| format!("the database of {service}"))?;
            if let Some(read) = read {
                break read;
            }
        };
        world.services.push(log);
        world.view = world.view.or(view);
    }
    if let Some(url) = &sources.provider {
        let provider = HttpProvider::new(url.parse()?, PROVIDER_TIMEOUT)?;
        let records =
            provider.records(Timestamp::UNIX_EPOCH).await.context("the payment provider's books")?;
        world.provider = Some(records);
    }
    let broker = sources.broker.clone();
    let read = move || Reader::open(&broker, &Topic::ALL, None, From::Start)?.to_end(READ_LIMIT);
    world.messages = tokio::task::spawn_blocking(read).await?.context("the topics")?;
    // Within a partition as it is; the rest does not matter to the checks.
    world.messages.sort_by_key(|raw| (raw.topic, raw.partition, raw.offset));
    Ok(world)
}

/// Loads again and again until every order has ended and all that was appended is published; after `timeout` it is
/// what it is.
pub async fn load_quiet(sources: &Sources, timeout: Duration) -> anyhow::Result<World> {
    let deadline = Instant::now() + timeout;
    loop {
        let world = load(sources).await?;
        if world.is_quiet() || Instant::now() > deadline {
            return Ok(world);
        }
        sleep(POLL).await;
    }
}

/// `None` where the view that served gave way to another one meanwhile: a name is looked up anew by each statement, so rows
/// of both may have been read.
async fn database(service: &str, url: &str) -> anyhow::Result<Option<(ServiceLog, Option<View>)>> {
    let is_projector = service == intake::GROUP;
    let mut connection = if is_projector {
        // What waits in the projector is the view's.
        schema::connection(url, "fulfil doctor", schema::SERVED).await?
    } else {
        log::connect::connect(url, "fulfil doctor").await?
    };
    let view_before = if is_projector { Some(which_view(&mut connection).await?) } else { None };
    // One snapshot for all of it.
    sqlx::query("begin isolation level repeatable read read only").execute(&mut connection).await?;
    // The role's limits are for writers: a reader computes between two pages, and takes whole tables.
    let patience =
        "set local idle_in_transaction_session_timeout = '60s'; set local statement_timeout = '60s'";
    sqlx::raw_sql(patience).execute(&mut connection).await?;
    let mut log = ServiceLog { service: service.to_owned(), ..ServiceLog::default() };
    log.published = log::cursor(&mut connection, Lane::Events).await?;
    loop {
        let after = log.events.last().map_or(0, |event| event.position);
        let page = log::tail(&mut connection, after, PAGE_EVENTS).await?;
        let is_last = (page.len() as i64) < PAGE_EVENTS;
        log.events.extend(page);
        if is_last {
            break;
        }
    }
    let ids = letter_ids(&mut connection).await?;
    for ids in ids.chunks(PAGE_LETTERS as usize) {
        log.letters.extend(log::letters(&mut connection, ids).await?);
    }
    let keys: Vec<String> =
        sqlx::query_scalar("select distinct key from held_message").fetch_all(&mut connection).await?;
    log.held = log::held_messages(&mut connection, &keys, HELD_PER_KEY).await?;
    if let Some(fingerprint) = fold::fingerprint(service) {
        log.snapshots = log::snapshots(&mut connection, fingerprint).await?;
    }
    let view = if is_projector { Some(whole(&mut connection).await?) } else { None };
    sqlx::query("commit").execute(&mut connection).await?;
    let is_one = match view_before {
        Some(before) => which_view(&mut connection).await? == before,
        None => true,
    };
    Ok(is_one.then_some((log, view)))
}

/// The table that serves, whatever its schema is called, and who wrote its row last: another one once places were changed,
/// also where they were changed back.
async fn which_view(connection: &mut PgConnection) -> anyhow::Result<(i64, String)> {
    Ok(sqlx::query_as("select tableoid::int8, xmin::text from projection").fetch_one(connection).await?)
}

async fn letter_ids(connection: &mut PgConnection) -> anyhow::Result<Vec<Uuid>> {
    let (mut ids, mut number) = (Vec::new(), 0);
    loop {
        let page = log::letters_after(connection, number, PAGE_LETTERS).await?;
        let Some(last) = page.last() else { return Ok(ids) };
        number = last.number;
        let dead = page.iter().filter(|letter| matches!(letter.record.what, LetterChange::Dead(_)));
        ids.extend(dead.map(|letter| letter.record.letter_id));
    }
}

#[cfg(test)]
mod tests {
    use projector::read_model::second;
    use shared::testing;
    use sqlx::Connection;

    use super::*;

    /// In the middle of it: the audit waits for a table, and before it gets it places are changed, and changed back.
    #[tokio::test]
    async fn rows_of_two_views_are_not_taken_for_those_of_one() {
        let url = testing::database().await;
        schema::migrate(&url).await.unwrap();
        schema::migrate_schema(&url, schema::SECOND).await.unwrap();
        let mut operator = schema::connection(&url, "operator", schema::SERVED).await.unwrap();
        testing::be_patient(&mut operator).await;
        let read = database(intake::GROUP, &url).await.unwrap();
        assert!(read.is_some(), "nobody changes anything");
        let mut holding = operator.begin().await.unwrap();
        sqlx::query("lock table timeline").execute(&mut *holding).await.unwrap();
        let reading = tokio::spawn(async move { database(intake::GROUP, &url).await });
        let waits =
            "select exists (select from pg_locks where not granted and relation = 'timeline'::regclass)";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut *holding).await.unwrap() {
            assert!(!reading.is_finished(), "it did not come to the timeline");
            sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..2 {
            second::change_places(&mut holding).await.unwrap();
        }
        holding.commit().await.unwrap();
        assert!(reading.await.unwrap().unwrap().is_none());
    }
}
