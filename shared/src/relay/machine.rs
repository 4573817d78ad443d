//! The relay as a state machine without I/O: what to read, what to publish, how far the cursor may move.
//!
//! One machine a lane: events by position, dead letters by number. Both are gapless, so the machine checks itself:
//! what follows a position is the next, or it halts. The cursor moves only past what was acknowledged without a
//! hole. After a failure it starts again from there, so a message may be published twice, but none is lost, and the
//! first appearances on a topic are in order.
//!
//! Nothing here waits, knows the time, or talks to a broker or a database: the shell does, and so does a simulation.

mod queue;

use std::collections::VecDeque;

use super::record::Record;
use crate::contract::Timestamp;
use queue::Queue;

/// One position of the lane with the message that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub position: i64,
    pub recorded_at: Timestamp,
    pub record: Record,
}

/// What bounds the memory of a lane. Bytes count keys, values and headers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Given to the producer and not yet acknowledged.
    pub in_flight_max: usize,
    pub in_flight_bytes_max: usize,
    /// Waiting to be given to it. Beyond this, what is committed is read from the table later.
    pub pending_max: usize,
    pub pending_bytes_max: usize,
    pub read_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// This relay is the active one; the cursor as read under the lock.
    Led { cursor: i64 },
    /// It may not be any more. Reads and saves that are under way are not answered.
    LeadLost,
    /// A producer stands ready that has never been given a message. The answer to [`Output::Rebuild`].
    Rebuilt,
    /// This process has committed these, in order. Where another replica committed in between there is a hole.
    Committed(Vec<Entry>),
    /// The lane ends here, or later.
    End(i64),
    /// Others may have committed: look. Due again and again while this relay leads.
    Look,
    /// The answer to [`Output::Read`].
    ReadDone(Vec<Entry>),
    /// The broker has these, by the present producer; in any order.
    Acked(Vec<i64>),
    /// The present producer failed to deliver, so what follows must not go out by it.
    ProducerFailed,
    /// Time to save the cursor, where it moved.
    Save,
    /// The answer to [`Output::SaveCursor`].
    CursorSaved(i64),
    /// Something was seen after which going on would lose or reorder.
    CannotGoOn(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Read at most `limit` entries with positions past `after`, in order. At most one read is under way.
    Read { after: i64, limit: usize },
    /// Give these to the producer, in this order.
    Publish(Vec<Entry>),
    /// At most one is under way.
    SaveCursor(i64),
    /// Throw away the producer with all that it was given, make a new one, say [`Input::Rebuilt`]. From here on no
    /// acknowledgement of the old one counts.
    Rebuild,
    /// Throw away the producer: this relay is not the active one.
    Discard,
    /// Going on would lose or reorder something. The machine does nothing more.
    Halt(String),
}

#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Follower,
    Leader(Leader),
    Halted(String),
}

#[derive(Debug)]
struct Leader {
    /// Without one nothing is published.
    has_producer: bool,
    /// As it stands in the database.
    cursor: i64,
    saving: bool,
    /// Acknowledged up to here without a hole.
    acked: i64,
    /// From `acked + 1`, one after the other: what the producer was given.
    in_flight: VecDeque<Flight>,
    in_flight_bytes: usize,
    /// Right after what is in flight, one after the other.
    pending: Queue,
    /// Committed by this process while there was a hole before it; joined once the hole has been read.
    ahead: Queue,
    /// The lane ends here or later.
    end: i64,
    read: Option<Reading>,
    look: bool,
}

#[derive(Debug)]
struct Flight {
    bytes: usize,
    acked: bool,
    recorded_at: Timestamp,
}

#[derive(Debug)]
struct Reading {
    after: i64,
    /// Known to be committed when the read began, so it must be found.
    end: i64,
    /// Everything was thrown away since: the answer is of no use.
    stale: bool,
}

impl Machine {
    pub fn new(limits: Limits) -> Self {
        Self { limits, role: Role::Follower }
    }

