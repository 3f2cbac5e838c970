//! The names of variables with a judge's key, checked before anything is trained for the judge.

use clara_lifecycle::spec::{JudgeOptions, SpecProblem};

/// How the names end of the variables that a judge-worker reads as keys; it refuses all others.
const SUFFIX: &str = "_API_KEY";

/// What a judge-worker would refuse when the job has come to its stage.
pub(super) fn problems(judge: &JudgeOptions) -> Vec<SpecProblem> {
    let first = judge.api_key_env.iter().map(|name| ("judge.api_key_env", name));
    let panel = judge.panel.iter().filter_map(|judge| Some(("judge.panel", judge.api_key_env.as_ref()?)));
    let named = first.chain(panel).filter(|(_, name)| !name.ends_with(SUFFIX));
    let problem = |(field, name): (&'static str, &String)| SpecProblem {
        field,
        message: format!("names the variable {name}; expected a name that ends in {SUFFIX}"),
    };
    named.map(problem).collect()
}
