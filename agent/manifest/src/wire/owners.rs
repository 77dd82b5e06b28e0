//! Of what a pod is a replica: its owner references and the labels of its controller. Only what is used of them is kept,
//! however many there are.

use std::fmt;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Replica;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::room::{ShortName, short};

/// The labels by which controllers tell their templates apart; of several the first one counts.
const TEMPLATES: [&str; 2] = ["pod-template-hash", "controller-revision-hash"];

/// The controller among the owner references.
#[derive(Default)]
pub(super) struct Controller(Option<Reference>);

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reference {
    api_version: Option<ShortName>,
    kind: Option<ShortName>,
    name: Option<ShortName>,
    uid: Option<ShortName>,
    controller: Option<bool>,
}

/// The label of the template that a pod was made of.
#[derive(Default)]
pub(super) struct Template(Option<(usize, String)>);

impl Controller {
    /// Whether there is one.
    pub(super) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether that is a Deployment, a StatefulSet or a DaemonSet of Kubernetes: the kinds that are rolled. Others call theirs the same,
    /// and have another API group.
    pub(super) fn is_rolled(&self, template: &Template) -> bool {
        let Some(Reference { api_version, kind: Some(kind), .. }) = &self.0 else { return false };
        if api_version.as_ref().is_some_and(|version| !version.0.starts_with("apps/")) {
            return false;
        }
        match kind.0.as_str() {
            "StatefulSet" | "DaemonSet" => true,
            // Of a Deployment's pods each has this label.
            "ReplicaSet" => matches!(template.0, Some((0, _))),
            _ => false,
        }
    }

    /// What the pod is a replica of.
    pub(super) fn into_replica(self, template: Template) -> Option<Replica> {
        let reference = self.0?;
        let [kind, name, uid] =
            [reference.kind?, reference.name?, reference.uid?].map(|word| Name::from(word.0));
        Some(Replica { kind, name, uid, template: template.0.map(|(_, label)| label.into()) })
    }
}

impl<'de> Deserialize<'de> for Controller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(References)
    }
}

struct References;

impl<'de> Visitor<'de> for References {
    type Value = Controller;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of owner references")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut controller = None;
        while let Some(reference) = sequence.next_element::<Reference>()? {
            if controller.is_none() && reference.controller == Some(true) {
                controller = Some(reference);
            }
        }
        Ok(Controller(controller))
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Labels)
    }
}

struct Labels;

impl<'de> Visitor<'de> for Labels {
    type Value = Template;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut template: Option<(usize, String)> = None;
        while let Some(key) = map.next_key::<String>()? {
            let Some(place) = TEMPLATES.iter().position(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let label = map.next_value::<Label>()?.0;
            if let Some(label) = label.filter(|_| template.as_ref().is_none_or(|(known, _)| place < *known)) {
                template = Some((place, label));
            }
        }
        Ok(Template(template))
    }
}

/// The value of a label. A pods file can hold what the API server would refuse.
struct Label(Option<String>);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelVisitor)
    }
}

struct LabelVisitor;

impl<'de> Visitor<'de> for LabelVisitor {
    type Value = Label;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label's value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Label(Some(short(text))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Label(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Label(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Label(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Label(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Label(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Label(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Label(None))
    }
}
