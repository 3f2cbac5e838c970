//! A look at the judges before a job begins: one that is missing would show only after the training.

#[cfg(test)]
mod tests;

use std::{env, error::Error, time::Duration};

use clara_lifecycle::spec::JudgeOptions;
use reqwest::Client;

use crate::output::complain;

/// How long a judge may take to answer; whether it is fast enough to judge shows later.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Warns of judges that nobody answers for, and of variables for their keys that this process lacks. The job goes on: what
/// is missing may be there at its stage.
pub(super) async fn warn_of_silent(judge: &JudgeOptions, default_url: Option<&str>) {
    let first = judge.url.as_deref().or(default_url);
    for url in first.into_iter().chain(judge.panel.iter().map(|judge| judge.url.as_str())) {
        if let Some(reason) = silence(url).await {
            let shown = clara_lifecycle::shown::shown(url);
            complain(&format!(
                "warning: nobody answers at {shown} now ({reason}); the job needs this judge at the stage judge"
            ));
        }
    }
    let keys =
        judge.api_key_env.iter().chain(judge.panel.iter().filter_map(|judge| judge.api_key_env.as_ref()));
    for name in keys.filter(|name| env::var_os(name).is_none_or(|key| key.is_empty())) {
        complain(&format!(
            "warning: the variable {name} with the key of the judge is not set; set it and begin again, or the job gets \
             stuck at the stage judge"
        ));
    }
}

/// Why nobody answers at the URL; any answer will do, for no key is sent.
async fn silence(url: &str) -> Option<String> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().timeout(ANSWER_WITHIN);
    // As the judge-worker calls it: no proxy to endpoints nearby, and no certificates needed.
    let builder = if url.starts_with("http://") { builder.no_proxy().tls_certs_only([]) } else { builder };
    let models = format!("{}/models", url.trim_end_matches('/'));
    let asked = match builder.build() {
        Ok(client) => client.get(models).send().await,
        Err(error) => Err(error),
    };
    asked.err().map(|error| root(&error.without_url()))
}

/// The innermost reason, e.g. that the connection was refused.
fn root(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
