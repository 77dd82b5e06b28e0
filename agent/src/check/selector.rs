//! Selectors of labels, as Reloader's flags write them.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector, SelectorExt as _};
use reloadlet_manifest::Labels;

/// A selector; without anything in it all labels fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chooses(Selector);

impl Chooses {
    /// Reads `key=value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, `key` and `!key`, with commas between, and Reloader's
    /// own `key:value` and `key:*`. `None` for what is none of these.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let each = requirements(text).into_iter().map(requirement);
        Some(Self(each.collect::<Option<Vec<_>>>()?.into_iter().collect()))
    }

    /// Whether these labels fit.
    pub(super) fn takes(&self, labels: &Labels) -> bool {
        let labels = labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.0.selects_all() || self.0.matches(&labels.collect())
    }
}

/// The text between commas that aren't in parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_end = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(is_end).map(str::trim).filter(|one| !one.is_empty()).collect()
}

fn requirement(text: &str) -> Option<Expression> {
    let pair = |key: &str, value: &str| Some((name(key)?, word(value)?));
    if let Some(values) = text.strip_suffix(')') {
        let (head, values) = values.split_once('(')?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let values: BTreeSet<String> = values.split(',').map(word).collect::<Option<_>>()?;
        return match operator {
            "in" => Some(Expression::In(name(key)?, values)),
            "notin" => Some(Expression::NotIn(name(key)?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return pair(key, value).map(|(key, value)| Expression::NotEqual(key, value));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return pair(key, value).map(|(key, value)| Expression::Equal(key, value));
    }
    if let Some((key, value)) = text.split_once(':') {
        return match value.trim() {
            "*" => name(key).map(Expression::Exists),
            value => pair(key, value).map(|(key, value)| Expression::Equal(key, value)),
        };
    }
    match text.strip_prefix('!') {
        Some(key) => name(key).map(Expression::DoesNotExist),
        None => name(text).map(Expression::Exists),
    }
}

/// The key of a label.
fn name(text: &str) -> Option<String> {
    word(text).filter(|word| !word.is_empty())
}

/// A key or a value.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.bytes().all(fits).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use reloadlet_manifest::{Format, Found};

    use super::*;

    fn labels(text: &str) -> Labels {
        let object = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {{{text}}}}}\n");
        match reloadlet_manifest::read(object.as_bytes(), Format::Yaml).remove(0) {
            Ok(Found::Other(other)) => other.labels.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn selectors_take_what_kubernetes_and_reloader_say_that_they_do() {
        let of = labels("env: prod, tier: web, example.org/x: \"\"");
        for (text, takes) in [
            ("", true),
            ("env=prod", true),
            ("env==prod,tier=web", true),
            ("env=test", false),
            ("env:prod", true),
            ("env:*", true),
            ("other:*", false),
            ("env!=prod", false),
            ("other!=prod", true),
            ("env in (test, prod), tier", true),
            ("env notin (test,prod)", false),
            ("other notin (test)", true),
            ("!other", true),
            ("!env", false),
            ("example.org/x=", true),
        ] {
            assert_eq!(Chooses::parse(text).unwrap().takes(&of), takes, "{text}");
        }
        for bad in ["env=a b", "env in prod)", "env near (a)", "=a", "!", "env in (a", "a>1", "{{ x }}"] {
            assert_eq!(Chooses::parse(bad), None, "{bad}");
        }
    }
}