    /// Takes what happened and says what to do now, in order.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let result = match (&mut self.role, input) {
            (Role::Halted(_), _) => return Vec::new(),
            (Role::Follower, Input::Led { cursor }) => {
                self.role = Role::Leader(Leader::new(cursor));
                return vec![Output::Rebuild];
            }
            // What it hears of is in the table when it comes to lead.
            (Role::Follower, _) => return Vec::new(),
            (Role::Leader(_), Input::Led { .. }) => Err("it was given the lead twice".to_owned()),
            (Role::Leader(_), Input::LeadLost) => {
                self.role = Role::Follower;
                return vec![Output::Discard];
            }
            (Role::Leader(leader), input) => leader.step(input, &self.limits),
        };
        result.unwrap_or_else(|reason| {
            self.role = Role::Halted(reason.clone());
            vec![Output::Halt(reason)]
        })
    }

    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn halted(&self) -> Option<&str> {
        match &self.role {
            Role::Halted(reason) => Some(reason),
            _ => None,
        }
    }

    /// How many entries are known and not acknowledged. `None`: this relay does not lead, so it does not know.
    pub fn backlog(&self) -> Option<i64> {
        let Role::Leader(leader) = &self.role else { return None };
        Some(leader.end.max(leader.tail()) - leader.acked)
    }

    /// When the first entry that is not acknowledged was recorded.
    pub fn oldest(&self) -> Option<Timestamp> {
        let Role::Leader(leader) = &self.role else { return None };
        let pending = || leader.pending.entries.front().map(|entry| entry.recorded_at);
        leader.in_flight.front().map(|flight| flight.recorded_at).or_else(pending)
    }

    /// Everything that is known is acknowledged, and the cursor says so.
    pub fn is_idle(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.cursor == leader.end.max(leader.tail()) && !leader.saving,
            _ => true,
        }
    }
}

type Step = Result<Vec<Output>, String>;

impl Leader {
    fn new(cursor: i64) -> Self {
        Self {
            has_producer: false,
            cursor,
            saving: false,
            acked: cursor,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            pending: Queue::default(),
            ahead: Queue::default(),
            end: cursor,
            read: None,
            look: true,
        }
    }

    fn step(&mut self, input: Input, limits: &Limits) -> Step {
        match input {
            Input::Committed(entries) => {
                for entries in without_holes(entries) {
                    self.committed(entries, limits)?;
                }
            }
            Input::ReadDone(entries) => self.read_done(entries, limits)?,
            Input::Acked(positions) => self.acked(positions)?,
            Input::End(end) => self.end = self.end.max(end),
            Input::Look => self.look = true,
            Input::Rebuilt => self.has_producer = true,
            Input::ProducerFailed => return Ok(self.start_again()),
            Input::Save => return Ok(self.save()),
            Input::CursorSaved(cursor) => self.cursor_saved(cursor)?,
            Input::CannotGoOn(reason) => return Err(reason),
            Input::Led { .. } | Input::LeadLost => {}
        }
        let mut outputs = Vec::new();
        outputs.extend(self.publish(limits));
        outputs.extend(self.read(limits));
        Ok(outputs)
    }

    fn committed(&mut self, entries: Vec<Entry>, limits: &Limits) -> Result<(), String> {
        let Some(last) = in_order(&entries)? else { return Ok(()) };
        self.end = self.end.max(last);
        if self.pending.len() + self.ahead.len() + entries.len() > limits.pending_max
            || self.pending.bytes + self.ahead.bytes > limits.pending_bytes_max
        {
            // It is in the table, which is read once there is room.
            return Ok(());
        }
        if entries[0].position <= self.tail() + 1 {
            self.append(entries);
        } else {
            if entries[0].position != self.ahead.last().map_or(0, |last| last + 1) {
                self.ahead.clear();
            }
            self.ahead.extend(entries);
        }
        Ok(())
    }

    fn read_done(&mut self, entries: Vec<Entry>, limits: &Limits) -> Result<(), String> {
        let Some(read) = self.read.take() else {
            return Err("an answer came to a read that was not asked".into());
        };
        let last = in_order(&entries)?.unwrap_or(read.after);
        if entries.first().is_some_and(|first| first.position != read.after + 1) {
            let next = read.after + 1;
            return Err(format!(
                "{next} is missing: after {} the table has {}",
                read.after, entries[0].position
            ));
        }
        let full = entries.len() == limits.read_max;
        if !full && last < read.end {
            return Err(format!(
                "the table ends at {last}, but {} was committed: was it restored?",
                read.end
            ));
        }
        if full {
            self.look = true;
        }
        if read.stale {
            self.look = true;
            return Ok(());
        }
        self.end = self.end.max(last);
        self.append(entries);
        Ok(())
    }

