//! A view that is filled, the next batch folded while the last one is written, against one that takes them one after the
//! other.

use projector::project::batch::Taken;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shared::contract::envelope::{Mode, Raw};
use sqlx::AssertSqlSafe;

use crate::{
    project::{Database, places, with_a_broken_confirmation},
    sagas::{interleave, world},
};

/// What `refused` is of the database does not take.
async fn followed(batches: &[&[Raw]], refused: Option<&str>, is_ahead: bool) -> Vec<String> {
    let mut database = Database::new().await;
    if let Some(refused) = refused {
        let refuse = format!(
            "create function refuse() returns trigger language plpgsql as
             $$ begin raise exception 'not this one' using errcode = '22023'; end $$;
             create trigger refuse before insert on timeline for each row when ({refused}) execute function refuse()"
        );
        sqlx::raw_sql(AssertSqlSafe(refuse)).execute(&mut database.connection).await.unwrap();
    }
    let mut projection = database.second();
    projection.assign(&places()).await.unwrap();
    for batch in batches {
        let taken = batch.iter().map(|raw| Taken::new(raw.clone(), Mode::Development)).collect();
        if is_ahead {
            projection.fill(taken).await.unwrap()
        } else {
            projection.follow(taken).await.unwrap()
        };
    }
    projection.follow(Vec::new()).await.unwrap();
    let mut all = database.view().await;
    for query in [
        "select * from position order by topic, partition",
        "select key, kind, topic, partition, \"offset\" from held_message order by id",
        "select letter_id, code from dead_letter order by letter_id",
    ] {
        all.extend(database.rows(query).await);
    }
    all
}

/// Of one to some messages each.
fn batches<'m>(mut rest: &'m [Raw], max: usize, rng: &mut StdRng) -> Vec<&'m [Raw]> {
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rng.random_range(1..=rest.len().min(max)));
        batches.push(batch);
        rest = after;
    }
    batches
}

fn messages(seed: u64) -> Vec<Raw> {
    let (world, _) = world(seed, 30);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(seed));
    interleave(&sent, &mut StdRng::seed_from_u64(seed))
}

#[tokio::test]
async fn what_is_folded_on_top_of_what_is_being_written_is_the_same() {
    for (seed, max) in [(61, 1), (62, 5), (63, 60)] {
        let messages = messages(seed);
        let batches = batches(&messages, max, &mut StdRng::seed_from_u64(seed));
        assert_eq!(followed(&batches, None, true).await, followed(&batches, None, false).await, "{seed}");
    }
}

#[tokio::test]
async fn a_message_that_died_and_what_waits_behind_it_are_the_same() {
    let (messages, _) = with_a_broken_confirmation();
    let batches: Vec<&[Raw]> = messages.chunks(1).collect();
    let letters = |rows: &[String]| rows.iter().filter(|row| row.contains("\"invalid-json\"")).count();
    let ahead = followed(&batches, None, true).await;
    assert!(letters(&ahead) > 0, "{ahead:#?}");
    assert_eq!(ahead, followed(&batches, None, false).await);
}

#[tokio::test]
async fn what_the_database_does_not_take_is_buried_alone_and_the_rest_is_folded_again() {
    let messages = messages(64);
    let batches = batches(&messages, 20, &mut StdRng::seed_from_u64(64));
    let refused = Some("new.type = 'fulfil.payment.outcome-unknown.v1'");
    let ahead = followed(&batches, refused, true).await;
    assert!(ahead.iter().any(|row| row.contains("\"unacceptable\"")), "{ahead:#?}");
    assert_eq!(ahead, followed(&batches, refused, false).await);
}
