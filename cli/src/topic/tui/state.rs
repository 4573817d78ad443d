//! What the screen of `topic watch --tui` knows, and what keys do to it. No terminal and no clock.

use std::collections::{HashSet, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use uuid::Uuid;

use crate::{
    exit::Exit,
    output::{ShortIds, Tone, clock},
    sighting::{Sighting, brief, tone, what},
};

/// Older ones leave the pane.
pub(super) const EVENTS_MAX: usize = 500;
/// An event that comes again after so many others is taken for a new one.
const IDS_MAX: usize = 100_000;

/// A row of the pane.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Of all that were seen, so that the cursor stays where it is while others come and go.
    pub(super) number: u64,
    pub(super) time: String,
    /// Order, sku or key.
    pub(super) subject: String,
    pub(super) short: String,
    /// An event of the same id was seen before.
    pub(super) is_again: bool,
    pub(super) what: String,
    pub(super) tone: Tone,
    pub(super) place: String,
    pub(super) brief: String,
    pub(super) payload: Vec<String>,
}

/// What is shown of one event.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) row: Row,
    /// Lines that are above the screen.
    pub(super) above: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    rows: VecDeque<Row>,
    /// While it is paused: what comes in the meantime.
    waiting: Option<VecDeque<Row>>,
    ids: HashSet<Uuid>,
    ids_in_order: VecDeque<Uuid>,
    shorts: ShortIds,
    pub(super) seen: u64,
    pub(super) again: u64,
    /// `None` at the newest, whatever comes.
    cursor: Option<u64>,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) opened: Option<Opened>,
}

impl State {
    pub(super) fn take(&mut self, sighting: &Sighting) {
        let is_again = sighting.envelope.as_ref().is_ok_and(|envelope| !self.is_new(envelope.id));
        self.seen += 1;
        self.again += u64::from(is_again);
        let row = self.row(sighting, is_again);
        let rows = self.waiting.as_mut().unwrap_or(&mut self.rows);
        rows.push_back(row);
        if rows.len() > EVENTS_MAX {
            rows.pop_front();
        }
    }

    fn is_new(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.ids_in_order.push_back(id);
        if self.ids_in_order.len() > IDS_MAX
            && let Some(oldest) = self.ids_in_order.pop_front()
        {
            self.ids.remove(&oldest);
            // Whoever is forgotten there need not be told apart here.
            self.shorts = ShortIds::new(self.rows.iter().map(|row| row.subject.as_str()));
        }
        true
    }

    fn row(&mut self, sighting: &Sighting, is_again: bool) -> Row {
        let raw = &sighting.raw;
        let subject = printable(&sighting.subject());
        let short = if subject.len() == 36 { self.shorts.add(&subject) } else { subject.clone() };
        Row {
            number: self.seen,
            time: clock(raw.timestamp_ms),
            subject,
            short,
            is_again,
            what: what(sighting),
            tone: tone(sighting),
            place: format!("{}[{}]@{}", raw.topic, raw.partition, raw.offset),
            brief: printable(&brief(sighting)),
            payload: payload(sighting),
        }
    }

    /// What the filter lets through, the newest at the end.
    pub(super) fn visible(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        self.rows.iter().filter(|row| wanted.is_empty() || row.says(&wanted)).collect()
    }

    /// Where the cursor is among them.
    pub(super) fn cursor(&self, visible: &[&Row]) -> Option<usize> {
        let last = visible.len().checked_sub(1)?;
        let Some(cursor) = self.cursor else { return Some(last) };
        Some(visible.iter().position(|row| row.number >= cursor).unwrap_or(last))
    }

    pub(super) fn is_paused(&self) -> bool {
        self.waiting.is_some()
    }

    /// Seen and not shown, as it is paused.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.as_ref().map_or(0, VecDeque::len)
    }

    /// How it ends, where that was the last key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Exit> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Exit::Interrupted);
        }
        if self.is_typing {
            self.press_typing(key.code);
            return None;
        }
        match (key.code, &mut self.opened) {
            (KeyCode::Char('q'), _) => return Some(Exit::Done),
            (KeyCode::Enter | KeyCode::Esc, Some(_)) => self.opened = None,
            (KeyCode::Char('j') | KeyCode::Down, Some(opened)) => {
                opened.above = (opened.above + 1).min(opened.row.payload.len().saturating_sub(1));
            }
            (KeyCode::Char('k') | KeyCode::Up, Some(opened)) => opened.above = opened.above.saturating_sub(1),
            (_, Some(_)) => {}
            (KeyCode::Char('j') | KeyCode::Down, None) => self.step(1),
            (KeyCode::Char('k') | KeyCode::Up, None) => self.step(-1),
            (KeyCode::Char('G') | KeyCode::End, None) => self.cursor = None,
            (KeyCode::Char(' '), None) => self.pause(),
            (KeyCode::Char('/'), None) => self.is_typing = true,
            (KeyCode::Esc, None) => self.filter.clear(),
            (KeyCode::Enter, None) => self.open(),
            _ => {}
        }
        None
    }

    fn press_typing(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    /// From the last row on the newest is followed again.
    fn step(&mut self, rows: isize) {
        let visible = self.visible();
        let Some(now) = self.cursor(&visible) else { return };
        let next = now.saturating_add_signed(rows);
        self.cursor = if next + 1 < visible.len() { Some(visible[next].number) } else { None };
    }

    fn pause(&mut self) {
        match self.waiting.take() {
            None => self.waiting = Some(VecDeque::new()),
            Some(waiting) => {
                self.rows.extend(waiting);
                let over = self.rows.len().saturating_sub(EVENTS_MAX);
                self.rows.drain(..over);
            }
        }
    }

    fn open(&mut self) {
        let visible = self.visible();
        let row = self.cursor(&visible).map(|at| visible[at].clone());
        self.opened = row.map(|row| Opened { row, above: 0 });
    }
}

