//! Columns for people: aligned, without lines, cut to the terminal's width. What a program reads is `--json`.

use anstyle::Style;

/// Between two columns.
const GAP: &str = "  ";
/// One cell: a text, and how it is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// At most `width` columns wide.
    fn cut(&self, width: usize) -> String {
        if self.width() <= width {
            return self.text.clone();
        }
        self.text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

/// A column: its head, and how dear it is. On a narrow terminal the cheapest go first, and 0 never goes.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) worth: u8,
}

/// What becomes of a last column that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Its end is cut off: each row is one line.
    Cut,
    /// It goes on in the next line.
    Wrapped,
}

/// The last column is given up rather than made narrower than this.
const LEAST: usize = 16;

/// Lines of a table under its head.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, last: Last) -> String {
    let head: Vec<Cell> =
        columns.iter().map(|column| Cell::styled(column.head, Style::new().bold())).collect();
    let natural = |at: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(at));
        cells.map(Cell::width).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|at| (at, natural(at))).collect();
    fit(&mut shown, columns, width);
    std::iter::once(&head).chain(rows).map(|row| line(row, &shown, last)).collect()
}

/// Cuts the last column, and gives columns up, until it fits. Columns are numbers and widths.
fn fit(shown: &mut Vec<(usize, usize)>, columns: &[Column], width: Option<usize>) {
    let Some(room) = width else { return };
    loop {
        let Some((end, rest)) = shown.split_last_mut() else { return };
        let taken: usize = rest.iter().map(|(_, width)| width + GAP.len()).sum();
        if taken + end.1 <= room {
            return;
        }
        if taken + LEAST <= room {
            end.1 = room - taken;
            return;
        }
        let cheapest = shown.iter().enumerate().filter(|(_, (at, _))| columns[*at].worth > 0);
        match cheapest.max_by_key(|(_, (at, _))| columns[*at].worth).map(|(place, _)| place) {
            Some(place) => drop(shown.remove(place)),
            None => return,
        }
    }
}

fn line(row: &[Cell], shown: &[(usize, usize)], last: Last) -> String {
    let mut text = String::new();
    let mut indent = 0;
    for (place, (at, width)) in shown.iter().enumerate() {
        let Some(cell) = row.get(*at) else { continue };
        let style = cell.style;
        let is_last = place + 1 == shown.len();
        if is_last && last == Last::Wrapped {
            let lines = wrapped(&cell.text, *width);
            let behind = format!("\n{}", " ".repeat(indent));
            text.push_str(&format!("{style}{}{style:#}", lines.join(&behind)));
            continue;
        }
        let cut = cell.cut(*width);
        let blanks = if is_last { 0 } else { width.saturating_sub(cut.chars().count()) + GAP.len() };
        text.push_str(&format!("{style}{cut}{style:#}{}", " ".repeat(blanks)));
        indent += width + GAP.len();
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
    text
}

/// Breaks a text at spaces.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { head: "NAME", worth: 0 },
        Column { head: "STATE", worth: 0 },
        Column { head: "PRINCIPAL", worth: 2 },
        Column { head: "LAST EVENT", worth: 1 },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |cells: [&str; 4]| cells.map(Cell::new).to_vec();
        vec![
            row(["acme", "held", "company", "refreshed: 1 → 2, generation 7"]),
            row(["a-longer-name", "suspended", "company", ""]),
        ]
    }

    fn plain(width: Option<usize>, last: Last) -> String {
        anstream::adapter::strip_str(&render(&COLUMNS, &rows(), width, last)).to_string()
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        assert_eq!(
            plain(None, Last::Cut),
            "NAME           STATE      PRINCIPAL  LAST EVENT\n\
             acme           held       company    refreshed: 1 → 2, generation 7\n\
             a-longer-name  suspended  company\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_the_last_column_is_cut_and_then_the_cheapest_goes() {
        let sixty = plain(Some(60), Last::Cut);
        assert!(sixty.contains("PRINCIPAL") && sixty.contains("refreshed: 1 → 2, gene…"), "{sixty}");
        let forty = plain(Some(44), Last::Cut);
        assert!(!forty.contains("PRINCIPAL") && forty.contains("refreshed: 1 → 2,…"), "{forty}");
        let twenty = plain(Some(24), Last::Cut);
        assert_eq!(twenty, "NAME           STATE\nacme           held\na-longer-name  suspended\n");
        for (width, text) in [(60, sixty), (44, forty), (24, twenty)] {
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }

    #[test]
    fn a_last_column_may_go_on_in_the_next_line() {
        let text = plain(Some(55), Last::Wrapped);
        assert!(
            text.contains("refreshed: 1 → 2,\n                                     generation 7"),
            "{text}"
        );
    }
}
