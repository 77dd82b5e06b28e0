//! The table.

use std::fs;

use super::samples::Samples;

/// What was found, and what was promised of it.
#[derive(Debug, Default)]
pub struct Table(Vec<Line>);

#[derive(Debug)]
struct Line {
    what: String,
    figures: Figures,
    limit: Option<Limit>,
}

#[derive(Debug)]
enum Figures {
    One(String),
    Many(Samples),
}

#[derive(Debug)]
struct Limit {
    promise: String,
    kept: bool,
}

impl Table {
    /// One figure, for information.
    pub(crate) fn value(&mut self, what: &str, value: String) {
        self.add(what, Figures::One(value), None);
    }

    /// One figure, which may be this at most.
    pub(crate) fn limited_value(&mut self, what: &str, value: f64, most: f64) {
        let limit = Limit { promise: format!("at most {most}"), kept: value <= most };
        self.add(what, Figures::One(short(value)), Some(limit));
    }

    /// A number of things, which may be this at most.
    pub(crate) fn limited_count(&mut self, what: &str, count: usize, most: usize) {
        let limit = Limit { promise: format!("at most {most}"), kept: count <= most };
        self.add(what, Figures::One(count.to_string()), Some(limit));
    }

    /// How something is spread, for information.
    pub(crate) fn spread(&mut self, what: &str, samples: Samples) {
        self.add(what, Figures::Many(samples), None);
    }

    /// How something is spread, with the most that all but a hundredth of it may be.
    pub(crate) fn limited_spread(&mut self, what: &str, samples: Samples, most: f64) {
        let limit = Limit { promise: format!("p99 at most {most}"), kept: samples.percentile(99) <= most };
        self.add(what, Figures::Many(samples), Some(limit));
    }

    /// How something is spread, with the most that each may be.
    pub(crate) fn limited_each(&mut self, what: &str, samples: Samples, most: f64) {
        let limit = Limit { promise: format!("each at most {most}"), kept: samples.percentile(100) <= most };
        self.add(what, Figures::Many(samples), Some(limit));
    }

    fn add(&mut self, what: &str, figures: Figures, limit: Option<Limit>) {
        self.0.push(Line { what: what.to_owned(), figures, limit });
    }

    /// Prints it; whether no limit is broken.
    #[allow(clippy::print_stdout, reason = "it is for people to look at")]
    pub fn print(&self) -> bool {
        let what = self.0.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
        let mut out = format!(
            "\n{:<what$} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9}\n",
            "", "value", "n", "p50", "p90", "p99", "max"
        );
        for line in &self.0 {
            let figures = match &line.figures {
                Figures::One(value) => format!("{value:>9} {:46}", ""),
                Figures::Many(samples) => {
                    let [p50, p90, p99, max] =
                        [50, 90, 99, 100].map(|share| short(samples.percentile(share)));
                    format!("{:>9} {:>6} {p50:>9} {p90:>9} {p99:>9} {max:>9}", "", samples.count())
                }
            };
            let limit = line.limit.as_ref().map_or_else(String::new, |limit| {
                format!("  {}  {}", if limit.kept { "pass" } else { "FAIL" }, limit.promise)
            });
            out += &format!("{:<what$} {}\n", line.what, format!("{figures}{limit}").trim_end());
        }
        print!("{out}");
        self.0.iter().all(|line| line.limit.as_ref().is_none_or(|limit| limit.kept))
    }
}

/// Two digits after the point at most, and none where they say nothing.
fn short(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Prints where it is measured.
#[allow(clippy::print_stdout, reason = "it is for people to look at")]
pub fn print_machine() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let [cpus, release, load] = ["/proc/cpuinfo", "/proc/sys/kernel/osrelease", "/proc/loadavg"].map(read);
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    println!(
        "{} cores ({}), Linux {}, load {} before the start",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.trim_start_matches(['\t', ' ', ':']),
        release.trim(),
        load.split(' ').next().unwrap_or("unknown")
    );
}