impl Row {
    fn says(&self, wanted: &str) -> bool {
        [&self.subject, &self.what, &self.place, &self.brief]
            .into_iter()
            .chain(&self.payload)
            .any(|text| text.to_lowercase().contains(wanted))
    }
}

/// What its writer said, line by line; of what is not a message, its text.
fn payload(sighting: &Sighting) -> Vec<String> {
    let data =
        (!sighting.data.is_null()).then(|| serde_json::to_string_pretty(&sighting.data).ok()).flatten();
    let text = data.unwrap_or_else(|| {
        String::from_utf8_lossy(sighting.raw.value.as_deref().unwrap_or_default()).into_owned()
    });
    text.lines().map(printable).collect()
}

/// A message must not draw on the screen by itself.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use shared::contract::topics::Topic;

    use super::*;
    use crate::sighting::tests::seen;

    pub(in super::super) const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";

    /// An event of its own number; the same number is the same event.
    pub(in super::super) fn event(number: u32, what: &str) -> Sighting {
        let id = Uuid::from_u128(u128::from(number) + 1);
        let value = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"fulfil.{what}.v1","data":{{"order_id":"{ORDER}","note":"number {number}"}}}}"#
        );
        seen(Topic::OrdersEvents, ORDER, &value)
    }

    pub(in super::super) fn press(state: &mut State, keys: &str) {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            assert_eq!(state.press(KeyEvent::new(code, KeyModifiers::NONE)), None, "{c:?}");
        }
    }

    fn of(numbers: impl IntoIterator<Item = u32>) -> State {
        let mut state = State::default();
        numbers.into_iter().for_each(|number| state.take(&event(number, "order.confirmed")));
        state
    }

    /// The number of the event under the cursor.
    fn at(state: &State) -> u64 {
        let visible = state.visible();
        visible[state.cursor(&visible).unwrap()].number
    }

    #[test]
    fn what_comes_twice_is_marked_the_second_time() {
        let state = of([1, 2, 1]);
        let marks: Vec<bool> = state.visible().iter().map(|row| row.is_again).collect();
        assert_eq!(marks, [false, false, true]);
        assert_eq!((state.seen, state.again), (3, 1));
    }

    #[test]
    fn the_oldest_leave_and_the_cursor_stays_on_its_event() {
        let mut state = of(0..500);
        assert_eq!(at(&state), 500);
        press(&mut state, "kk");
        assert_eq!(at(&state), 498);
        state.take(&event(500, "order.completed"));
        assert_eq!((state.visible().len(), at(&state)), (EVENTS_MAX, 498));
        (501..1_100).for_each(|number| state.take(&event(number, "order.completed")));
        assert_eq!(
            (state.visible().len(), at(&state)),
            (EVENTS_MAX, 601),
            "the oldest, where its event left"
        );
        press(&mut state, "G");
        state.take(&event(2_000, "order.completed"));
        assert_eq!(at(&state), 1_101, "the newest is followed");
        press(&mut state, "kj");
        state.take(&event(2_001, "order.completed"));
        assert_eq!(at(&state), 1_102, "and again from the last row on");
    }

    #[test]
    fn a_pause_counts_on_and_loses_nothing() {
        let mut state = of([1, 2]);
        press(&mut state, " ");
        state.take(&event(3, "order.completed"));
        assert_eq!((state.visible().len(), state.seen, state.waiting()), (2, 3, 1));
        press(&mut state, " ");
        assert_eq!((state.visible().len(), state.waiting()), (3, 0));
        press(&mut state, " ");
        (10..1_000).for_each(|number| state.take(&event(number, "order.completed")));
        press(&mut state, " ");
        assert_eq!((state.visible().len(), state.seen), (EVENTS_MAX, 993));
    }

    #[test]
    fn a_filter_is_typed_and_taken_back() {
        let mut state = of([1, 2]);
        state.take(&event(3, "order.completed"));
        press(&mut state, "/COMPx\x08");
        assert_eq!((state.visible().len(), state.is_typing), (1, true));
        press(&mut state, "q");
        assert_eq!(state.visible().len(), 0, "a letter is a letter");
        press(&mut state, "\x08\n");
        assert_eq!((state.visible().len(), state.is_typing), (1, false));
        press(&mut state, "j\n");
        assert!(state.opened.as_ref().unwrap().row.payload.concat().contains("number 3"));
        press(&mut state, "\x1b\x1b");
        assert_eq!((state.opened.is_none(), state.visible().len()), (true, 3));
        press(&mut state, "/nothing such\nkj\n");
        assert!(state.opened.is_none(), "there is nothing to open");
    }

    #[test]
    fn it_is_left_by_q_and_by_control_c() {
        let mut state = of([1]);
        press(&mut state, "\nj");
        assert_eq!(state.press(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)), Some(Exit::Done));
        press(&mut state, "\x1b/");
        let interrupted = state.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(interrupted, Some(Exit::Interrupted), "also while typing");
    }

    #[test]
    fn what_is_not_a_message_cannot_draw() {
        let mut state = State::default();
        state.take(&seen(Topic::OrdersCommands, "\x1b[2J", "hello\x1b[31m\n\x07"));
        let visible = state.visible();
        let text = format!("{}{}{}", visible[0].subject, visible[0].brief, visible[0].payload.concat());
        assert!(text.contains("hello·[31m") && !text.contains(char::is_control), "{text}");
    }
}