    fn acked(&mut self, positions: Vec<i64>) -> Result<(), String> {
        if !self.has_producer {
            return Ok(());
        }
        for position in positions {
            // Before the window: acknowledged twice, which is once.
            let Ok(index) = usize::try_from(position - self.acked - 1) else { continue };
            let Some(flight) = self.in_flight.get_mut(index) else {
                return Err(format!("{position} was acknowledged, but it was not published"));
            };
            flight.acked = true;
        }
        while self.in_flight.front().is_some_and(|flight| flight.acked) {
            let flight = self.in_flight.pop_front();
            self.in_flight_bytes -= flight.map_or(0, |flight| flight.bytes);
            self.acked += 1;
        }
        Ok(())
    }

    fn cursor_saved(&mut self, cursor: i64) -> Result<(), String> {
        if cursor < self.cursor || cursor > self.acked {
            return Err(format!("the cursor went from {} to {cursor} at {}", self.cursor, self.acked));
        }
        self.cursor = cursor;
        self.saving = false;
        Ok(())
    }

    fn save(&mut self) -> Vec<Output> {
        if self.saving || self.acked == self.cursor {
            return Vec::new();
        }
        self.saving = true;
        vec![Output::SaveCursor(self.acked)]
    }

    /// From the last acknowledgement without a hole, out of the table: what was given to the producer is not kept.
    fn start_again(&mut self) -> Vec<Output> {
        self.end = self.end.max(self.tail());
        self.has_producer = false;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.pending.clear();
        self.ahead.clear();
        if let Some(read) = &mut self.read {
            read.stale = true;
        }
        self.look = true;
        vec![Output::Rebuild]
    }

    fn publish(&mut self, limits: &Limits) -> Option<Output> {
        let mut entries = Vec::new();
        while self.has_producer
            && self.in_flight.len() < limits.in_flight_max
            && self.in_flight_bytes < limits.in_flight_bytes_max
        {
            let Some(entry) = self.pending.pop() else { break };
            debug_assert_eq!(entry.position, self.acked + self.in_flight.len() as i64 + 1);
            let bytes = entry.record.bytes();
            self.in_flight.push_back(Flight { bytes, acked: false, recorded_at: entry.recorded_at });
            self.in_flight_bytes += bytes;
            entries.push(entry);
        }
        (!entries.is_empty()).then_some(Output::Publish(entries))
    }

    fn read(&mut self, limits: &Limits) -> Option<Output> {
        let after = self.tail();
        // While entries wait for the producer, more of them would only cost memory.
        let wanted = self.look || self.end > after;
        if !wanted || !self.has_producer || !self.pending.is_empty() || self.read.is_some() {
            return None;
        }
        self.look = false;
        self.read = Some(Reading { after, end: self.end, stale: false });
        Some(Output::Read { after, limit: limits.read_max })
    }

    /// The position after which nothing is in memory without a hole.
    fn tail(&self) -> i64 {
        self.acked + self.in_flight.len() as i64 + self.pending.len() as i64
    }

    /// Takes what begins at or before the next position, and what waited for it.
    fn append(&mut self, entries: Vec<Entry>) {
        let known = self.tail();
        self.pending.extend(entries.into_iter().filter(|entry| entry.position > known));
        let known = self.tail();
        if self.ahead.first().is_some_and(|first| first <= known + 1) {
            let ahead = std::mem::take(&mut self.ahead);
            self.pending.extend(ahead.entries.into_iter().filter(|entry| entry.position > known));
        }
    }
}

/// Cut where something is missing between two.
fn without_holes(mut entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut runs = Vec::new();
    while let Some(hole) = entries.windows(2).position(|pair| pair[0].position + 1 < pair[1].position) {
        let rest = entries.split_off(hole + 1);
        runs.push(std::mem::replace(&mut entries, rest));
    }
    runs.push(entries);
    runs
}

/// The last position, where each follows the one before it.
fn in_order(entries: &[Entry]) -> Result<Option<i64>, String> {
    match entries.windows(2).find(|pair| pair[1].position != pair[0].position + 1) {
        Some(pair) => Err(format!(
            "{} is missing: after {} comes {}",
            pair[0].position + 1,
            pair[0].position,
            pair[1].position
        )),
        None => Ok(entries.last().map(|entry| entry.position)),
    }
}

#[cfg(test)]
mod tests;
