//! What a volume is made of, and which files a version of an object becomes.

use std::sync::Arc;

use crate::model::digest::Files;
use crate::model::names::Name;
use crate::model::object::{ObjectKind, ObjectRef, ObjectVersion};
use crate::model::pod::{Item, ObjectSource, ProjectedSource, VolumeSource};

/// One source of a volume, in the order of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A ConfigMap or a Secret.
    Object(ObjectRef, ObjectSource),
    /// Something else, which writes these paths.
    Other(Vec<Name>),
}

/// What a volume of a pod in this namespace is made of.
pub fn of_volume(volume: &VolumeSource, namespace: &Name) -> Vec<Source> {
    let object = |kind, source: &ObjectSource| {
        let object = ObjectRef { kind, namespace: namespace.clone(), name: source.name.clone() };
        Source::Object(object, source.clone())
    };
    match volume {
        VolumeSource::ConfigMap(source) => vec![object(ObjectKind::ConfigMap, source)],
        VolumeSource::Secret(source) => vec![object(ObjectKind::Secret, source)],
        VolumeSource::Projected(sources) => {
            let each = sources.iter().map(|source| match source {
                ProjectedSource::ConfigMap(source) => object(ObjectKind::ConfigMap, source),
                ProjectedSource::Secret(source) => object(ObjectKind::Secret, source),
                ProjectedSource::Rotating { paths } => {
                    Source::Other(paths.iter().map(|path| path.as_name().clone()).collect())
                }
            });
            each.collect()
        }
        VolumeSource::DownwardApi | VolumeSource::Other => Vec::new(),
    }
}

/// The paths that an object can become; `None` if its keys decide.
pub fn paths(source: &ObjectSource) -> Option<Vec<Name>> {
    (!source.items.is_empty()).then(|| source.items.iter().map(|item| item.path.as_name().clone()).collect())
}

/// The files that a version of an object becomes with these items; `None` for the version: there is no such object. `None` where the
/// kubelet can't publish it and leaves the volume as it is: what isn't optional is missing (kubelet `configmap.go`,
/// `MakePayload`).
pub fn files(items: &[Item], optional: bool, version: Option<&ObjectVersion>) -> Option<Arc<Files>> {
    let Some(version) = version else { return optional.then(Arc::default) };
    if items.is_empty() {
        return Some(version.keys.clone());
    }
    let mut files = Files::new();
    for item in items {
        match version.keys.get(&item.key) {
            Some(digest) => drop(files.insert(item.path.as_name().clone(), *digest)),
            None if optional => {}
            None => return None,
        }
    }
    Some(Arc::new(files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn version(keys: &[(&str, u8)]) -> ObjectVersion {
        ObjectVersion {
            uid: "u".into(),
            version: "1".into(),
            immutable: false,
            ignored: false,
            updated: None,
            keys: Arc::new(
                keys.iter().map(|(key, content)| ((*key).into(), Digest::new([*content; 32]))).collect(),
            ),
        }
    }

    fn source(items: &[(&str, &str)], optional: bool) -> ObjectSource {
        let item = |(key, path): &(&str, &str)| Item { key: (*key).into(), path: (*path).into() };
        ObjectSource { name: "settings".into(), items: items.iter().map(item).collect(), optional }
    }

    fn found(source: &ObjectSource, version: &ObjectVersion) -> Option<Vec<(String, u8)>> {
        let files = files(&source.items, source.optional, Some(version))?;
        Some(files.iter().map(|(path, digest)| (path.to_string(), digest.as_bytes()[0])).collect())
    }

    #[test]
    fn without_items_each_key_is_a_file_and_with_them_those_that_are_named() {
        let version = version(&[("a", 1), ("b", 2)]);
        let all = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        assert_eq!(found(&source(&[], false), &version), Some(all));
        let items = source(&[("b", "./sub//b.conf"), ("b", "again")], false);
        assert_eq!(
            found(&items, &version),
            Some(vec![("again".to_owned(), 2), ("sub/b.conf".to_owned(), 2)])
        );
    }

    #[test]
    fn an_objects_name_means_the_one_in_the_pods_own_namespace() {
        let sources = vec![
            ProjectedSource::ConfigMap(source(&[], false)),
            ProjectedSource::Secret(ObjectSource { name: "shop/settings".into(), ..source(&[], false) }),
        ];
        let found = of_volume(&VolumeSource::Projected(sources), &"attic".into());
        let namespaces = found.iter().map(|source| match source {
            Source::Object(object, _) => &*object.namespace,
            Source::Other(_) => "",
        });
        assert_eq!(namespaces.collect::<Vec<_>>(), ["attic", "attic"]);
    }

    #[test]
    fn what_is_missing_is_left_out_where_it_is_optional_and_stops_the_kubelet_elsewhere() {
        let version = version(&[("a", 1)]);
        let items: &[_] = &[("a", "a"), ("b", "b")];
        assert_eq!(found(&source(items, true), &version), Some(vec![("a".to_owned(), 1)]));
        assert_eq!(found(&source(items, false), &version), None);
        assert_eq!(files(&[], true, None), Some(Arc::default()));
        assert_eq!(files(&[], false, None), None);
    }
}
