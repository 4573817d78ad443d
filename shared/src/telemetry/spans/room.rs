//! How much may wait to be drawn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::work::Size;

/// Of messages that wait: a collector that is away must not cost more memory than this, and one batch.
const BYTES_MAX: usize = 16 << 20;

pub(super) struct Room {
    spans: AtomicUsize,
    bytes: AtomicUsize,
    spans_max: usize,
}

impl Room {
    pub(super) fn new(spans_max: usize) -> Self {
        Self { spans: AtomicUsize::new(0), bytes: AtomicUsize::new(0), spans_max }
    }

    /// Whether there is any room left. What comes may then be larger: a batch is bounded by itself, and one that is larger than
    /// all the room would otherwise never be drawn.
    pub(super) fn enter(&self, size: Size) -> bool {
        let spans = self.spans.fetch_add(size.spans, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(size.bytes, Ordering::Relaxed);
        let is_room = spans < self.spans_max && bytes < BYTES_MAX;
        if !is_room {
            self.leave(size);
        }
        is_room
    }

    pub(super) fn leave(&self, size: Size) {
        self.spans.fetch_sub(size.spans, Ordering::Relaxed);
        self.bytes.fetch_sub(size.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(spans: usize, bytes: usize) -> Size {
        Size { spans, bytes }
    }

    #[test]
    fn one_batch_may_be_larger_than_the_room_and_the_next_waits_for_it() {
        let room = Room::new(10);
        assert!(room.enter(size(9, 0)) && room.enter(size(1_000, 0)));
        assert!(!room.enter(size(1, 0)));
        room.leave(size(1_000, 0));
        assert!(room.enter(size(1, 0)));
        assert!(!room.enter(size(1, 0)), "what was refused has left nothing behind, and ten are there");
    }

    #[test]
    fn bytes_are_bounded_however_few_the_spans_are() {
        let room = Room::new(10);
        assert!(room.enter(size(1, BYTES_MAX - 1)) && room.enter(size(1, BYTES_MAX)));
        assert!(!room.enter(size(1, 1)));
        room.leave(size(1, BYTES_MAX));
        assert!(room.enter(size(1, 1)));
    }
}
