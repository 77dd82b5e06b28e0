//! Names: of Kubernetes objects, pods and containers, and the paths of files in volumes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name in a pod's spec, shared rather than copied.
pub type Name = Arc<str>;

/// A pod's UID: its `metadata.uid`, which the API server gives it and nobody else can set. Its directory and its cgroup
/// have it in their names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Accepts lower-case hex digits with dashes between them: one path element, and no two texts that a cgroup's name
    /// or a file system could take for each other.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (8..=64).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.into()))
    }

    /// The UID as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The UID as a text that can be shared.
    pub const fn as_name(&self) -> &Name {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container's ID: 64 hex digits in containerd, CRI-O and Docker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Accepts exactly 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.into()))
    }

    /// The ID out of a pod status, `containerd://<id>`.
    pub fn from_status(text: &str) -> Option<Self> {
        Self::parse(text.split_once("://")?.1)
    }

    /// The ID's digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// Whether a text is an RFC 1123 subdomain, as the names of pods, workloads, ConfigMaps and Secrets are.
pub fn is_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part_fits = |part: &str| {
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| alphanumeric(*byte))
            && bytes.last().is_some_and(|byte| alphanumeric(*byte))
    };
    text.len() <= 253 && text.split('.').all(part_fits)
}

/// Whether a text is an RFC 1123 label, as the names of namespaces, containers and volumes are.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_subdomain(text) && !text.contains('.')
}

/// The longest key that a ConfigMap or a Secret can have, in bytes.
pub const LONGEST_KEY: usize = 253;

/// Whether a ConfigMap or a Secret can have this key (apimachinery `validation.go`, `IsConfigMapKey`).
pub fn is_object_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(is_of_key) && !is_of_dots(text)
}

/// Whether the kubelet makes a variable of this name. Of older ones (`IsEnvVarName`) it is asked more than of those that take any
/// printable name (`IsRelaxedEnvVarName`), as they do by default from Kubernetes 1.32 on.
pub fn is_variable(name: &str, relaxed: bool) -> bool {
    let is_printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    match relaxed {
        true => !name.is_empty() && name.bytes().all(is_printable),
        false => {
            !name.is_empty()
                && name.bytes().all(is_of_key)
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && !is_of_dots(name)
        }
    }
}

const fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn is_of_dots(text: &str) -> bool {
    text == "." || text.starts_with("..")
}

/// The path of a file or a directory in a volume, as the kubelet writes it: the API accepts `./a//b`, and the kubelet's
/// AtomicWriter cleans that (`validatePayload`). No other text becomes one, not even out of an older journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Name")]
pub struct FilePath(Name);

impl FilePath {
    /// The path as a name that can be shared.
    pub const fn as_name(&self) -> &Name {
        &self.0
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for FilePath {
    /// Cleans a path; one that is clean stays shared.
    fn from(path: Name) -> Self {
        let says_something = |element: &str| !matches!(element, "" | ".");
        if path.split('/').all(says_something) {
            return Self(path);
        }
        let elements: Vec<&str> = path.split('/').filter(|element| says_something(element)).collect();
        Self(elements.join("/").into())
    }
}

impl From<&str> for FilePath {
    fn from(path: &str) -> Self {
        Self::from(Name::from(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_the_kubelet_makes_of_it_and_stays_shared_where_that_is_the_same() {
        for (written, clean) in [
            ("a", "a"),
            ("./a//b", "a/b"),
            ("a/b/", "a/b"),
            ("/a/./b", "a/b"),
            (".", ""),
            ("", ""),
            ("..a/.b/...", "..a/.b/..."),
            ("../a", "../a"),
            ("$(POD)/./x", "$(POD)/x"),
        ] {
            assert_eq!(FilePath::from(written).as_str(), clean, "{written}");
            assert_eq!(FilePath::from(clean).as_str(), clean, "{written}");
        }
        let name = Name::from("etc/app.conf");
        assert!(Name::ptr_eq(FilePath::from(name.clone()).as_name(), &name));
    }

    #[test]
    fn names_are_what_the_api_server_takes() {
        let longest = |length| "a".repeat(length);
        for (text, subdomain, label) in [
            ("a", true, true),
            ("kube-root-ca.crt", true, false),
            ("0-9", true, true),
            (&longest(63), true, true),
            (&longest(64), true, false),
            (&longest(253), true, false),
            (&longest(254), false, false),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a..b", false, false),
            (".a", false, false),
            ("a.-b", false, false),
            ("A", false, false),
            ("a/b", false, false),
            ("a_b", false, false),
            ("ä", false, false),
        ] {
            assert_eq!((is_subdomain(text), is_label(text)), (subdomain, label), "{text}");
        }
    }

    #[test]
    fn a_uid_can_be_written_in_one_way_only() {
        let uid = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(PodUid::parse(uid).unwrap().as_str(), uid);
        for other in [
            uid.to_uppercase(),
            uid.replace('-', "_"),
            format!("{uid} "),
            format!("{uid}/"),
            format!("-{uid}"),
            format!("{uid}-"),
            "..".repeat(8),
            "6f1e2d3".to_owned(),
            "a".repeat(65),
        ] {
            assert_eq!(PodUid::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn what_a_shell_would_run_is_no_key() {
        for name in ["date +%s", "", "( 1 + 2 ", "..", "a/b", "cat /x"] {
            assert!(!is_object_key(name), "{name}");
        }
        assert!(is_object_key("LEVEL") && is_object_key("log.level") && is_object_key("1st"));
    }

    #[test]
    fn names_of_variables_are_told_as_kubelets_do() {
        for name in ["LEVEL", "log.level", "_a", "-a", ".a"] {
            assert!(is_variable(name, false) && is_variable(name, true), "{name}");
        }
        for name in ["1st", ".", "..a", "a b"] {
            assert!(!is_variable(name, false) && is_variable(name, true), "{name}");
        }
        for name in ["", "a=b", "\u{e4}"] {
            assert!(!is_variable(name, false) && !is_variable(name, true), "{name}");
        }
    }
}
