//! Prometheus text, as far as tests need it.

use std::collections::BTreeMap;

use crate::Error;

/// The samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Parses the text format.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines
            .map(|line| {
                sample(line)
                    .ok_or_else(|| Error::Malformed { what: "a metric".to_owned(), message: line.to_owned() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { samples })
    }

    /// The sum of the samples of this name that have at least these labels; 0 where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The sum of all samples of this name; 0 where there is none.
    pub fn sum(&self, name: &str) -> f64 {
        self.value(name, &[])
    }

    /// Whether there is a sample of this name with at least these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The names of all samples.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.iter().map(|sample| sample.name.as_str())
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|is| is.as_str() == *value))
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, labels, rest) = match line.find('{') {
        Some(open) => {
            let (labels, rest) = label_pairs(&line[open + 1..])?;
            (&line[..open], labels, rest)
        }
        None => {
            let (series, rest) = line.split_once(' ')?;
            (series, BTreeMap::new(), rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: series.trim().to_owned(), labels, value })
}

/// Reads `a="b",c="d"} …` and returns what follows the brace.
fn label_pairs(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.trim().to_owned(), value);
        text = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_select_and_missing_ones_sum_up() {
        let text = "# HELP a b\na{x=\"1\",y=\"q\\\"}\"} 2\na{x=\"2\"} 3.5 1700000000\nb +Inf\nc_total 7\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.value("a", &[("y", "q\"}")]), 2.0);
        assert_eq!(metrics.sum("a"), 5.5);
        assert_eq!(metrics.sum("c_total"), 7.0);
        assert!(metrics.sum("b").is_infinite());
        assert!(!metrics.has("d", &[]));
        assert!(Metrics::parse("a{").is_err());
    }
}
