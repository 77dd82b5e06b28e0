//! What a workload asks for where a change can't reach its pods in place. Its own annotations count before those of its template.

use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::pod::{AnnotationValue, Annotations};
use crate::policy::annotations::{DEBOUNCE, ROLLOUT, ROLLOUT_ALLOWED, WAVE, WINDOW, lets_restart};
use crate::policy::duration;
use crate::policy::problem::{Problem, ProblemKind, quoted};

pub use window::{Clock, Windows};

mod window;

/// The furthest wave from the usual one, which is 0.
const MOST_WAVE: i32 = 1000;

closed_set! {
    /// How pods come by what they took at their start and can't be told.
    #[derive(Default)]
    pub enum Manner {
        /// New ones take their place.
        #[default]
        Replace => "true",
        /// Their containers are started again, one pod at a time.
        InPlace => "in-place",
        /// The same; and where that can't be, new ones take their place.
        Either => "in-place,rollout",
    }
}

/// What a workload asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is rolled.
    pub rolls: bool,
    /// How.
    pub manner: Manner,
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

impl Manner {
    /// Whether containers are started again in place.
    pub const fn is_in_place(self) -> bool {
        matches!(self, Self::InPlace | Self::Either)
    }
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
        asked.problems.extend(asked.unasked_by_pods(template));
        // What holds for the pods' own reloads is their agents' matter.
        if !asked.rolls {
            asked.problems.clear();
        }
        asked
    }

    /// The problem that its pods don't ask to be restarted in place as it does itself: whoever restarts them goes by what they ask for.
    fn unasked_by_pods(&self, template: &Annotations) -> Option<Problem> {
        let manner = self.manner;
        (manner.is_in_place() && !lets_restart(template)).then(|| {
            let sentence = format!(
                "{ROLLOUT} is \"{}\" on the workload, but its pods have to ask for that, too: it must be in the annotations of the template",
                manner.as_str()
            );
            Problem::new(ProblemKind::BadValue, sentence)
        })
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
                "false" => self.refuses = true,
                word => {
                    let manner = Manner::ALL.into_iter().find(|manner| manner.as_str() == word);
                    self.manner = manner.ok_or_else(|| bad(ROLLOUT_ALLOWED))?;
                    self.rolls = true;
                }
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
    fn whoever_asks_for_restarts_in_place_has_its_pods_ask_for_them() {
        for (word, manner) in [("in-place", Manner::InPlace), ("in-place,rollout", Manner::Either)] {
            let asked = of(&[], &[(ROLLOUT, word)]);
            assert_eq!((asked.rolls, asked.manner, asked.problems), (true, manner, vec![]));
            assert_eq!(of(&[(ROLLOUT, word)], &[(ROLLOUT, "in-place")]).problems, []);
            for template in [&[][..], &[(ROLLOUT, "true")]] {
                let asked = of(&[(ROLLOUT, word)], template);
                assert_eq!((asked.rolls, asked.manner, asked.problems.len()), (true, manner, 1));
                let sentence = &*asked.problems[0].sentence;
                assert!(sentence.contains(word) && sentence.contains("template"), "{sentence}");
            }
        }
        let asked = of(&[(ROLLOUT, "true")], &[(ROLLOUT, "in-place")]);
        assert_eq!((asked.manner, asked.problems), (Manner::Replace, vec![]), "what it says itself counts");
    }

    #[test]
    fn a_value_that_isnt_allowed_is_said_and_forgets_nothing() {
        for (key, value, sentence) in [
            (
                ROLLOUT,
                "yes",
                "reloadlet.io/rollout is \"yes\", but must be \"false\", \"true\", \"in-place\" or \"in-place,rollout\"",
            ),
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
