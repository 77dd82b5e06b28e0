//! The report as annotations of a pull request (workflow commands of GitHub Actions).

use std::fmt::Write as _;

use reloadlet_core::model::shown::plain;

use super::finding::Level;
use super::report::Report;

/// One command a line.
pub(super) fn annotations(report: &Report) -> String {
    let mut text = String::new();
    for unread in &report.unreadable {
        command(&mut text, "error", &unread.file, unread.line, "unreadable", &unread.sentence);
    }
    if let Some(sentence) = report.unjudged.sentence() {
        // Of several files.
        let _infallible = writeln!(text, "::notice title=not-judged::{}", data(&sentence));
    }
    for checked in &report.workloads {
        for finding in &checked.findings {
            let level = match finding.level {
                Level::Hint => "notice",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            let remedy = finding.remedy.iter().map(|remedy| format!("; {remedy}"));
            let said = format!("{}: {}{}", checked.title(), finding.sentence, remedy.collect::<String>());
            command(&mut text, level, &checked.file, Some(checked.line), finding.code.as_str(), &said);
        }
    }
    text
}

fn command(text: &mut String, level: &str, file: &str, line: Option<usize>, title: &str, said: &str) {
    let line = line.map(|line| format!(",line={line}")).unwrap_or_default();
    // Writing to a string doesn't fail.
    let _infallible =
        writeln!(text, "::{level} file={}{line},title={title}::{}", property(&plain(file)), data(said));
}

/// A message: what would end it is escaped (`@actions/core`, `command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which a comma or a colon would end, too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_a_command_by_a_name() {
        let mut text = String::new();
        command(
            &mut text,
            "error",
            "a,line=1::x\n\u{1b}[31m.yaml",
            Some(3),
            "frozen-env",
            "100%\n::error::forged",
        );
        assert_eq!(
            text,
            "::error file=a%2Cline=1%3A%3Ax\\n\\u{1b}[31m.yaml,line=3,title=frozen-env::100%25%0A::error::forged\n"
        );
    }
}
