//! What the environment of a container takes of ConfigMaps and Secrets, and its command line of the environment.

use std::collections::BTreeSet;

use reloadlet_core::model::excess;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::EnvironmentSource;

use super::metadata::Names;
use crate::room::{Detail, Few, Part, Words};

/// So many names of variables in a command line are looked for, and so many uses of objects are made of them.
const MOST_ARGUMENTS: usize = excess::Part::Environment.most();

/// What a container takes.
pub(super) struct Environment {
    pub(super) sources: Vec<EnvironmentSource>,
    /// The variables that are set one by one, where there are others; in order.
    pub(super) variables: Vec<Name>,
    /// What the command line takes.
    pub(super) arguments: Vec<EnvironmentSource>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenVariable {
    name: Option<Words>,
    value: Detail<Option<Words>>,
    value_from: Option<Box<WrittenValue>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenValue {
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenVariables {
    prefix: Option<Words>,
    config_map_ref: Option<KeyRef>,
    secret_ref: Option<KeyRef>,
}

/// An object, and one of its keys where it is a key that is meant.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct KeyRef {
    name: Option<Words>,
    key: Option<Words>,
    optional: Option<bool>,
}

/// A plain one counts by its name, which hides the key of a whole object.
impl Part for WrittenVariable {}

impl Part for WrittenVariables {
    fn counts(&self) -> bool {
        self.config_map_ref.is_some() || self.secret_ref.is_some()
    }
}

impl KeyRef {
    fn into_source(self, kind: ObjectKind, names: &mut Names) -> EnvironmentSource {
        EnvironmentSource {
            kind,
            name: names.shared(self.name.unwrap_or_default()),
            key: self.key.map(|key| names.shared(key)),
            prefix: None,
            optional: self.optional == Some(true),
        }
    }
}

impl WrittenValue {
    fn into_source(self, names: &mut Names) -> Option<EnvironmentSource> {
        let (kind, key) = match (self.config_map_key_ref, self.secret_key_ref) {
            (Some(key), _) => (ObjectKind::ConfigMap, key),
            (None, Some(key)) => (ObjectKind::Secret, key),
            (None, None) => return None,
        };
        let source = key.into_source(kind, names);
        // The API server takes none without a key.
        Some(EnvironmentSource { key: Some(source.key.unwrap_or_else(|| "".into())), ..source })
    }
}

impl WrittenVariables {
    fn into_source(self, names: &mut Names) -> Option<EnvironmentSource> {
        let (kind, object) = match (self.config_map_ref, self.secret_ref) {
            (Some(object), _) => (ObjectKind::ConfigMap, object),
            (None, Some(object)) => (ObjectKind::Secret, object),
            (None, None) => return None,
        };
        let prefix = self.prefix.filter(|prefix| !prefix.0.is_empty()).map(|prefix| names.shared(prefix));
        Some(EnvironmentSource { key: None, prefix, ..object.into_source(kind, names) })
    }
}

/// What `env`, `envFrom`, `command` and `args` of a container take.
pub(super) fn read<'a>(
    single: Few<WrittenVariable>,
    whole: Few<WrittenVariables>,
    words: impl Iterator<Item = &'a Words>,
    names: &mut Names,
) -> Environment {
    let mut wanted = Wanted::default();
    words.for_each(|word| wanted.add(&word.0));
    // A variable's value may have those that stand before it.
    let mut own = Vec::with_capacity(single.len());
    for variable in single.into_iter().rev() {
        let WrittenVariable { name, value: Detail(value), value_from } = variable;
        let name = name.unwrap_or_default();
        let is_wanted = wanted.names.contains(&name.0);
        if let Some(value) = value.filter(|_| is_wanted) {
            wanted.add(&value.0);
        }
        let source = value_from.and_then(|value| value.into_source(names));
        own.push((names.shared(name), source, is_wanted));
    }
    let whole: Vec<EnvironmentSource> =
        whole.into_iter().filter_map(|object| object.into_source(names)).collect();
    let mut arguments: Vec<EnvironmentSource> = own
        .iter()
        .filter(|(_, _, is_wanted)| *is_wanted)
        .filter_map(|(_, source, _)| source.clone())
        .collect();
    let variables: BTreeSet<Name> = own.iter().map(|(name, _, _)| name.clone()).collect();
    let others = wanted.names.iter().filter(|name| !variables.contains(name.as_str()));
    let of_objects = others.flat_map(|name| {
        let with_prefix = whole.iter().filter_map(move |object| {
            let key = name.strip_prefix(object.prefix.as_deref().unwrap_or_default())?;
            Some((object, key.to_owned()))
        });
        with_prefix.take(MOST_ARGUMENTS)
    });
    for (object, key) in of_objects.take(MOST_ARGUMENTS) {
        let key = Some(names.shared(Words(key)));
        arguments.push(EnvironmentSource { key, prefix: None, ..object.clone() });
    }
    let in_order = |mut sources: Vec<EnvironmentSource>| {
        sources.sort();
        sources.dedup();
        sources
    };
    let is_hiding = !whole.is_empty();
    let sources = own.into_iter().filter_map(|(_, source, _)| source).chain(whole);
    Environment {
        sources: in_order(sources.collect()),
        variables: variables.into_iter().filter(|_| is_hiding).collect(),
        arguments: in_order(arguments),
    }
}

/// The variables that a command line takes.
#[derive(Default)]
struct Wanted {
    names: BTreeSet<String>,
}

impl Wanted {
    /// Adds those that a text takes (Kubernetes `third_party/forked/golang/expansion`): `$(NAME)`, and not `$$(NAME)`.
    fn add(&mut self, text: &str) {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('$') {
            rest = match after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                Some((name, rest)) if self.names.len() < MOST_ARGUMENTS => {
                    self.names.insert(name.to_owned());
                    rest
                }
                Some(_) => return,
                // A second one is the first one's text.
                None => after.strip_prefix('$').unwrap_or(after),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Vec<String> {
        let mut wanted = Wanted::default();
        wanted.add(text);
        wanted.names.into_iter().collect()
    }

    #[test]
    fn variables_are_found_as_the_kubelet_expands_them() {
        assert_eq!(wanted("--level=$(LEVEL) $(A)$(B)"), ["A", "B", "LEVEL"]);
        assert_eq!(wanted("$$(NO) $NO $ (NO) $(NO"), [""; 0]);
        assert_eq!(wanted("$$$(YES)"), ["YES"]);
        assert_eq!(wanted("$"), [""; 0]);
    }

    #[test]
    fn of_very_many_variables_only_so_many_are_looked_for() {
        let text: String = (0..2 * MOST_ARGUMENTS).map(|n| format!("$(A{n})")).collect();
        assert_eq!(wanted(&text).len(), MOST_ARGUMENTS);
    }
}
