//! What a worker has, what a class of jobs needs, and how urgent a job is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{id::ClassName, stage::Stage};

/// What one worker has for each of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Memory of the GPU; 0 without one.
    pub gpu_memory_bytes: u64,
    /// Kind of the GPU in small letters, e.g. `h100`.
    pub gpu_kind: Option<String>,
    /// Processor cores.
    pub cpu_cores: u32,
}

/// A resource class: jobs ask for it by name, workers that have enough serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceClass {
    /// Its name.
    pub name: ClassName,
    /// The least a worker must have; a GPU kind, when given, must be the same.
    pub needs: Resources,
}

impl ResourceClass {
    /// The class that every worker serves.
    pub fn default_class() -> Self {
        Self { name: ClassName::default(), needs: Resources::default() }
    }

    /// Whether a worker with `resources` serves it.
    pub fn is_served_by(&self, resources: &Resources) -> bool {
        let Resources { gpu_memory_bytes, gpu_kind, cpu_cores } = &self.needs;
        resources.gpu_memory_bytes >= *gpu_memory_bytes
            && resources.cpu_cores >= *cpu_cores
            && (gpu_kind.is_none() || resources.gpu_kind == *gpu_kind)
    }
}

/// How urgent a task is; queues exist once for each band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityBand {
    /// Priorities 0 to 3.
    Low,
    /// Priorities 4 to 6.
    Normal,
    /// Priorities 7 to 9.
    High,
}

impl PriorityBand {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The band of a priority from 0 to 9.
    pub fn of(priority: u8) -> Self {
        match priority {
            0..=3 => Self::Low,
            4..=6 => Self::Normal,
            7.. => Self::High,
        }
    }

    /// Its name in names of queues.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

impl fmt::Display for PriorityBand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether the tasks of a stage go to workers of the job's class; those of the other stages go to any worker.
pub fn needs_class(stage: Stage) -> bool {
    match stage {
        Stage::Train | Stage::Generate => true,
        Stage::Ingest | Stage::Judge | Stage::Gate | Stage::Rollout => false,
    }
}

#[cfg(test)]
mod tests;
