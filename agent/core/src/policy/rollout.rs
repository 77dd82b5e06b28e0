//! What a workload asks for where a change can't reach its pods in place.

use crate::model::pod::{AnnotationValue, Annotations};
use crate::policy::annotations::ROLLOUT;

/// In which order workloads that share an object are rolled: a whole number, the lowest first.
pub const WAVE: &str = "reloadlet.io/wave";

/// What a workload asks for. Its own annotations count before those of its template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is rolled.
    pub rolls: bool,
    /// Whether it says that it isn't, whatever other annotations ask for.
    pub refuses: bool,
    /// Its wave.
    pub wave: i32,
}

impl Asked {
    /// What these annotations, of a workload and of its template, ask for. What isn't allowed asks for nothing.
    pub fn of(own: &Annotations, template: &Annotations) -> Self {
        let text = |key: &str| {
            [own, template].into_iter().find_map(|annotations| match annotations.get(key)? {
                AnnotationValue::Text(text) => Some(text.as_str()),
                AnnotationValue::NotText(_) => None,
            })
        };
        let rollout = text(ROLLOUT);
        Self {
            rolls: rollout == Some("true"),
            refuses: rollout == Some("false"),
            wave: text(WAVE).and_then(|wave| wave.parse().ok()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(all: &[(&str, &str)]) -> Annotations {
        all.iter()
            .map(|(key, value)| ((*key).to_owned(), AnnotationValue::Text((*value).to_owned())))
            .collect()
    }

    #[test]
    fn a_workload_asks_before_its_template_does() {
        let of = |own: &[(&str, &str)], template: &[(&str, &str)]| {
            Asked::of(&annotations(own), &annotations(template))
        };
        assert_eq!(of(&[], &[]), Asked::default());
        assert!(of(&[], &[(ROLLOUT, "true")]).rolls && of(&[(ROLLOUT, "true")], &[]).rolls);
        let refused = of(&[(ROLLOUT, "false")], &[(ROLLOUT, "true")]);
        assert!(!refused.rolls && refused.refuses);
        assert!(!of(&[(ROLLOUT, "yes")], &[]).rolls);
        assert_eq!(of(&[(WAVE, "-2")], &[(WAVE, "1")]).wave, -2);
    }
}
