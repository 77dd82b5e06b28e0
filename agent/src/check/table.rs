//! The report as people read it.

use std::fmt::Write as _;

use reloadlet_core::model::shown::{plain, unquoted};
use reloadlet_core::policy::references::{Effect, Reference};

use super::codes::{PAGE, of_reference};
use super::report::{Checked, Report};

const HEAD: [&str; 5] = ["CONTAINER", "OBJECT", "BY", "ON A CHANGE", "WHY"];

/// The whole report, with a line's end after each line.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    for checked in &report.workloads {
        workload(checked, &mut text);
    }
    for unread in &report.unreadable {
        // Writing to a string doesn't fail.
        let _infallible = writeln!(text, "{}: {}\n", plain(&unread.file), unread.sentence);
    }
    if let Some(sentence) = report.unjudged.sentence() {
        let _infallible = writeln!(text, "{sentence}\n");
    }
    text.push_str(&summary(report));
    text
}

fn workload(checked: &Checked, text: &mut String) {
    let _infallible = writeln!(text, "{}  ({}:{})", checked.title(), plain(&checked.file), checked.line);
    if !checked.references.is_empty() {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(checked.references.iter().map(row));
        let mut widths = [0; HEAD.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(widths) {
                let _infallible = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    for finding in &checked.findings {
        let _infallible =
            write!(text, "  {} {}: {}", finding.level.as_str(), finding.code.as_str(), finding.sentence);
        if let Some(remedy) = &finding.remedy {
            let _infallible = write!(text, "; {remedy}");
        }
        text.push('\n');
    }
    text.push('\n');
}

fn row(reference: &Reference) -> [String; HEAD.len()] {
    let container = reference.container.as_deref().unwrap_or("-").to_owned();
    let mut object = format!("{} {}", reference.subject.written(), unquoted(reference.subject.name()));
    match &*reference.part.written_keys() {
        [] => {}
        [key] => object += &format!(" ({})", unquoted(key)),
        keys => object += &format!(" ({} keys)", keys.len()),
    }
    let effect = match &reference.effect {
        Effect::Http(request) => unquoted(&request.to_string()),
        Effect::Signal(signal) => signal.to_string(),
        Effect::Itself => "read by itself".to_owned(),
        Effect::Roll => "roll".to_owned(),
        Effect::Restart => "restart in place".to_owned(),
        Effect::Never => "never".to_owned(),
    };
    let why = match reference.effect {
        Effect::Signal(_) | Effect::Http(_) | Effect::Itself => String::new(),
        Effect::Roll | Effect::Restart | Effect::Never => {
            of_reference(reference.why).map_or(reference.why.as_str(), |code| code.as_str()).to_owned()
        }
    };
    [container, object, reference.way.as_str().to_owned(), effect, why]
}

fn summary(report: &Report) -> String {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for finding in report.workloads.iter().flat_map(|checked| &checked.findings) {
        *counts.entry(std::cmp::Reverse(finding.level)).or_default() += 1;
    }
    let found = counts.iter().map(|(level, count)| format!("{count} {}", plural(level.0.as_str(), *count)));
    let mut parts = vec![format!("{} {}", report.count, plural("workload", report.count))];
    parts.extend(found);
    if report.others > 0 {
        let (verb, what) = if report.others == 1 { ("is", "manifest") } else { ("are", "manifests") };
        let documents = plural("document", report.others);
        parts.push(format!("{} {documents} that {verb} no whole {what}", report.others));
    }
    if !report.unreadable.is_empty() {
        parts.push(format!("{} unreadable", report.unreadable.len()));
    }
    let mut text = parts.join(", ");
    if !counts.is_empty() {
        text += &format!(": {PAGE} explains each code");
    }
    text.push('\n');
    text
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
