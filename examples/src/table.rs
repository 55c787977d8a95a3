//! Tables that are easy to read in a terminal and are Markdown as they stand.

/// Columns with a heading; numbers go to the right.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Table {
        Table { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row. Missing cells stay empty, spare ones are dropped.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.rows[0].len(), String::new());
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.rows[0].len()).map(|c| self.rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0).max(3)).collect()
    }

    /// A column is numeric if every cell below its heading starts like a number or is empty.
    fn numeric(&self, column: usize) -> bool {
        let starts =
            |s: &str| s.is_empty() || s == "-" || s.trim_start_matches(['-', '+', '<', '~']).starts_with(|c: char| c.is_ascii_digit());
        self.rows.len() > 1 && self.rows[1..].iter().all(|r| starts(&r[column]))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths = self.widths();
        for (i, row) in self.rows.iter().enumerate() {
            write!(f, "|")?;
            for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let width = *width;
                if self.numeric(c) { write!(f, " {cell:>width$} |")? } else { write!(f, " {cell:<width$} |")? }
            }
            writeln!(f)?;
            if i == 0 {
                write!(f, "|")?;
                for (c, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    if self.numeric(c) { write!(f, "{dashes}:|")? } else { write!(f, "{dashes}-|")? }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_align_and_the_result_is_markdown() {
        let mut t = Table::new(["method", "KL"]);
        t.row(["rtn-4", "0.125"]);
        t.row(["gptq-2-g64", "12.5"]);
        let want = "| method     |    KL |\n|------------|------:|\n| rtn-4      | 0.125 |\n| gptq-2-g64 |  12.5 |\n";
        assert_eq!(t.to_string(), want);
    }
}
