//! The screen of `topic watch --tui`, from what it knows alone.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Paragraph, Row as TableRow, Table},
};

use super::state::{Opened, Row, State};
use crate::output::{Tone, count};

const KEYS: &str = "j/k move  enter payload  / filter  space pause  G newest  q leave";
const KEYS_OPENED: &str = "j/k scroll  enter back  q leave";
/// Of the cursor, and of what is not under it.
const MARKS: [&str; 2] = ["›", " "];
const AGAIN: &str = "again";

/// `colours`: whether there are any. No sign is a colour alone.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, colours: bool) {
    let [head, pane, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    let visible = state.visible();
    frame.render_widget(Paragraph::new(heading(state, visible.len())), head);
    match &state.opened {
        Some(opened) => draw_payload(frame, opened, pane),
        None => draw_rows(frame, state, &visible, pane, colours),
    }
    let keys = if state.opened.is_some() { KEYS_OPENED } else { KEYS };
    let below = match state.is_typing {
        true => format!("/{}▏  enter keeps it, esc clears it", state.filter),
        false => keys.to_owned(),
    };
    frame.render_widget(Paragraph::new(below), foot);
}

fn heading(state: &State, visible: usize) -> Line<'static> {
    let number = |number: u64| count(i128::from(number));
    let mut text = format!("{} events, {} again", number(state.seen), number(state.again));
    if !state.filter.is_empty() {
        text.push_str(&format!("  filter {:?}: {visible}", state.filter));
    }
    let mut spans = vec![Span::raw(text)];
    if state.is_paused() {
        let text = format!("  PAUSED, {} more", count(state.waiting() as i64));
        spans.push(Span::styled(text, Style::new().add_modifier(Modifier::BOLD)));
    }
    Line::from(spans)
}

fn draw_rows(frame: &mut Frame<'_>, state: &State, visible: &[&Row], pane: Rect, colours: bool) {
    let Some(cursor) = state.cursor(visible) else {
        let text = if state.seen == 0 { "nothing yet" } else { "nothing that matches" };
        return frame.render_widget(Paragraph::new(text), pane);
    };
    let shown = window(visible.len(), cursor, pane.height.into());
    let width = |of: fn(&Row) -> &str| {
        visible.iter().map(|row| of(row).chars().count()).max().unwrap_or_default().min(40) as u16
    };
    let widths = [
        Constraint::Length(1),
        Constraint::Length(12),
        Constraint::Length(width(|row| &row.short)),
        Constraint::Length(AGAIN.len() as u16),
        Constraint::Length(width(|row| &row.what)),
        Constraint::Fill(1),
        Constraint::Length(width(|row| &row.place)),
    ];
    let rows = shown.map(|at| {
        let row = visible[at];
        let cells = [
            Span::raw(MARKS[usize::from(at != cursor)]),
            Span::styled(row.time.clone(), style(Tone::Dim, colours)),
            Span::styled(row.short.clone(), style(Tone::of(&row.subject), colours)),
            Span::raw(if row.is_again { AGAIN } else { "" }),
            Span::styled(row.what.clone(), style(row.tone, colours)),
            Span::raw(row.brief.clone()),
            Span::styled(row.place.clone(), style(Tone::Dim, colours)),
        ];
        let line = TableRow::new(cells);
        if at == cursor { line.style(Style::new().add_modifier(Modifier::BOLD)) } else { line }
    });
    frame.render_widget(Table::new(rows, widths).column_spacing(1), pane);
}

fn draw_payload(frame: &mut Frame<'_>, opened: &Opened, pane: Rect) {
    let Opened { row, above } = opened;
    let again = if row.is_again { "  again" } else { "" };
    let title = format!(" {}  {}  {}{again} ", row.what, row.subject, row.place);
    let lines = row.payload.iter().skip(*above).map(|line| Line::raw(line.as_str()));
    frame
        .render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(Block::bordered().title(title)), pane);
}

