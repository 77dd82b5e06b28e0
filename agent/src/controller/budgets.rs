//! The PodDisruptionBudgets of a namespace that allow nothing, and whether they cover any of a workload's pods.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Expression, Selector, SelectorExt as _};
use reloadlet_core::rollouts::event::Disruption;
use serde::Deserialize;

use super::lists::Unlisted;
use super::meta::Labels;

/// So many bytes the selectors have in all, with so many for each of their expressions beside its text.
const MOST_BYTES: usize = 1 << 20;
const OF_EXPRESSION: usize = 100;

/// A PodDisruptionBudget.
#[derive(Deserialize)]
pub(super) struct Budget {
    #[serde(default)]
    spec: BudgetSpec,
    #[serde(default)]
    status: BudgetStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BudgetSpec {
    selector: Option<LabelSelector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BudgetStatus {
    disruptions_allowed: i64,
}

/// Those that allow nothing.
#[derive(Default)]
pub(super) struct Budgets {
    selectors: Vec<Selector>,
    /// The keys of all labels that they name.
    keys: BTreeSet<String>,
    bytes: usize,
    is_any_covered: bool,
}

impl Budgets {
    /// Keeps one, if it may forbid anything.
    pub(super) fn take(&mut self, budget: Budget) -> Result<(), Unlisted> {
        let Some(selector) = budget.spec.selector.filter(|_| budget.status.disruptions_allowed <= 0) else {
            return Ok(());
        };
        let Ok(selector) = Selector::try_from(selector) else { return Ok(()) };
        // One without any covers all pods.
        self.bytes += OF_EXPRESSION;
        for expression in selector.clone() {
            let (key, values) = parts(&expression);
            self.bytes += 2 * (OF_EXPRESSION + key.len()) + values;
            self.keys.insert(key.to_owned());
        }
        if self.bytes > MOST_BYTES {
            return Err(Unlisted::TooMuch(
                "the selectors of the PodDisruptionBudgets in its namespace that allow nothing take more than 1 MiB",
            ));
        }
        self.selectors.push(selector);
        Ok(())
    }

    /// Looks at a pod of the workload.
    pub(super) fn look_at(&mut self, pod: &Labels) -> Result<(), Unlisted> {
        if !self.is_any_covered && !self.selectors.is_empty() {
            let labels = pod.of(&self.keys)?;
            self.is_any_covered = self.selectors.iter().any(|selector| selector.matches(&labels));
        }
        Ok(())
    }

    /// Whether one of the pods that were looked at may be taken away.
    pub(super) const fn disruption(&self) -> Disruption {
        if self.is_any_covered { Disruption::Forbidden } else { Disruption::Allowed }
    }
}

/// The key of an expression, and how many bytes its values take.
fn parts(expression: &Expression) -> (&str, usize) {
    match expression {
        Expression::In(key, values) | Expression::NotIn(key, values) => {
            (key, values.iter().map(|value| value.len() + OF_EXPRESSION).sum())
        }
        Expression::Equal(key, value) | Expression::NotEqual(key, value) => (key, value.len()),
        Expression::Exists(key) | Expression::DoesNotExist(key) => (key, 0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(selector: &Value, allowed: i64) -> Budget {
        let budget = json!({"spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed}});
        serde_json::from_value(budget).unwrap()
    }

    fn labels(labels: &Value) -> Labels {
        serde_json::from_value(labels.clone()).unwrap()
    }

    #[test]
    fn a_budget_that_allows_nothing_forbids_what_it_covers() {
        let of = |all: Vec<Budget>| {
            let mut budgets = Budgets::default();
            all.into_iter().for_each(|budget| budgets.take(budget).unwrap());
            for pod in [json!({"app": "other"}), json!({"app": "web", "x": "y"}), json!({})] {
                budgets.look_at(&labels(&pod)).unwrap();
            }
            budgets.disruption()
        };
        let (mine, others) = (json!({"matchLabels": {"app": "web"}}), json!({"matchLabels": {"app": "db"}}));
        assert_eq!(of(vec![budget(&others, 0), budget(&mine, 1)]), Disruption::Allowed);
        assert_eq!(of(vec![budget(&mine, 1), budget(&mine, 0)]), Disruption::Forbidden);
        // An empty selector covers all pods, none covers none (policy/v1).
        assert_eq!(of(vec![budget(&json!({}), 0)]), Disruption::Forbidden);
        assert_eq!(of(vec![budget(&Value::Null, 0)]), Disruption::Allowed);
        let expression = |operator: &str| json!({"matchExpressions": [{"key": "x", "operator": operator, "values": ["y"]}]});
        let with_app = |operator: &str| {
            let mut both = expression(operator);
            both["matchLabels"] = json!({"app": "web"});
            both
        };
        assert_eq!(of(vec![budget(&with_app("In"), 0)]), Disruption::Forbidden);
        assert_eq!(of(vec![budget(&with_app("NotIn"), 0)]), Disruption::Allowed);
        assert_eq!(of(vec![budget(&with_app("Unheard"), 0)]), Disruption::Allowed, "nobody understands it");
        assert_eq!(of(vec![budget(&expression("DoesNotExist"), 0)]), Disruption::Forbidden);
    }

    #[test]
    fn selectors_have_a_bound_and_those_that_forbid_nothing_take_none_of_it() {
        let values: Vec<String> = (0..1_000).map(|n| format!("value-{n}")).collect();
        let large = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": values}]});
        let mut budgets = Budgets::default();
        for _ in 0..100 {
            budgets.take(budget(&large, 1)).unwrap();
        }
        assert_eq!(budgets.bytes, 0);
        let taken = (0..100).take_while(|_| budgets.take(budget(&large, 0)).is_ok()).count();
        assert_eq!(taken, 9);
        let many = (0..).take_while(|_| budgets.take(budget(&json!({}), 0)).is_ok()).count();
        assert!(many < 1_000, "{many}");
    }
}
