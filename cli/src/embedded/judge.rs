//! The judge stage in this process: jobs without a judge are scored by their own base model.

use std::path::PathBuf;

use async_trait::async_trait;
use clara_gpu_worker::{
    model_cache::ModelCache,
    serve::{self, ServeConfig},
};
use clara_judge_worker::{JudgeConfig, JudgeHandler};
use clara_lifecycle::{results::StageResult, stage::Stage};
use clara_runtime::{
    config::JudgeSettings,
    worker::{AttemptContext, StageFailure, StageHandler},
};

/// Serves the job's base model for the time of the attempt when the job names no judge.
#[derive(Debug)]
pub(super) struct OwnJudge {
    config: JudgeConfig,
    models: ModelCache,
}

impl OwnJudge {
    /// A handler that shares loaded models with the others.
    pub(super) fn new(settings: &JudgeSettings, models: ModelCache) -> Self {
        Self { config: JudgeConfig::of(settings), models }
    }
}

#[async_trait]
impl StageHandler for OwnJudge {
    fn stage(&self) -> Stage {
        Stage::Judge
    }

    fn unusable(&self) -> Option<String> {
        self.models.devices().lost().map(|lost| lost.to_string())
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        if context.assignment.spec.judge.url.is_some() || self.config.default_url.is_some() {
            return JudgeHandler::new(self.config.clone()).run(context).await;
        }
        let base_model = PathBuf::from(&context.assignment.spec.base_model);
        let server = serve::start(ServeConfig::new(base_model), &self.models)
            .await
            .map_err(|error| StageFailure::retryable(format!("the own judge cannot start: {error}")))?;
        let config = JudgeConfig {
            default_url: Some(server.base_url()),
            default_model: Some(server.base_name().to_owned()),
            is_own: true,
            ..self.config.clone()
        };
        let judged = JudgeHandler::new(config).run(context).await;
        server.stop().await;
        judged
    }
}
