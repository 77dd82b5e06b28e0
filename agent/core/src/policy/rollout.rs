//! What a workload asks for where a change can't reach its pods in place. Its own annotations count before those of its template.

use std::time::Duration;

use crate::model::pod::{AnnotationValue, Annotations};
use crate::policy::annotations::{DEBOUNCE, ROLLOUT, WAVE, WINDOW};
use crate::policy::duration;
use crate::policy::problem::{Problem, ProblemKind, quoted};

pub use window::{Clock, Windows};

mod window;

/// The furthest wave from the usual one, which is 0.
const MOST_WAVE: i32 = 1000;

/// What a workload asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is rolled.
    pub rolls: bool,
    /// Whether it says that it isn't, whatever other annotations ask for.
    pub refuses: bool,
    /// Its wave.
    pub wave: i32,
    /// When it may be rolled; `None` for any time.
    pub windows: Option<Windows>,
    /// So long changes are gathered; `None` for the usual time.
    pub debounce: Option<Duration>,
    /// What is wrong with what it asks for. Nothing is done as long as it is so, and nothing is forgotten: a typing error in a window must
    /// not open it.
    pub problems: Vec<Problem>,
}

impl Asked {
    /// What these annotations, of a workload and of its template, ask for.
    pub fn of(own: &Annotations, template: &Annotations) -> Self {
        let mut asked = Self::default();
        for key in [ROLLOUT, WAVE, WINDOW, DEBOUNCE] {
            let Some(value) = own.get(key).or_else(|| template.get(key)) else { continue };
            if let Err(problem) = asked.read(key, value) {
                asked.rolls |= key == ROLLOUT;
                asked.problems.push(problem);
            }
        }
        // What holds for the pods' own reloads is their agents' matter.
        if !asked.rolls {
            asked.problems.clear();
        }
        asked
    }

    /// Finds a problem in a window whose time zone isn't known: it would never open.
    pub fn check_zones(&mut self, is_known: impl Fn(&str) -> bool) {
        let unknown = self.windows.as_ref().and_then(|windows| windows.zones().find(|zone| !is_known(zone)));
        let Some(zone) = unknown else { return };
        let sentence = format!("{WINDOW} names the time zone {}, which isn't known", quoted(zone));
        let problem = Problem::new(ProblemKind::BadValue, sentence);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn read(&mut self, key: &str, value: &AnnotationValue) -> Result<(), Problem> {
        let AnnotationValue::Text(text) = value else {
            return Err(Problem::new(ProblemKind::NotText, format!("{key} is no string: put it in quotes")));
        };
        let bad = |allowed: &str| {
            Problem::new(ProblemKind::BadValue, format!("{key} is {}, but must be {allowed}", quoted(text)))
        };
        match key {
            ROLLOUT => match text.as_str() {
                "true" => self.rolls = true,
                "false" => self.refuses = true,
                _ => return Err(bad("\"false\" or \"true\"")),
            },
            WAVE => {
                let wave = text.parse().ok().filter(|wave| (-MOST_WAVE..=MOST_WAVE).contains(wave));
                self.wave = wave.ok_or_else(|| bad("a whole number from -1000 to 1000"))?;
            }
            WINDOW => self.windows = Some(Windows::parse(text).ok_or_else(|| bad(window::ALLOWED))?),
            _ => {
                let debounce = duration::parse(text).map_err(|error| bad(&error.to_string()))?;
                self.debounce = Some(debounce);
            }
        }
        Ok(())
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

    fn of(own: &[(&str, &str)], template: &[(&str, &str)]) -> Asked {
        Asked::of(&annotations(own), &annotations(template))
    }

    #[test]
    fn a_workload_asks_before_its_template_does() {
        assert_eq!(of(&[], &[]), Asked::default());
        assert!(of(&[], &[(ROLLOUT, "true")]).rolls && of(&[(ROLLOUT, "true")], &[]).rolls);
        let refused = of(&[(ROLLOUT, "false")], &[(ROLLOUT, "true")]);
        assert!(!refused.rolls && refused.refuses);
        assert_eq!(of(&[(WAVE, "-2")], &[(WAVE, "1")]).wave, -2);
        assert_eq!(of(&[(DEBOUNCE, "1m")], &[]).debounce, Some(Duration::from_secs(60)));
        assert!(of(&[(WINDOW, "22:00-04:00")], &[]).windows.is_some());
    }

    #[test]
    fn a_value_that_isnt_allowed_is_said_and_forgets_nothing() {
        for (key, value, sentence) in [
            (ROLLOUT, "yes", "reloadlet.io/rollout is \"yes\", but must be \"false\" or \"true\""),
            (WAVE, "first", "reloadlet.io/wave is \"first\", but must be a whole number from -1000 to 1000"),
            (WAVE, "1001", "reloadlet.io/wave is \"1001\", but must be a whole number from -1000 to 1000"),
            (DEBOUNCE, "25h", "reloadlet.io/debounce is \"25h\", but must be a duration of at most 24h"),
        ] {
            let asked = of(&[(key, value)], &[(ROLLOUT, "true")]);
            assert!(asked.rolls, "{key} {value}");
            assert_eq!(
                asked.problems.iter().map(|problem| &*problem.sentence).collect::<Vec<_>>(),
                [sentence]
            );
        }
        let asked = of(&[(WINDOW, "always")], &[(ROLLOUT, "true")]);
        let sentence = &asked.problems[0].sentence;
        assert!(
            sentence.starts_with("reloadlet.io/window is \"always\", but must be windows as "),
            "{sentence}"
        );
        let number = [(ROLLOUT.to_owned(), AnnotationValue::NotText("true".to_owned()))].into();
        assert_eq!(Asked::of(&number, &Annotations::new()).problems.len(), 1);
        assert_eq!(of(&[], &[(DEBOUNCE, "always")]).problems, [], "it is the pods'");
    }
}
