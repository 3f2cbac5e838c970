//! `gpu-worker run`: the daemon that takes train and generate tasks.

use std::{process::ExitCode, sync::Arc};

use clara_runtime::service::{WorkerArgs, run_workers};

use crate::{
    devices::Devices,
    generate::{GenerateConfig, GenerateHandler},
    model_cache::ModelCache,
    train::handler::{TrainConfig, TrainHandler},
};

/// Runs until SIGTERM or SIGINT; running attempts save their work then and hand it back.
pub(super) fn run(args: &WorkerArgs) -> ExitCode {
    run_workers("gpu-worker", args, |settings| {
        let models = ModelCache::on(Devices::open(settings.worker.device)?);
        let train =
            TrainConfig { models: models.clone(), memory_limit: settings.worker.memory_limit_bytes() };
        let generate = GenerateConfig { models, ..GenerateConfig::default() };
        Ok(vec![Arc::new(TrainHandler::new(train)), Arc::new(GenerateHandler::new(generate))])
    })
}