/// Which rows are on the screen: the last ones while the cursor is among them, else those around it.
fn window(rows: usize, cursor: usize, height: usize) -> std::ops::Range<usize> {
    let last = rows.saturating_sub(height);
    let first = if cursor >= last { last } else { cursor.saturating_sub(height / 2) };
    first..(first + height).min(rows)
}

fn style(tone: Tone, colours: bool) -> Style {
    let plain = Style::new();
    match tone {
        _ if !colours => plain,
        Tone::Plain => plain,
        Tone::Dim => plain.add_modifier(Modifier::DIM),
        Tone::Bold => plain.add_modifier(Modifier::BOLD),
        Tone::Good => plain.fg(Color::Green),
        Tone::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Warn => plain.fg(Color::Yellow),
        Tone::Of(number) => plain.fg(Color::Indexed(number)),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::state::tests::{event, press},
        *,
    };

    fn screen(state: &State, colours: bool) -> (Vec<String>, bool) {
        let mut terminal = Terminal::new(TestBackend::new(100, 8)).unwrap();
        terminal.draw(|frame| draw(frame, state, colours)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..100).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        let is_coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset);
        ((0..8).map(line).collect(), is_coloured)
    }

    fn of(numbers: impl IntoIterator<Item = u32>) -> State {
        let mut state = State::default();
        numbers.into_iter().for_each(|number| state.take(&event(number, "order.confirmed")));
        state
    }

    #[test]
    fn the_newest_is_at_the_end_and_what_came_before_says_so() {
        let (lines, is_coloured) = screen(&of([1, 2, 3, 4, 5, 6, 7, 1]), true);
        assert_eq!(lines[0], "8 events, 1 again");
        assert!(lines[6].starts_with('›') && lines[6].contains(" again order.confirmed"), "{lines:?}");
        assert!(lines[1].contains("0198f3c2 "), "{lines:?}");
        assert!(!lines[5].contains("again") && lines[5].contains("orders.events[2]@17"), "{lines:?}");
        assert!(lines[7].ends_with("q leave") && is_coloured);
        let (plain, is_coloured) = screen(&of([1, 2, 3, 4, 5, 6, 7, 1]), false);
        assert!(plain == lines && !is_coloured, "without colours it says the same");
    }

    #[test]
    fn the_screen_says_that_it_is_paused_filtered_or_empty() {
        assert_eq!(screen(&State::default(), true).0[1], "nothing yet");
        let mut state = of([1, 2]);
        press(&mut state, " ");
        state.take(&event(3, "order.completed"));
        press(&mut state, "/zzz");
        let (lines, _) = screen(&state, true);
        assert_eq!(lines[0], "3 events, 0 again  filter \"zzz\": 0  PAUSED, 1 more");
        assert_eq!(lines[1], "nothing that matches");
        assert!(lines[7].starts_with("/zzz▏"), "{lines:?}");
    }

    #[test]
    fn a_payload_is_scrolled_in_its_frame() {
        let mut state = of([1]);
        press(&mut state, "\n");
        let (lines, _) = screen(&state, true);
        assert!(lines[1].contains(" order.confirmed  0198f3c2-5a10-7c31-9d44-0a4be1c25f01 "), "{lines:?}");
        assert!(lines[2].starts_with("│{"), "{lines:?}");
        press(&mut state, "jjjjjjjjj");
        assert!(screen(&state, true).0[2].starts_with("│}"), "the last line stays");
        press(&mut state, "k");
        assert!(screen(&state, true).0[3].starts_with("│}"), "and comes back");
    }

    #[test]
    fn the_cursor_is_on_the_screen_wherever_it_is() {
        for (rows, cursor, height) in
            [(0, 0, 5), (3, 0, 5), (20, 19, 5), (20, 14, 5), (20, 10, 5), (20, 0, 5)]
        {
            let shown = window(rows, cursor, height);
            assert!(rows == 0 || shown.contains(&cursor), "{rows} {cursor}: {shown:?}");
            assert_eq!(shown.len(), rows.min(height));
        }
        assert_eq!(window(10, 3, 0), 3..3, "on a screen without room");
    }
}
