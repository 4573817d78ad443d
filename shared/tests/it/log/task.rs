//! Tasks are set, set anew and dropped with the batch that says so.

use shared::log::{DoneTask, DueTasks};

use super::*;

fn asked(running: &[Uuid]) -> DueTasks {
    DueTasks {
        partitions: vec![0, 1],
        until: time(10),
        running: running.to_vec(),
        waiting: vec![],
        kinds_that_wait: &["deadline"],
        limit: 2,
    }
}

async fn due(connection: &mut PgConnection, running: &[Uuid]) -> Vec<OwnedTask> {
    log::due_tasks(connection, &asked(running)).await.unwrap()
}

#[tokio::test]
async fn due_tasks_of_our_partitions_come_longest_due_first() {
    let mut connection = fresh().await;
    let tasks = vec![
        owned_task("order-a", "deadline", time(10)),
        owned_task("order-b", "deadline", time(3)),
        owned_task("order-c", "deadline", time(11)),
        OwnedTask { partition: 2, ..owned_task("order-d", "deadline", time(1)) },
        OwnedTask { partition: 0, ..owned_task("order-e", "deadline", time(7)) },
    ];
    done(&mut connection, &Append { tasks: tasks.clone(), ..Append::default() }).await;
    assert_eq!(due(&mut connection, &[]).await, [tasks[1].clone(), tasks[4].clone()]);
    assert_eq!(due(&mut connection, &[tasks[1].task.id]).await, [tasks[4].clone(), tasks[0].clone()]);
    assert_eq!(log::tasks_of_kind(&mut connection, "deadline", 2).await.unwrap()[0], tasks[3]);
}

/// A thousand deadlines that wait must not keep back what is due elsewhere, or does not wait.
#[tokio::test]
async fn tasks_that_wait_for_a_backlog_are_left_out_with_their_partition() {
    let mut connection = fresh().await;
    let tasks = vec![
        OwnedTask { partition: 0, ..owned_task("order-a", "deadline", time(1)) },
        OwnedTask { partition: 0, ..owned_task("order-b", "release", time(2)) },
        OwnedTask { partition: 1, ..owned_task("order-c", "deadline", time(3)) },
    ];
    done(&mut connection, &Append { tasks: tasks.clone(), ..Append::default() }).await;
    let asked = DueTasks { waiting: vec![0], ..asked(&[]) };
    assert_eq!(log::due_tasks(&mut connection, &asked).await.unwrap(), tasks[1..]);
}

#[tokio::test]
async fn the_last_word_on_a_task_counts() {
    let mut connection = fresh().await;
    let first = owned_task("order-a", "call", time(1));
    let mut second = owned_task("order-a", "call", time(2));
    second.task.attempt = 2;
    let third = OwnedTask { task: shared::decider::Task { attempt: 3, ..second.task.clone() }, partition: 0 };
    done(&mut connection, &Append { tasks: vec![first.clone(), second.clone()], ..Append::default() }).await;
    assert_eq!(due(&mut connection, &[]).await, [second.clone()]);
    // Done and owed again in one batch: it is owed.
    let dropped = || vec![DoneTask { id: first.task.id, run: None }];
    let again = Append { tasks: vec![third.clone()], tasks_done: dropped(), ..Append::default() };
    done(&mut connection, &again).await;
    assert_eq!(due(&mut connection, &[]).await, [third]);
    done(&mut connection, &Append { tasks_done: dropped(), ..Append::default() }).await;
    assert_eq!(due(&mut connection, &[]).await, []);
}

#[tokio::test]
async fn what_was_run_is_done_only_where_nobody_set_it_anew() {
    let mut connection = fresh().await;
    let run = owned_task("order-a", "call", time(1));
    let ran = Append {
        tasks_done: vec![DoneTask { id: run.task.id, run: Some(run.task.clone()) }],
        ..Append::default()
    };
    // Another replica was told of something meanwhile.
    let anew = OwnedTask {
        task: shared::decider::Task { cause: Uuid::now_v7(), ..run.task.clone() },
        ..run.clone()
    };
    done(&mut connection, &Append { tasks: vec![anew.clone()], ..Append::default() }).await;
    done(&mut connection, &ran).await;
    assert_eq!(due(&mut connection, &[]).await, [anew]);
    done(&mut connection, &Append { tasks: vec![run], ..Append::default() }).await;
    done(&mut connection, &ran).await;
    assert_eq!(due(&mut connection, &[]).await, []);
}
