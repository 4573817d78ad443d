//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(25);

/// Asks until there is an answer.
///
/// # Panics
/// After `limit`, saying what was waited for. What this task slept too long is not counted, up to as much again: a
/// machine that stood still gave nobody the time to do it.
pub async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut deadline = begun + limit;
    loop {
        // Asking can take long as well, so it is asked once more after it.
        let is_last = Instant::now() >= deadline;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(!is_last, "waited {} s for {what}", begun.elapsed().as_secs());
        let slept = Instant::now();
        tokio::time::sleep(POLL).await;
        deadline = (deadline + slept.elapsed().saturating_sub(POLL)).min(begun + limit * 2);
    }
}
