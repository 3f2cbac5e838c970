//! Passes that come again and again, recorded: the steps of generation are too short for their launches.

use std::{collections::BTreeMap, sync::Arc};

use super::super::recording;
use crate::{
    cuda::{Address, Device, GraphId},
    engine::EngineError,
};

/// Recordings that are kept, at most.
const MOST: usize = 128;

/// What distinguishes passes; those with equal keys start the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) rows: usize,
    /// What attention takes for the length of the longest sequence.
    pub(super) longest: usize,
    /// The adapter's values, where there is one.
    pub(super) values: Option<Address>,
    /// What outputs are multiplied by, where its method has magnitudes.
    pub(super) gains: Option<Address>,
}

#[derive(Debug, Clone, Copy)]
enum Recorded {
    /// Was run once, so that every product has found its algorithm.
    Seen,
    Graph(GraphId),
    /// The device does not record.
    Never,
}

/// All recordings; they hold addresses of the memory that they are kept beside.
#[derive(Debug)]
pub(super) struct Graphs {
    device: Arc<dyn Device>,
    recorded: BTreeMap<Key, Recorded>,
}

impl Graphs {
    pub(super) fn new(device: &Arc<dyn Device>) -> Self {
        Self { device: Arc::clone(device), recorded: BTreeMap::new() }
    }

    /// Starts a pass, from its third time on by its recording.
    pub(super) fn run(
        &mut self,
        key: Key,
        start: &mut dyn FnMut() -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let recorded = match self.recorded.get(&key) {
            None => {
                start()?;
                if self.recorded.len() >= MOST {
                    self.clear();
                }
                self.recorded.insert(key, Recorded::Seen);
                return Ok(());
            }
            Some(Recorded::Seen) => {
                let graph = recording(self.device.as_ref(), start)?;
                let recorded = graph.map_or(Recorded::Never, Recorded::Graph);
                self.recorded.insert(key, recorded);
                recorded
            }
            Some(recorded) => *recorded,
        };
        match recorded {
            Recorded::Graph(graph) => Ok(self.device.replay(graph)?),
            Recorded::Seen | Recorded::Never => start(),
        }
    }

    /// How many passes have been recorded.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.recorded.values().filter(|recorded| matches!(recorded, Recorded::Graph(_))).count()
    }

    fn clear(&mut self) {
        for recorded in std::mem::take(&mut self.recorded).into_values() {
            if let Recorded::Graph(graph) = recorded {
                self.device.discard(graph);
            }
        }
    }
}

impl Drop for Graphs {
    fn drop(&mut self) {
        self.clear();
    }
}
