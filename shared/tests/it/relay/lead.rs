//! Several relays of one database.

use std::{sync::mpsc, thread};

use super::*;

fn publishing(relays: &[&Relay]) -> usize {
    relays.iter().filter(|relay| relay.handle().state() == State::Publishing).count()
}

#[tokio::test]
async fn of_two_relays_one_publishes_and_the_other_takes_over() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let first = relay::start(database.settings(broker.settings()), metrics());
    leads(&first).await;
    let second = relay::start(database.settings(broker.settings()), metrics());
    let handle = second.handle();
    eventually("the second follows", || handle.state() == State::Following).await;
    for _ in 0..20 {
        let events = database.append(20).await;
        first.handle().committed(events.clone());
        second.handle().committed(events);
    }
    eventually("one publishes", || publishing(&[&first, &second]) == 1).await;

    // As in a crash: nothing is finished.
    let (leader, other) = if publishing(&[&first]) == 1 { (first, second) } else { (second, first) };
    drop(leader);
    database.append(20).await;
    leads(&other).await;
    database.published().await;
    other.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}

/// Ends the session that has the relay's lock, as soon as one has it.
async fn end_a_leader(database: &mut Database) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid))
             from pg_locks
             where locktype = 'advisory' and objid = 2 and granted
               and database = (select oid from pg_database where datname = current_database())",
        )
        .fetch_one(&mut database.connection)
        .await
        .unwrap();
        if ended > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "no relay came to lead");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_leader_whose_session_is_ended_every_moment_loses_nothing() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let relays: Vec<_> =
        (0..2).map(|_| relay::start(database.settings(broker.settings()), metrics())).collect();
    for _ in 0..8 {
        let events = database.append(25).await;
        for relay in &relays {
            relay.handle().committed(events.clone());
        }
        end_a_leader(&mut database).await;
    }
    database.published().await;
    for relay in relays {
        relay.stop(DEADLINE).await;
    }
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}

#[tokio::test]
async fn a_frozen_leader_is_replaced_and_does_no_harm_when_it_wakes() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let settings = database.settings(broker.settings());
    let (freeze, frozen) = mpsc::channel::<mpsc::Receiver<()>>();
    let (give, taken) = mpsc::channel();
    // A leader on a runtime of its own that has one thread.
    let leader = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let relay = relay::start(settings, metrics());
            leads(&relay).await;
            give.send(relay.handle()).unwrap();
            loop {
                match frozen.try_recv() {
                    // Nothing else runs on this thread until the test lets go.
                    Ok(thaw) => thaw.recv().unwrap(),
                    Err(mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(1)).await,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
            relay.stop(DEADLINE).await;
        });
    });
    let first = tokio::task::spawn_blocking(move || taken.recv().unwrap()).await.unwrap();
    let second = relay::start(database.settings(broker.settings()), metrics());
    for _ in 0..10 {
        let events = database.append(20).await;
        first.committed(events);
    }
    let (thaw, thawed) = mpsc::channel();
    freeze.send(thawed).unwrap();
    // Told to the frozen one, found by the other.
    for _ in 0..10 {
        let events = database.append(20).await;
        first.committed(events);
    }

    leads(&second).await;
    database.published().await;
    thaw.send(()).unwrap();
    eventually("the first follows", || first.state() == State::Following).await;
    for _ in 0..10 {
        let events = database.append(20).await;
        second.handle().committed(events);
    }
    database.published().await;
    drop(freeze);
    tokio::task::spawn_blocking(move || leader.join().unwrap()).await.unwrap();
    second.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}
