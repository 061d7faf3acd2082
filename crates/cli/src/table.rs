//! Columns for people: aligned, without lines, cut to the terminal's width. What a program reads is `--json`.

use anstyle::Style;

/// Between two columns.
const GAP: &str = "  ";
/// A column is not cut shorter than this.
const LEAST: usize = 8;

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

/// Lines of a table under its head. Where `width` is too narrow, the widest columns are cut.
pub(crate) fn render(head: &[&str], rows: &[Vec<Cell>], width: Option<usize>) -> String {
    let head: Vec<Cell> = head.iter().map(|name| Cell::styled(*name, Style::new().bold())).collect();
    let all = || std::iter::once(&head).chain(rows);
    let natural =
        (0..head.len()).map(|at| all().filter_map(|row| row.get(at)).map(Cell::width).max().unwrap_or(0));
    let widths = fitted(natural.collect(), width);
    let mut text = String::new();
    for row in all() {
        let last = row.len().saturating_sub(1);
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let shown = cell.cut(*width);
            let style = cell.style;
            text.push_str(&format!("{style}{shown}{style:#}"));
            if at < last {
                let blanks = width.saturating_sub(shown.chars().count());
                text.push_str(&" ".repeat(blanks));
                text.push_str(GAP);
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn fitted(mut widths: Vec<usize>, width: Option<usize>) -> Vec<usize> {
    let Some(room) = width else { return widths };
    let room = room.saturating_sub(GAP.len() * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        // Of two that are as wide, the later one: the name is worth most.
        let Some(widest) =
            widths.iter_mut().rev().max_by_key(|width| **width).filter(|width| **width > LEAST)
        else {
            break;
        };
        *widest -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        let row = |cells: [&str; 3]| cells.map(Cell::new).to_vec();
        vec![row(["acme", "held", "refreshed: 1 → 2, generation 7"]), row(["a-longer-name", "suspended", ""])]
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let text = plain(&render(&["NAME", "STATE", "LAST EVENT"], &rows(), None));
        assert_eq!(
            text,
            "NAME           STATE      LAST EVENT\n\
             acme           held       refreshed: 1 → 2, generation 7\n\
             a-longer-name  suspended\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_the_widest_column_is_cut() {
        let text = plain(&render(&["NAME", "STATE", "LAST EVENT"], &rows(), Some(40)));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("a-longer-name") && text.contains('…'), "{text}");
    }
}
